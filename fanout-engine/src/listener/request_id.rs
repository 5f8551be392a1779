//! Every request has an id: the caller's, if it is sensible, or a new one. It is echoed in the
//! `X-Request-Id` header and in problem documents, and handlers find it in the request's header.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use headgate_types::problem::MEDIA_TYPE;
use headgate_types::{Problem, RequestId};
use tracing::Instrument;

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Problem documents are small; a larger body is none of ours.
const MAX_PROBLEM: usize = 1 << 20;

/// The middleware.
pub async fn attach(mut request: Request, next: Next) -> Response {
    let given = request.headers().get(&X_REQUEST_ID).and_then(|value| value.to_str().ok());
    let id = given.filter(|id| RequestId::may_be(id)).map_or_else(|| RequestId::new().to_string(), str::to_owned);
    let span = tracing::info_span!("data", request_id = %id, method = %request.method(), path = request.uri().path());
    let value = HeaderValue::from_str(&id);
    if let Ok(value) = &value {
        request.headers_mut().insert(X_REQUEST_ID.clone(), value.clone());
    }
    let response = next.run(request).instrument(span).await;
    let mut response = if is_problem(&response) { with_id(response, &id).await } else { response };
    if let Ok(value) = value {
        response.headers_mut().insert(X_REQUEST_ID.clone(), value);
    }
    response
}

/// The id of a request that went through [`attach`].
pub fn of(headers: &HeaderMap) -> Option<String> {
    headers.get(&X_REQUEST_ID).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn is_problem(response: &Response) -> bool {
    response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value == MEDIA_TYPE)
}

async fn with_id(response: Response, id: &str) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, MAX_PROBLEM).await else { return Response::from_parts(parts, Body::empty()) };
    let named = serde_json::from_slice::<Problem>(&bytes).and_then(|mut problem| {
        problem.request_id = Some(id.to_owned());
        serde_json::to_vec(&problem)
    });
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(named.unwrap_or_else(|_| bytes.to_vec())))
}
