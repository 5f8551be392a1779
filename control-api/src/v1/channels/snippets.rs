//! Copy-paste commands for one channel.

use axum::Json;
use axum::extract::State;
use headgate_catalog::elements::schema;
use headgate_catalog::{feeds, subscriptions};
use headgate_types::channel::Direction;
use headgate_types::{ChannelId, TenantId};
use serde::Serialize;
use utoipa::ToSchema;

use super::get::find;
use super::view::data_url;
use crate::http::caller::{Caller, ChannelsRead};
use crate::http::problem::ApiError;
use crate::http::query::Path;
use crate::snippets::{CloudValues, Snippet, Values, example};
use crate::state::ApiState;

/// Commands for one channel.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SnippetsView {
    /// The commands; none for a channel profile that has no address of ours.
    items: Vec<Snippet>,
}

/// Commands that send into a data-in channel, with its addresses filled in.
#[utoipa::path(get, path = "/v1/data-in-channels/{channel}/snippets",
    operation_id = "get_data_in_channel_snippets", tag = "channels",
    security(("oauth2" = ["channels.read"]), ("bearer" = [])),
    params(("channel" = ChannelId, Path, description = "The channel")),
    responses((status = 200, description = "The commands", body = SnippetsView)))]
pub(crate) async fn data_in(
    State(state): State<ApiState>,
    caller: Caller<ChannelsRead>,
    Path(id): Path<ChannelId>,
) -> Result<Json<SnippetsView>, ApiError> {
    run(&state, caller.tenant, id, Direction::In).await
}

/// Commands that read from a data-out channel, with its addresses filled in.
#[utoipa::path(get, path = "/v1/data-out-channels/{channel}/snippets",
    operation_id = "get_data_out_channel_snippets", tag = "channels",
    security(("oauth2" = ["channels.read"]), ("bearer" = [])),
    params(("channel" = ChannelId, Path, description = "The channel")),
    responses((status = 200, description = "The commands", body = SnippetsView)))]
pub(crate) async fn data_out(
    State(state): State<ApiState>,
    caller: Caller<ChannelsRead>,
    Path(id): Path<ChannelId>,
) -> Result<Json<SnippetsView>, ApiError> {
    run(&state, caller.tenant, id, Direction::Out).await
}

async fn run(
    state: &ApiState,
    tenant: TenantId,
    id: ChannelId,
    direction: Direction,
) -> Result<Json<SnippetsView>, ApiError> {
    let mut tx = state.control.read_tenant(tenant).await?;
    let channel = find(&mut tx, tenant, id, direction).await?;
    let (first, record) = match direction {
        Direction::In => match feeds::list(&mut tx, tenant, id).await?.into_iter().next() {
            Some(feed) => {
                let schema = schema(&mut tx, feed.element).await?.schema;
                (Some(feed.name), example(&schema, &feed.input_model))
            }
            None => (None, String::new()),
        },
        Direction::Out => {
            let scope = subscriptions::scopes(&mut tx, tenant, id).await?.into_iter().next();
            (scope.map(|scope| scope.name), String::new())
        }
    };
    let values = Values {
        data_url: data_url(state),
        channel: &id.to_string(),
        // A selection by node or facet may be empty for now.
        name: first.as_deref().unwrap_or("NAME"),
        record: &record,
        cloud: channel.binding.as_ref().and_then(CloudValues::of),
    };
    Ok(Json(SnippetsView { items: state.snippets.of(direction, &channel.profile, values) }))
}
