//! What is observed of a channel's data.

use axum::Json;
use axum::extract::State;
use headgate_types::channel::Direction;
use headgate_types::engine::ChannelStatistics;
use headgate_types::{ChannelId, TenantId};

use super::get::find;
use crate::http::caller::{Caller, ChannelsRead};
use crate::http::problem::ApiError;
use crate::http::query::Path;
use crate::state::ApiState;

/// What a data-in channel holds: payloads landed and not yet conformed, dead letters, the last error.
#[utoipa::path(get, path = "/v1/data-in-channels/{channel}/statistics",
    operation_id = "get_data_in_channel_statistics", tag = "channels",
    security(("oauth2" = ["channels.read"]), ("bearer" = [])),
    params(("channel" = ChannelId, Path, description = "The channel")),
    responses((status = 200, description = "The statistics", body = ChannelStatistics)))]
pub(crate) async fn data_in(
    State(state): State<ApiState>,
    caller: Caller<ChannelsRead>,
    Path(id): Path<ChannelId>,
) -> Result<Json<ChannelStatistics>, ApiError> {
    run(&state, caller.tenant, id, Direction::In).await
}

/// What a data-out channel delivered, per element and lane: records, bytes, checksum, whether
/// it is caught up or its lag in records and seconds, the last delivery, the last error with its fix, time spent throttled.
#[utoipa::path(get, path = "/v1/data-out-channels/{channel}/statistics",
    operation_id = "get_data_out_channel_statistics", tag = "channels",
    security(("oauth2" = ["channels.read"]), ("bearer" = [])),
    params(("channel" = ChannelId, Path, description = "The channel")),
    responses((status = 200, description = "The statistics", body = ChannelStatistics)))]
pub(crate) async fn data_out(
    State(state): State<ApiState>,
    caller: Caller<ChannelsRead>,
    Path(id): Path<ChannelId>,
) -> Result<Json<ChannelStatistics>, ApiError> {
    run(&state, caller.tenant, id, Direction::Out).await
}

async fn run(
    state: &ApiState,
    tenant: TenantId,
    id: ChannelId,
    direction: Direction,
) -> Result<Json<ChannelStatistics>, ApiError> {
    let mut tx = state.control.read_tenant(tenant).await?;
    find(&mut tx, tenant, id, direction).await?;
    drop(tx);
    Ok(Json(state.engine.channel_statistics(id).await?))
}
