//! Payloads in, receipts out.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use headgate_access::Scope;
use headgate_types::{ChannelId, ErrorKind, Problem, ReceiptId, idempotency};
use serde_json::json;

use super::{Listener, Refusal, authenticate};
use crate::ingest::Incoming;

/// `POST /v1/in/{channel}/{feed}`: 202 once the payload is durable.
pub async fn accept(
    State(listener): State<Listener>,
    Path((channel, feed)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    take(listener, (channel, feed), uri, headers, body).await.unwrap_or_else(|refusal| {
        let mut response = refusal.into_response();
        // The payload may still be on its way and is not waited for: a source that took the connection for its next
        // one would find it closed, and hear nothing.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    })
}

async fn take(
    listener: Listener,
    (channel, feed): (String, String),
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let channel = own(&listener, &channel, &headers, &uri, Scope::DataWrite).await?;
    let incoming = Incoming {
        channel,
        feed,
        content_type: text(&headers, header::CONTENT_TYPE.as_str()),
        content_encoding: text(&headers, header::CONTENT_ENCODING.as_str()),
        idempotency_key: idempotency_key(&headers)?,
        body,
    };
    let accepted = listener.ingest.accept(incoming).await?;
    let location = format!("/v1/in/{channel}/receipts/{}", accepted.receipt);
    let answer = json!({"receipt": accepted.receipt, "duplicate": accepted.duplicate, "location": location});
    let mut response = (StatusCode::ACCEPTED, Json(answer)).into_response();
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// `GET /v1/in/{channel}/receipts/{receipt}`: landed or conformed, and what became of the rows.
pub async fn receipt(
    State(listener): State<Listener>,
    Path((channel, receipt)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let channel = own(&listener, &channel, &headers, &uri, Scope::DataWrite).await?;
    let receipt: ReceiptId =
        receipt.parse().map_err(|_| no_channel("receipt_not_found", "the channel has no such receipt"))?;
    let receipt = listener.ingest.receipt(channel, receipt).await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(receipt)).into_response())
}

async fn own(
    listener: &Listener,
    channel: &str,
    headers: &HeaderMap,
    uri: &Uri,
    scope: Scope,
) -> Result<ChannelId, Refusal> {
    let unknown = || no_channel("channel_not_found", "there is no such data-in channel for this caller");
    // Whoever presents nothing learns nothing, not even that an id is malformed.
    let id: ChannelId = channel.parse().unwrap_or_default();
    let tenant = authenticate::caller(&listener.access, headers, uri, id, scope).await?;
    if listener.ingest.tenant(id) == Some(tenant) { Ok(id) } else { Err(unknown()) }
}

fn no_channel(code: &'static str, detail: &str) -> Refusal {
    Refusal(Problem::new(ErrorKind::NotFound, code, detail))
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().and_then(idempotency::key);
    let refused = || Refusal(Problem::new(ErrorKind::Invalid, "invalid_idempotency_key", idempotency::WANTED));
    key.map(|key| Some(key.to_owned())).ok_or_else(refused)
}
