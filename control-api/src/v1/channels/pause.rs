//! Stopping a channel until it is resumed.

use axum::extract::State;
use headgate_access::TenantCaller;
use headgate_provisioning::orders::OrderRequest;
use headgate_types::ChannelId;
use headgate_types::channel::Direction;

use super::get::find;
use super::place::{AcceptedView, Placing, place};
use crate::http::caller::{Caller, ChannelsWrite};
use crate::http::idempotency::{Answer, IdempotencyKey, Once};
use crate::http::problem::ApiError;
use crate::http::query::Path;
use crate::state::ApiState;

/// Pause a data-in channel: it takes no payloads until it is resumed.
#[utoipa::path(post, path = "/v1/data-in-channels/{channel}/pause", operation_id = "pause_data_in_channel",
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
    run(&state, &caller, id, Direction::In, key).await
}

/// Pause a data-out channel: nothing is delivered until it is resumed; what was delivered stays readable.
#[utoipa::path(post, path = "/v1/data-out-channels/{channel}/pause", operation_id = "pause_data_out_channel",
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
    run(&state, &caller, id, Direction::Out, key).await
}

async fn run(
    state: &ApiState,
    caller: &TenantCaller,
    id: ChannelId,
    direction: Direction,
    key: IdempotencyKey,
) -> Result<Answer, ApiError> {
    let once = match state.once(caller, key, &[0; 32]).await? {
        Once::Replay(answer) => return Ok(answer),
        Once::New(once) => once,
    };
    let mut tx = state.control.tenant(caller.tenant).await?;
    find(&mut tx, caller.tenant, id, direction).await?;
    let placing = Placing { channel: id, request: OrderRequest::Pause, price: None, action: "channel.pause" };
    place(state, caller, once, tx, placing).await
}
