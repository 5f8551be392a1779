//! The log of events, pulled.

use axum::Json;
use axum::extract::State;
use headgate_events::{CloudEvent, Event, head, list as read};
use headgate_types::page::page_size;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::read_types;
use crate::http::caller::{Caller, EventsRead};
use crate::http::problem::ApiError;
use crate::http::query::{Query, at_most, position, rows};
use crate::state::ApiState;

/// Which events.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventsParams {
    /// Only events after this sequence; the beginning when absent.
    #[serde(default, deserialize_with = "position")]
    after: u64,
    /// Only these types, separated by commas.
    #[serde(default, deserialize_with = "at_most::<2000, _>")]
    #[param(max_length = 2000)]
    types: Option<String>,
    /// Events per page; 50 when absent, coerced to 1,000.
    #[serde(default, deserialize_with = "rows")]
    #[param(minimum = 1, maximum = 2147483647)]
    page_size: Option<u32>,
}

/// A page of the log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventPage {
    /// Events, oldest first.
    items: Vec<CloudEvent>,
    /// Ask again with `after` set to this: for the next page now, for news later. It moves on over
    /// events of other types.
    next_after: u64,
    /// Whether there is more at once.
    more: bool,
}

/// Read the log of events, oldest first. Sequences have no gap: a reader that keeps `next_after`
/// misses nothing. 410 when events after `after` have been removed because of their age.
#[utoipa::path(get, path = "/v1/events", operation_id = "list_events", tag = "events",
    security(("oauth2" = ["events.read"]), ("bearer" = [])), params(EventsParams),
    responses((status = 200, description = "A page of events", body = EventPage)))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller<EventsRead>,
    Query(params): Query<EventsParams>,
) -> Result<Json<EventPage>, ApiError> {
    let types = read_types(params.types.as_deref())?;
    let size = page_size(params.page_size);
    let mut tx = state.control.read_tenant(caller.tenant).await?;
    let mut events = read(&mut tx, caller.tenant, params.after, size + 1, &types).await?;
    let more = events.len() > size as usize;
    events.truncate(size as usize);
    // In the same snapshot: what has no event of these types up to the head has been seen.
    let seen = if more { 0 } else { head(&mut tx, caller.tenant).await? };
    let next_after = events.last().map_or(0, |event| event.sequence).max(seen).max(params.after);
    Ok(Json(EventPage { items: events.iter().map(Event::cloud_event).collect(), next_after, more }))
}
