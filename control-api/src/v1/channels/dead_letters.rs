//! What a channel refused, kept whole.

use axum::Json;
use axum::extract::State;
use headgate_types::channel::Direction;
use headgate_types::engine::{DeadLetter, ListDeadLetters};
use headgate_types::page::Page;
use headgate_types::{ChannelId, DeadLetterId, TenantId};

use super::get::find;
use crate::http::caller::{Caller, ChannelsRead};
use crate::http::list::PageQuery;
use crate::http::problem::ApiError;
use crate::http::query::{Path, Query};
use crate::state::ApiState;

/// List the records that a data-in channel refused, newest first, each with its reason, the path
/// of the field at fault and the record as it came.
#[utoipa::path(get, path = "/v1/data-in-channels/{channel}/dead-letters",
    operation_id = "list_data_in_channel_dead_letters", tag = "channels",
    security(("oauth2" = ["channels.read"]), ("bearer" = [])),
    params(PageQuery, ("channel" = ChannelId, Path, description = "The channel")),
    responses((status = 200, description = "A page of dead letters", body = Page<DeadLetter>)))]
pub(crate) async fn list_in(
    State(state): State<ApiState>,
    caller: Caller<ChannelsRead>,
    Path(id): Path<ChannelId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<DeadLetter>>, ApiError> {
    list(&state, caller.tenant, id, query, Direction::In).await
}

/// List the records that the receiver of a data-out channel refused, newest first.
#[utoipa::path(get, path = "/v1/data-out-channels/{channel}/dead-letters",
    operation_id = "list_data_out_channel_dead_letters", tag = "channels",
    security(("oauth2" = ["channels.read"]), ("bearer" = [])),
    params(PageQuery, ("channel" = ChannelId, Path, description = "The channel")),
    responses((status = 200, description = "A page of dead letters", body = Page<DeadLetter>)))]
pub(crate) async fn list_out(
    State(state): State<ApiState>,
    caller: Caller<ChannelsRead>,
    Path(id): Path<ChannelId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<DeadLetter>>, ApiError> {
    list(&state, caller.tenant, id, query, Direction::Out).await
}

/// Get one record that a data-in channel refused.
#[utoipa::path(get, path = "/v1/data-in-channels/{channel}/dead-letters/{dead_letter}",
    operation_id = "get_data_in_channel_dead_letter", tag = "channels",
    security(("oauth2" = ["channels.read"]), ("bearer" = [])),
    params(("channel" = ChannelId, Path, description = "The channel"),
        ("dead_letter" = DeadLetterId, Path, description = "The dead letter")),
    responses((status = 200, description = "The dead letter", body = DeadLetter)))]
pub(crate) async fn get_in(
    State(state): State<ApiState>,
    caller: Caller<ChannelsRead>,
    Path((channel, id)): Path<(ChannelId, DeadLetterId)>,
) -> Result<Json<DeadLetter>, ApiError> {
    get(&state, caller.tenant, channel, id, Direction::In).await
}

/// Get one record that the receiver of a data-out channel refused.
#[utoipa::path(get, path = "/v1/data-out-channels/{channel}/dead-letters/{dead_letter}",
    operation_id = "get_data_out_channel_dead_letter", tag = "channels",
    security(("oauth2" = ["channels.read"]), ("bearer" = [])),
    params(("channel" = ChannelId, Path, description = "The channel"),
        ("dead_letter" = DeadLetterId, Path, description = "The dead letter")),
    responses((status = 200, description = "The dead letter", body = DeadLetter)))]
pub(crate) async fn get_out(
    State(state): State<ApiState>,
    caller: Caller<ChannelsRead>,
    Path((channel, id)): Path<(ChannelId, DeadLetterId)>,
) -> Result<Json<DeadLetter>, ApiError> {
    get(&state, caller.tenant, channel, id, Direction::Out).await
}

async fn list(
    state: &ApiState,
    tenant: TenantId,
    channel: ChannelId,
    query: PageQuery,
    direction: Direction,
) -> Result<Json<Page<DeadLetter>>, ApiError> {
    let listing = query.listing(&state.pages, tenant, "dead-letters", channel.to_string());
    let before = listing.after()?;
    let mut tx = state.control.read_tenant(tenant).await?;
    find(&mut tx, tenant, channel, direction).await?;
    drop(tx);
    let wanted = ListDeadLetters { tenant, channel, page_size: listing.size(), before };
    let page = state.engine.list_dead_letters(wanted).await?;
    Ok(Json(listing.sealed(page, |letter| letter.id)))
}

async fn get(
    state: &ApiState,
    tenant: TenantId,
    channel: ChannelId,
    id: DeadLetterId,
    direction: Direction,
) -> Result<Json<DeadLetter>, ApiError> {
    let mut tx = state.control.read_tenant(tenant).await?;
    find(&mut tx, tenant, channel, direction).await?;
    drop(tx);
    let letter = state.engine.dead_letter(tenant, id).await?;
    if letter.channel == channel { Ok(Json(letter)) } else { Err(ApiError::not_found("dead letter")) }
}
