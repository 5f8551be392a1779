//! What became of events at an endpoint, and sending them again.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use headgate_access::audit::{self, Entry};
use headgate_events::EventType;
use headgate_events::endpoints::{self, Attempt, Delivery};
use headgate_types::page::Page;
use headgate_types::{EndpointId, EventId};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::http::body::Body;
use crate::http::caller::{Caller, EventsRead};
use crate::http::idempotency::{Answer, IdempotencyKey, Once};
use crate::http::list::PageQuery;
use crate::http::problem::ApiError;
use crate::http::query::{Path, Query};
use crate::state::ApiState;

/// Which event to send again.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResendBody {
    /// The event.
    event: EventId,
}

/// From when on to send again.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecoverBody {
    /// Every event since, that the endpoint wants and has not taken.
    since: DateTime<Utc>,
}

/// Which example to send.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestBody {
    /// The type of the example.
    #[serde(rename = "type")]
    event_type: EventType,
}

/// What was put on its way.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Scheduled {
    /// How many events.
    events: u64,
}

/// List the tries of an endpoint, newest first: status, error, first 4 KiB of the answer.
#[utoipa::path(get, path = "/v1/event-endpoints/{endpoint}/attempts", operation_id = "list_event_attempts",
    tag = "events", security(("oauth2" = ["events.read"]), ("bearer" = [])),
    params(PageQuery, ("endpoint" = EndpointId, Path, description = "The endpoint")),
    responses((status = 200, description = "A page of attempts", body = Page<Attempt>)))]
pub(crate) async fn attempts(
    State(state): State<ApiState>,
    caller: Caller<EventsRead>,
    Path(id): Path<EndpointId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<Attempt>>, ApiError> {
    let listing = query.listing(&state.pages, caller.tenant, "attempts", id.to_string());
    let mut tx = state.control.read_tenant(caller.tenant).await?;
    let rows = endpoints::attempts(&mut tx, caller.tenant, id, listing.after()?, listing.fetch()).await?;
    Ok(Json(listing.page(rows, |attempt| attempt.id, |attempt| attempt)))
}

/// List the events on their way to an endpoint or arrived there, newest first.
#[utoipa::path(get, path = "/v1/event-endpoints/{endpoint}/deliveries", operation_id = "list_event_deliveries",
    tag = "events", security(("oauth2" = ["events.read"]), ("bearer" = [])),
    params(PageQuery, ("endpoint" = EndpointId, Path, description = "The endpoint")),
    responses((status = 200, description = "A page of deliveries", body = Page<Delivery>)))]
pub(crate) async fn deliveries(
    State(state): State<ApiState>,
    caller: Caller<EventsRead>,
    Path(id): Path<EndpointId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<Delivery>>, ApiError> {
    let listing = query.listing(&state.pages, caller.tenant, "deliveries", id.to_string());
    let mut tx = state.control.read_tenant(caller.tenant).await?;
    let rows = endpoints::deliveries(&mut tx, caller.tenant, id, listing.after()?, listing.fetch()).await?;
    Ok(Json(listing.page(rows, |delivery| delivery.sequence, |delivery| delivery)))
}

/// Send one event to an endpoint again, whatever became of it before.
#[utoipa::path(post, path = "/v1/event-endpoints/{endpoint}/resend", operation_id = "resend_event", tag = "events",
    security(("oauth2" = ["events.read"]), ("bearer" = [])),
    params(("endpoint" = EndpointId, Path, description = "The endpoint"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a retry harmless")),
    request_body = ResendBody,
    responses((status = 202, description = "It is on its way", body = Scheduled)))]
pub(crate) async fn resend(
    State(state): State<ApiState>,
    caller: Caller<EventsRead>,
    Path(id): Path<EndpointId>,
    key: IdempotencyKey,
    body: Body<ResendBody>,
) -> Result<Answer, ApiError> {
    let once = match state.once(&caller, key, &body.fingerprint).await? {
        Once::Replay(answer) => return Ok(answer),
        Once::New(once) => once,
    };
    let event = body.value.event;
    let mut tx = state.control.tenant(caller.tenant).await?;
    endpoints::resend(&mut tx, caller.tenant, id, event, &state.clock).await?;
    let entry = Entry::by(&caller, "endpoint.resend", id).detail(json!({"event": event}));
    audit::record(&mut tx, entry, &state.clock).await?;
    let location = format!("/v1/event-endpoints/{id}/deliveries");
    let answer = once.commit(tx, Answer::accepted(location, &Scheduled { events: 1 })).await?;
    state.events.announce();
    Ok(answer)
}

/// Send every event since a moment that the endpoint wants and has not taken.
#[utoipa::path(post, path = "/v1/event-endpoints/{endpoint}/recover", operation_id = "recover_events", tag = "events",
    security(("oauth2" = ["events.read"]), ("bearer" = [])),
    params(("endpoint" = EndpointId, Path, description = "The endpoint"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a retry harmless")),
    request_body = RecoverBody,
    responses((status = 202, description = "They are on their way", body = Scheduled)))]
pub(crate) async fn recover(
    State(state): State<ApiState>,
    caller: Caller<EventsRead>,
    Path(id): Path<EndpointId>,
    key: IdempotencyKey,
    body: Body<RecoverBody>,
) -> Result<Answer, ApiError> {
    let once = match state.once(&caller, key, &body.fingerprint).await? {
        Once::Replay(answer) => return Ok(answer),
        Once::New(once) => once,
    };
    let since = body.value.since;
    let mut tx = state.control.tenant(caller.tenant).await?;
    let events = endpoints::recover(&mut tx, caller.tenant, id, since, &state.clock).await?;
    let entry = Entry::by(&caller, "endpoint.recover", id).detail(json!({"since": since, "events": events}));
    audit::record(&mut tx, entry, &state.clock).await?;
    let location = format!("/v1/event-endpoints/{id}/deliveries");
    let answer = once.commit(tx, Answer::accepted(location, &Scheduled { events })).await?;
    state.events.announce();
    Ok(answer)
}

/// Send an example of an event to an endpoint, now and once, and show what came back.
#[utoipa::path(post, path = "/v1/event-endpoints/{endpoint}/test", operation_id = "test_event_endpoint",
    tag = "events", security(("oauth2" = ["events.read"]), ("bearer" = [])),
    params(("endpoint" = EndpointId, Path, description = "The endpoint")),
    request_body = TestBody,
    responses((status = 200, description = "What came back", body = Attempt)))]
pub(crate) async fn test(
    State(state): State<ApiState>,
    caller: Caller<EventsRead>,
    Path(id): Path<EndpointId>,
    body: Body<TestBody>,
) -> Result<Json<Attempt>, ApiError> {
    let attempt = state.events.send_example(caller.tenant, id, body.value.event_type).await?;
    let mut tx = state.control.tenant(caller.tenant).await?;
    let entry = Entry::by(&caller, "endpoint.test", id).detail(json!({"type": body.value.event_type}));
    audit::record(&mut tx, entry, &state.clock).await?;
    tx.commit().await?;
    Ok(Json(attempt))
}
