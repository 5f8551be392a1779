//! The log of events, live, as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event as Frame, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use headgate_types::FieldError;
use http::HeaderMap;
use serde::Deserialize;
use utoipa::IntoParams;

use super::read_types;
use crate::http::caller::{Caller, EventsRead};
use crate::http::problem::ApiError;
use crate::http::query::{Query, at_most, position};
use crate::state::ApiState;

const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A stream ends after this long and the client comes back with `Last-Event-ID`: a client that was
/// revoked, or lost its scope, is not listened for longer.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// Which events.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct StreamParams {
    /// Only events after this sequence; the beginning when absent. `Last-Event-ID` goes before it.
    #[serde(default, deserialize_with = "position")]
    after: u64,
    /// Only these types, separated by commas.
    #[serde(default, deserialize_with = "at_most::<2000, _>")]
    #[param(max_length = 2000)]
    types: Option<String>,
}

/// Follow the log of events. Each message's `id` is the event's sequence, its `event` the type, its
/// `data` a CloudEvent. After a break the browser or client sends `Last-Event-ID` and misses
/// nothing; 410 when it was away for so long that events have been removed.
#[utoipa::path(get, path = "/v1/events/stream", operation_id = "stream_events", tag = "events",
    security(("oauth2" = ["events.read"]), ("bearer" = [])),
    params(StreamParams, ("Last-Event-ID" = Option<u64>, Header, description = "Sequence of the last event seen")),
    responses((status = 200, description = "The stream", body = String, content_type = "text/event-stream")))]
pub(crate) async fn stream(
    State(state): State<ApiState>,
    caller: Caller<EventsRead>,
    Query(params): Query<StreamParams>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let types = read_types(params.types.as_deref())?;
    let after = last_seen(&headers)?.unwrap_or(params.after);
    let feed = state.events.feed(caller.tenant, after, types).await?;
    let shutdown = state.shutdown.clone();
    let frames = feed
        .map(|event| {
            let event = event.map_err(|error| tracing::warn!(%error, "a stream of events ended"))?;
            let frame = Frame::default().id(event.sequence.to_string()).event(event.event_type.clone());
            frame.json_data(event.cloud_event()).map_err(drop)
        })
        // An error ends the stream; the client comes back and gets it as a status.
        .take_while(|frame| futures::future::ready(frame.is_ok()))
        .filter_map(|frame| futures::future::ready(frame.ok()))
        .map(Ok::<_, Infallible>)
        .take_until(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(LONGEST) => {}
            }
        });
    Ok(Sse::new(frames).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

fn last_seen(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let sequence = value.to_str().ok().and_then(|text| text.parse().ok());
    sequence.map(Some).ok_or_else(|| {
        let detail = "Last-Event-ID is the sequence of an event, a whole number";
        ApiError::parameter(FieldError::new("Last-Event-ID", "invalid_header", detail))
    })
}
