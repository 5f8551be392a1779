//! Removing a channel with everything in it.

use axum::extract::State;
use headgate_access::TenantCaller;
use headgate_provisioning::orders::OrderRequest;
use headgate_types::ChannelId;
use headgate_types::channel::Direction;

use super::get::find;
use super::place::{AcceptedView, Placing, place};
use crate::http::caller::{Caller, OrdersWrite};
use crate::http::etag::{ETag, IfMatch};
use crate::http::idempotency::{Answer, IdempotencyKey, Once};
use crate::http::problem::ApiError;
use crate::http::query::Path;
use crate::state::ApiState;

/// Delete a data-in channel: its credentials end, what it landed is conformed, its resources go.
/// Its elements and their records stay. Open orders of the channel are superseded.
#[utoipa::path(delete, path = "/v1/data-in-channels/{channel}", operation_id = "delete_data_in_channel",
    tag = "channels", security(("oauth2" = ["orders.write"]), ("bearer" = [])),
    params(("channel" = ChannelId, Path, description = "The channel"),
        ("If-Match" = String, Header, description = "The `ETag` that was read, or `*`")),
    responses((status = 202, description = "The order is placed", body = AcceptedView,
        headers(("Location" = String, description = "The order")))))]
pub(crate) async fn data_in(
    State(state): State<ApiState>,
    caller: Caller<OrdersWrite>,
    Path(id): Path<ChannelId>,
    if_match: IfMatch,
    key: IdempotencyKey,
) -> Result<Answer, ApiError> {
    run(&state, &caller, id, Direction::In, &if_match, key).await
}

/// Delete a data-out channel with everything in it. Open orders of the channel are superseded.
#[utoipa::path(delete, path = "/v1/data-out-channels/{channel}", operation_id = "delete_data_out_channel",
    tag = "channels", security(("oauth2" = ["orders.write"]), ("bearer" = [])),
    params(("channel" = ChannelId, Path, description = "The channel"),
        ("If-Match" = String, Header, description = "The `ETag` that was read, or `*`")),
    responses((status = 202, description = "The order is placed", body = AcceptedView,
        headers(("Location" = String, description = "The order")))))]
pub(crate) async fn data_out(
    State(state): State<ApiState>,
    caller: Caller<OrdersWrite>,
    Path(id): Path<ChannelId>,
    if_match: IfMatch,
    key: IdempotencyKey,
) -> Result<Answer, ApiError> {
    run(&state, &caller, id, Direction::Out, &if_match, key).await
}

async fn run(
    state: &ApiState,
    caller: &TenantCaller,
    id: ChannelId,
    direction: Direction,
    if_match: &IfMatch,
    key: IdempotencyKey,
) -> Result<Answer, ApiError> {
    let once = match state.once(caller, key, &[0; 32]).await? {
        Once::Replay(answer) => return Ok(answer),
        Once::New(once) => once,
    };
    let mut tx = state.control.tenant(caller.tenant).await?;
    let channel = find(&mut tx, caller.tenant, id, direction).await?;
    if_match.check(&ETag::version(channel.version))?;
    let placing = Placing { channel: id, request: OrderRequest::Delete, price: None, action: "channel.delete" };
    place(state, caller, once, tx, placing).await
}
