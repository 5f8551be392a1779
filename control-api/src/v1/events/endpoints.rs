//! Where events are sent: endpoints.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::TimeDelta;
use headgate_access::audit::{self, Entry};
use headgate_events::endpoints::{self, Endpoint, EndpointPatch, NewEndpoint};
use headgate_types::{EndpointId, FieldError};
use http::{StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::http::body::Body;
use crate::http::caller::{Caller, EventsRead};
use crate::http::etag::{ETag, IfMatch};
use crate::http::idempotency::{Answer, IdempotencyKey, Once, Pending};
use crate::http::problem::ApiError;
use crate::http::query::Path;
use crate::state::ApiState;

const MAX_GRACE_SECONDS: i64 = 30 * 24 * 60 * 60;

/// An endpoint with its signing secret, this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct EndpointWithSecret {
    #[serde(flatten)]
    endpoint: Endpoint,
    /// Verifies the signature of what is sent. Keep it: it cannot be shown again.
    #[schema(format = Password)]
    signing_secret: String,
}

/// The endpoints of a tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EndpointsView {
    /// Oldest first; there are never many.
    items: Vec<Endpoint>,
}

/// How an endpoint's secret is rotated.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateEndpointBody {
    /// How long the old secret signs beside the new one; a day when absent.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 2_592_000)]
    grace_seconds: Option<i64>,
}

fn etag(endpoint: &Endpoint) -> ETag {
    ETag::version(u64::try_from(endpoint.version).unwrap_or_default())
}

/// Register an endpoint: events are sent to it from now on, signed as Standard Webhooks 1.0 has it.
#[utoipa::path(post, path = "/v1/event-endpoints", operation_id = "create_event_endpoint", tag = "events",
    security(("oauth2" = ["events.read"]), ("bearer" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a retry harmless")),
    request_body = NewEndpoint,
    responses((status = 201, description = "The endpoint and its secret", body = EndpointWithSecret)))]
pub(crate) async fn create(
    State(state): State<ApiState>,
    caller: Caller<EventsRead>,
    key: IdempotencyKey,
    body: Body<NewEndpoint>,
) -> Result<Answer, ApiError> {
    let once = match state.once(&caller, key, &body.fingerprint).await? {
        Once::Replay(answer) => return Ok(answer),
        Once::New(once) => once,
    };
    let mut tx = state.control.tenant(caller.tenant).await?;
    let made = state.events.create_endpoint(&mut tx, caller.tenant, body.value).await?;
    let entry = Entry::by(&caller, "endpoint.create", made.0.id).detail(json!({"url": made.0.url}));
    audit::record(&mut tx, entry, &state.clock).await?;
    let location = format!("/v1/event-endpoints/{}", made.0.id);
    shown_once(once, tx, made, |view| Answer::created(location, view)).await
}

/// List the endpoints.
#[utoipa::path(get, path = "/v1/event-endpoints", operation_id = "list_event_endpoints", tag = "events",
    security(("oauth2" = ["events.read"]), ("bearer" = [])),
    responses((status = 200, description = "The endpoints", body = EndpointsView)))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller<EventsRead>,
) -> Result<Json<EndpointsView>, ApiError> {
    let mut tx = state.control.read_tenant(caller.tenant).await?;
    Ok(Json(EndpointsView { items: endpoints::list(&mut tx, caller.tenant).await? }))
}

/// Get an endpoint.
#[utoipa::path(get, path = "/v1/event-endpoints/{endpoint}", operation_id = "get_event_endpoint", tag = "events",
    security(("oauth2" = ["events.read"]), ("bearer" = [])),
    params(("endpoint" = EndpointId, Path, description = "The endpoint")),
    responses((status = 200, description = "The endpoint", body = Endpoint,
        headers(("ETag" = String, description = "For `If-Match`")))))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    caller: Caller<EventsRead>,
    Path(id): Path<EndpointId>,
) -> Result<Response, ApiError> {
    let mut tx = state.control.read_tenant(caller.tenant).await?;
    let endpoint = endpoints::get(&mut tx, caller.tenant, id).await?;
    Ok(([(header::ETAG, etag(&endpoint).header())], Json(endpoint)).into_response())
}

/// Change an endpoint; absent members stay. Enabling it again starts with the next event.
#[utoipa::path(patch, path = "/v1/event-endpoints/{endpoint}", operation_id = "update_event_endpoint", tag = "events",
    security(("oauth2" = ["events.read"]), ("bearer" = [])),
    params(("endpoint" = EndpointId, Path, description = "The endpoint"),
        ("If-Match" = String, Header, description = "The `ETag` that was read, or `*`")),
    request_body = EndpointPatch,
    responses((status = 200, description = "The endpoint", body = Endpoint)))]
