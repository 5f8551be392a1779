//! Lists of channels.

use axum::Json;
use axum::extract::State;
use headgate_catalog::channels::{self, ChannelFilter};
use headgate_types::TenantId;
use headgate_types::channel::Direction;
use headgate_types::page::Page;

use super::view::ChannelView;
use crate::http::caller::{Caller, ChannelsRead};
use crate::http::list::ListQuery;
use crate::http::problem::ApiError;
use crate::http::query::Query;
use crate::state::ApiState;

/// List the tenant's data-in channels, newest first, tombstones included. Filter by `id name
/// channel_profile performance_profile state created_at updated_at`.
#[utoipa::path(get, path = "/v1/data-in-channels", operation_id = "list_data_in_channels", tag = "channels",
    security(("oauth2" = ["channels.read"]), ("bearer" = [])), params(ListQuery),
    responses((status = 200, description = "A page of channels", body = Page<ChannelView>)))]
pub(crate) async fn data_in(
    State(state): State<ApiState>,
    caller: Caller<ChannelsRead>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<ChannelView>>, ApiError> {
    run(&state, caller.tenant, query, Direction::In).await
}

/// List the tenant's data-out channels, newest first, tombstones included. Filter by `id name
/// channel_profile performance_profile state created_at updated_at`.
#[utoipa::path(get, path = "/v1/data-out-channels", operation_id = "list_data_out_channels", tag = "channels",
    security(("oauth2" = ["channels.read"]), ("bearer" = [])), params(ListQuery),
    responses((status = 200, description = "A page of channels", body = Page<ChannelView>)))]
pub(crate) async fn data_out(
    State(state): State<ApiState>,
    caller: Caller<ChannelsRead>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<ChannelView>>, ApiError> {
    run(&state, caller.tenant, query, Direction::Out).await
}

async fn run(
    state: &ApiState,
    tenant: TenantId,
    query: ListQuery,
    direction: Direction,
) -> Result<Json<Page<ChannelView>>, ApiError> {
    let listing = query.listing(&state.pages, tenant, ChannelView::collection(direction))?;
    let wanted = ChannelFilter {
        tenant: Some(tenant),
        direction: Some(direction),
        filter: listing.filter.clone(),
        before: listing.after()?,
        limit: listing.fetch(),
    };
    let mut tx = state.control.read_tenant(tenant).await?;
    let rows = channels::list(&mut tx, &wanted).await?;
    Ok(Json(listing.page(rows, |channel| channel.id, ChannelView::from)))
}
