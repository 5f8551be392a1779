//! One channel.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use headgate_catalog::channels::{self, Channel};
use headgate_database::Tx;
use headgate_types::channel::Direction;
use headgate_types::{ChannelId, TenantId};
use http::header;

use super::view::ChannelView;
use crate::http::caller::{Caller, ChannelsRead};
use crate::http::problem::ApiError;
use crate::http::query::Path;
use crate::state::ApiState;

/// Get a data-in channel with its conditions and addresses.
#[utoipa::path(get, path = "/v1/data-in-channels/{channel}", operation_id = "get_data_in_channel", tag = "channels",
    security(("oauth2" = ["channels.read"]), ("bearer" = [])),
    params(("channel" = ChannelId, Path, description = "The channel")),
    responses((status = 200, description = "The channel", body = ChannelView,
        headers(("ETag" = String, description = "For `If-Match`")))))]
pub(crate) async fn data_in(
    State(state): State<ApiState>,
    caller: Caller<ChannelsRead>,
    Path(id): Path<ChannelId>,
) -> Result<Response, ApiError> {
    run(&state, caller.tenant, id, Direction::In).await
}

/// Get a data-out channel with its conditions and addresses.
#[utoipa::path(get, path = "/v1/data-out-channels/{channel}", operation_id = "get_data_out_channel", tag = "channels",
    security(("oauth2" = ["channels.read"]), ("bearer" = [])),
    params(("channel" = ChannelId, Path, description = "The channel")),
    responses((status = 200, description = "The channel", body = ChannelView,
        headers(("ETag" = String, description = "For `If-Match`")))))]
pub(crate) async fn data_out(
    State(state): State<ApiState>,
    caller: Caller<ChannelsRead>,
    Path(id): Path<ChannelId>,
) -> Result<Response, ApiError> {
    run(&state, caller.tenant, id, Direction::Out).await
}

async fn run(state: &ApiState, tenant: TenantId, id: ChannelId, direction: Direction) -> Result<Response, ApiError> {
    let mut tx = state.control.read_tenant(tenant).await?;
    let channel = find(&mut tx, tenant, id, direction).await?;
    let view = ChannelView::full(state, &mut tx, channel).await?;
    Ok(([(header::ETAG, view.etag().header())], axum::Json(view)).into_response())
}

/// The tenant's channel of that direction; one of the other direction is not found there.
pub(super) async fn find(
    tx: &mut Tx,
    tenant: TenantId,
    id: ChannelId,
    direction: Direction,
) -> Result<Channel, ApiError> {
    let channel = channels::get(tx, tenant, id).await?;
    if channel.direction == direction { Ok(channel) } else { Err(ApiError::not_found("channel")) }
}