pub(crate) async fn update(
    State(state): State<ApiState>,
    caller: Caller<EventsRead>,
    Path(id): Path<EndpointId>,
    if_match: IfMatch,
    body: Body<EndpointPatch>,
) -> Result<Response, ApiError> {
    let mut tx = state.control.tenant(caller.tenant).await?;
    let seen = endpoints::get(&mut tx, caller.tenant, id).await?;
    if_match.check(&etag(&seen))?;
    let endpoint = state.events.update_endpoint(&mut tx, caller.tenant, id, body.value, Some(seen.version)).await?;
    let entry = Entry::by(&caller, "endpoint.update", id).detail(json!({"url": endpoint.url, "state": endpoint.state}));
    audit::record(&mut tx, entry, &state.clock).await?;
    tx.commit().await?;
    Ok(([(header::ETAG, etag(&endpoint).header())], Json(endpoint)).into_response())
}

/// Remove an endpoint and what is known of its deliveries.
#[utoipa::path(delete, path = "/v1/event-endpoints/{endpoint}", operation_id = "delete_event_endpoint", tag = "events",
    security(("oauth2" = ["events.read"]), ("bearer" = [])),
    params(("endpoint" = EndpointId, Path, description = "The endpoint"),
        ("If-Match" = String, Header, description = "The `ETag` that was read, or `*`")),
    responses((status = 204, description = "It is gone")))]
pub(crate) async fn delete(
    State(state): State<ApiState>,
    caller: Caller<EventsRead>,
    Path(id): Path<EndpointId>,
    if_match: IfMatch,
) -> Result<StatusCode, ApiError> {
    let mut tx = state.control.tenant(caller.tenant).await?;
    let seen = endpoints::get(&mut tx, caller.tenant, id).await?;
    if_match.check(&etag(&seen))?;
    endpoints::delete(&mut tx, caller.tenant, id, Some(seen.version)).await?;
    audit::record(&mut tx, Entry::by(&caller, "endpoint.delete", id), &state.clock).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Give an endpoint a new signing secret; the old one signs beside it for the grace period.
#[utoipa::path(post, path = "/v1/event-endpoints/{endpoint}/rotate-secret",
    operation_id = "rotate_event_endpoint_secret", tag = "events",
    security(("oauth2" = ["events.read"]), ("bearer" = [])),
    params(("endpoint" = EndpointId, Path, description = "The endpoint"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a retry harmless")),
    request_body = RotateEndpointBody,
    responses((status = 200, description = "The endpoint and its new secret", body = EndpointWithSecret)))]
pub(crate) async fn rotate(
    State(state): State<ApiState>,
    caller: Caller<EventsRead>,
    Path(id): Path<EndpointId>,
    key: IdempotencyKey,
    body: Body<RotateEndpointBody>,
) -> Result<Answer, ApiError> {
    let grace = body.value.grace_seconds.unwrap_or(24 * 60 * 60);
    if !(0..=MAX_GRACE_SECONDS).contains(&grace) {
        let detail = format!("0 to {MAX_GRACE_SECONDS} seconds");
        return Err(ApiError::refused(vec![FieldError::new("/grace_seconds", "out_of_range", detail)]));
    }
    let once = match state.once(&caller, key, &body.fingerprint).await? {
        Once::Replay(answer) => return Ok(answer),
        Once::New(once) => once,
    };
    let mut tx = state.control.tenant(caller.tenant).await?;
    let grace = TimeDelta::seconds(grace);
    let made = state.events.rotate_endpoint_secret(&mut tx, caller.tenant, id, grace).await?;
    audit::record(&mut tx, Entry::by(&caller, "endpoint.rotate_secret", id), &state.clock).await?;
    shown_once(once, tx, made, Answer::ok).await
}

/// Answers with the secret, and remembers the answer without it.
async fn shown_once(
    once: Pending,
    tx: headgate_database::Tx,
    (endpoint, secret): (Endpoint, SecretString),
    answer: impl FnOnce(&EndpointWithSecret) -> Answer,
) -> Result<Answer, ApiError> {
    let etag = etag(&endpoint);
    let view = EndpointWithSecret { endpoint, signing_secret: secret.expose_secret().to_owned() };
    let answer = answer(&view).with_etag(&etag);
    let remembered = answer.without("signing_secret");
    once.commit_remembering(tx, answer, Some(&remembered)).await
}
