//! New credentials beside the old ones.

use axum::extract::State;
use headgate_access::TenantCaller;
use headgate_provisioning::orders::OrderRequest;
use headgate_types::channel::Direction;
use headgate_types::{ChannelId, FieldError};
use serde::Deserialize;
use utoipa::ToSchema;

use super::get::find;
use super::place::{AcceptedView, Placing, place};
use crate::http::body::Body;
use crate::http::caller::{Caller, ChannelsWrite};
use crate::http::idempotency::{Answer, IdempotencyKey, Once};
use crate::http::problem::ApiError;
use crate::http::query::Path;
use crate::state::ApiState;

const DEFAULT_GRACE_SECONDS: u64 = 24 * 60 * 60;
const MAX_GRACE_SECONDS: u64 = 30 * 24 * 60 * 60;

/// How credentials are rotated.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateBody {
    /// How long the old credentials stay valid beside the new ones; a day when absent.
    #[serde(default)]
    #[schema(maximum = 2_592_000)]
    grace_seconds: Option<u64>,
}

/// Rotate the credentials of a data-in channel. The claims of the new ones are in the order's
/// result and in the event; the old ones end after the grace period.
#[utoipa::path(post, path = "/v1/data-in-channels/{channel}/rotate-credentials",
    operation_id = "rotate_data_in_channel_credentials",
    tag = "channels", security(("oauth2" = ["channels.write"]), ("bearer" = [])),
    params(("channel" = ChannelId, Path, description = "The channel"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a retry harmless")),
    request_body = RotateBody,
    responses((status = 202, description = "The order is placed", body = AcceptedView,
        headers(("Location" = String, description = "The order")))))]
pub(crate) async fn data_in(
    State(state): State<ApiState>,
    caller: Caller<ChannelsWrite>,
    Path(id): Path<ChannelId>,
    key: IdempotencyKey,
    body: Body<RotateBody>,
) -> Result<Answer, ApiError> {
    run(&state, &caller, id, Direction::In, key, body).await
}

/// Rotate the credentials of a data-out channel. The claims of the new ones are in the order's
/// result and in the event; the old ones end after the grace period.
#[utoipa::path(post, path = "/v1/data-out-channels/{channel}/rotate-credentials",
    operation_id = "rotate_data_out_channel_credentials",
    tag = "channels", security(("oauth2" = ["channels.write"]), ("bearer" = [])),
    params(("channel" = ChannelId, Path, description = "The channel"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a retry harmless")),
    request_body = RotateBody,
    responses((status = 202, description = "The order is placed", body = AcceptedView,
        headers(("Location" = String, description = "The order")))))]
pub(crate) async fn data_out(
    State(state): State<ApiState>,
    caller: Caller<ChannelsWrite>,
    Path(id): Path<ChannelId>,
    key: IdempotencyKey,
    body: Body<RotateBody>,
) -> Result<Answer, ApiError> {
    run(&state, &caller, id, Direction::Out, key, body).await
}

async fn run(
    state: &ApiState,
    caller: &TenantCaller,
    id: ChannelId,
    direction: Direction,
    key: IdempotencyKey,
    body: Body<RotateBody>,
) -> Result<Answer, ApiError> {
    let grace_seconds = body.value.grace_seconds.unwrap_or(DEFAULT_GRACE_SECONDS);
    if grace_seconds > MAX_GRACE_SECONDS {
        let detail = format!("at most {MAX_GRACE_SECONDS} seconds");
        return Err(ApiError::refused(vec![FieldError::new("/grace_seconds", "too_large", detail)]));
    }
    let once = match state.once(caller, key, &body.fingerprint).await? {
        Once::Replay(answer) => return Ok(answer),
        Once::New(once) => once,
    };
    let mut tx = state.control.tenant(caller.tenant).await?;
    find(&mut tx, caller.tenant, id, direction).await?;
    let request = OrderRequest::RotateCredentials { grace_seconds };
    let placing = Placing { channel: id, request, price: None, action: "channel.rotate_credentials" };
    place(state, caller, once, tx, placing).await
}
