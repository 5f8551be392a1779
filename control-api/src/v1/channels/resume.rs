//! Starting a paused channel.

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
    run(&state, &caller, id, Direction::In, key).await
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
    let placing = Placing { channel: id, request: OrderRequest::Resume, price: None, action: "channel.resume" };
    place(state, caller, once, tx, placing).await
}
