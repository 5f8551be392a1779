//! The public keys that verify our tokens.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use headgate_access::Jwks;
use http::{HeaderValue, header};

use crate::http::problem::ApiError;
use crate::state::ApiState;

/// The public keys that verify tokens of the built-in issuer (RFC 7517). A key that was rotated
/// away stays here for as long as its tokens live.
#[utoipa::path(get, path = "/.well-known/jwks.json", operation_id = "get_jwks", tag = "access",
    responses((status = 200, description = "The keys", body = Jwks)))]
pub(crate) async fn get(State(state): State<ApiState>) -> Result<Response, ApiError> {
    let keys = state.access.jwks().await?;
    let cache = [(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"))];
    Ok((cache, axum::Json(keys)).into_response())
}
