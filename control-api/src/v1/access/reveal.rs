//! The one-time reveal of a credential.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use headgate_access::CredentialKind;
use headgate_types::{ChannelId, ClaimId, CredentialId};
use http::{HeaderValue, header};
use secrecy::ExposeSecret;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::caller::{Caller, CredentialsReveal};
use crate::http::problem::ApiError;
use crate::http::query::Path;
use crate::state::ApiState;

/// A credential, this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct RevealedView {
    /// The credential.
    credential: CredentialId,
    /// The channel it is for.
    channel: ChannelId,
    /// What it is for.
    kind: CredentialKind,
    /// The public name of an access key; absent for other kinds.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    /// The channel key, signing secret or secret access key. Keep it: it cannot be shown again.
    #[schema(format = Password)]
    secret: String,
}

/// Redeem a claim: the credential is shown once, to its own tenant, and the claim is used up. A
/// second call is answered 410; rotate the credentials if the answer was lost.
#[utoipa::path(post, path = "/v1/credential-claims/{claim}/reveal", operation_id = "reveal_credential",
    tag = "channels", security(("oauth2" = ["credentials.reveal"]), ("bearer" = [])),
    params(("claim" = ClaimId, Path, description = "The claim, from the order's result or the event")),
    responses((status = 200, description = "The credential", body = RevealedView)))]
pub(crate) async fn reveal(
    State(state): State<ApiState>,
    caller: Caller<CredentialsReveal>,
    Path(claim): Path<ClaimId>,
) -> Result<Response, ApiError> {
    // No idempotency key here: remembering the answer would be keeping the secret.
    let revealed = state.access.reveal(&caller, claim).await?;
    let view = RevealedView {
        credential: revealed.credential,
        channel: revealed.channel,
        kind: revealed.kind,
        key_id: revealed.key_id,
        secret: revealed.secret.expose_secret().to_owned(),
    };
    Ok(([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], axum::Json(view)).into_response())
}
