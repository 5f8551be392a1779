//! Starting a paused channel.

use axum::extract::State;
use headgate_provisioning::orders::OrderRequest;
use headgate_types::ChannelId;
use headgate_types::channel::Direction;

use super::place::{AcceptedView, place_plain};
use crate::http::caller::{Caller, ChannelsWrite};
use crate::http::idempotency::{Answer, IdempotencyKey};
use crate::http::problem::ApiError;
use crate::http::query::Path;
use crate::state::ApiState;

/// Resume a paused data-in channel.
#[utoipa::path(post, path = "/v1/data-in-channels/{channel}/resume", operation_id = "resume_data_in_channel",
    tag = "channels", security(("oauth2" = ["channels.write"]), ("bearer" = [])),
    params(("channel" = ChannelId, Path, description = "The channel"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a retry harmless")),
    responses((status = 202, description = "The order is placed", body = AcceptedView,
        headers(("Location" = String, description = "The order")))))]
pub(crate) async fn data_in(
    State(state): State<ApiState>,
    caller: Caller<ChannelsWrite>,
    Path(id): Path<ChannelId>,
    key: IdempotencyKey,
) -> Result<Answer, ApiError> {
    place_plain(&state, &caller, (id, Direction::In), key, OrderRequest::Resume).await
}

/// Resume a paused data-out channel; it goes on where it stopped.
#[utoipa::path(post, path = "/v1/data-out-channels/{channel}/resume", operation_id = "resume_data_out_channel",
    tag = "channels", security(("oauth2" = ["channels.write"]), ("bearer" = [])),
    params(("channel" = ChannelId, Path, description = "The channel"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a retry harmless")),
    responses((status = 202, description = "The order is placed", body = AcceptedView,
        headers(("Location" = String, description = "The order")))))]
pub(crate) async fn data_out(
    State(state): State<ApiState>,
    caller: Caller<ChannelsWrite>,
    Path(id): Path<ChannelId>,
    key: IdempotencyKey,
) -> Result<Answer, ApiError> {
    place_plain(&state, &caller, (id, Direction::Out), key, OrderRequest::Resume).await
}
