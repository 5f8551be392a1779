//! The outermost layer: request ids, trace context, one span per request, and the one door through
//! which every problem leaves, whether a handler, an extractor or the framework made it.

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use headgate_types::{ErrorKind, Problem, RequestId, problem};
use http::{HeaderName, HeaderValue, StatusCode, header};
use tracing::Instrument;

use super::problem::{ApiError, Pending};

/// Echoed on every answer.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The id of the request: the caller's own where it is acceptable, else ours.
#[derive(Debug, Clone)]
pub struct RequestIdText(pub String);

/// The W3C trace context the request came with, kept for the work it causes.
#[derive(Debug, Clone)]
pub struct TraceParent(pub Option<String>);

/// Names the request, runs it in a span, and finishes its answer.
pub async fn finish(mut request: Request, next: Next) -> Response {
    let id = request_id(&request);
    let trace = TraceParent(traceparent(&request));
    let span = tracing::info_span!(
        "request",
        request_id = %id,
        method = %request.method(),
        path = %request.uri().path(),
        traceparent = trace.0.as_deref().unwrap_or_default(),
    );
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let method = request.method().as_str().to_owned();
    request.extensions_mut().insert(RequestIdText(id.clone()));
    request.extensions_mut().insert(trace);
    let started = std::time::Instant::now();
    let response = next.run(request).instrument(span).await;
    let response = answered(response, &id).await;
    let labels = [
        ("method", method),
        ("route", route.unwrap_or_else(|| "none".to_owned())),
        ("status", response.status().as_u16().to_string()),
    ];
    metrics::counter!("headgate_api_requests_total", &labels).increment(1);
    metrics::histogram!("headgate_api_request_seconds", &labels).record(started.elapsed().as_secs_f64());
    response
}

async fn answered(mut response: Response, id: &str) -> Response {
    let pending = response.extensions_mut().remove::<Pending>().map(|pending| pending.0);
    let written = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(problem::MEDIA_TYPE.as_bytes()));
    let failed = response.status().is_client_error() || response.status().is_server_error();
    // RFC 6749 has an error document of its own for the token endpoint.
    let oauth = response.extensions().get::<OAuthError>().is_some();
    if let Some(problem) = pending {
        response = write(response, problem, id);
    } else if failed && !written && !oauth {
        let (parts, body) = response.into_parts();
        let text = axum::body::to_bytes(body, 4_096).await.unwrap_or_default();
        let problem = of_framework(parts.status, &String::from_utf8_lossy(&text));
        response = write(Response::from_parts(parts, Body::empty()), problem, id);
    }
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(X_REQUEST_ID, value);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Marks an answer that carries the error document of RFC 6749, section 5.2.
#[derive(Debug, Clone, Copy)]
pub struct OAuthError;

fn write(response: Response, mut problem: Problem, id: &str) -> Response {
    problem.request_id = Some(id.to_owned());
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(problem::MEDIA_TYPE));
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    Response::from_parts(parts, Body::from(body))
}

/// The problem behind an answer that the framework gave by itself.
fn of_framework(status: StatusCode, text: &str) -> Problem {
    let (kind, code) = match status {
        StatusCode::NOT_FOUND => (ErrorKind::NotFound, "route_not_found"),
        StatusCode::METHOD_NOT_ALLOWED => (ErrorKind::MethodNotAllowed, "method_not_allowed"),
        StatusCode::NOT_ACCEPTABLE => (ErrorKind::NotAcceptable, "not_acceptable"),
        StatusCode::PAYLOAD_TOO_LARGE => (ErrorKind::TooLarge, "body_too_large"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => (ErrorKind::UnsupportedMediaType, "unsupported_media_type"),
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT | StatusCode::SERVICE_UNAVAILABLE => {
            (ErrorKind::Unavailable, "unavailable")
        }
        status if status.is_server_error() => (ErrorKind::Internal, "internal"),
        _ => (ErrorKind::Invalid, "invalid_request"),
    };
    let detail = match kind {
        ErrorKind::Internal => "the request failed on our side; the request id finds the cause in the logs".to_owned(),
        _ if text.is_empty() => status.canonical_reason().unwrap_or("the request was refused").to_lowercase(),
        _ => text.to_owned(),
    };
    let mut problem = Problem::new(kind, code, detail);
    problem.status = status.as_u16();
    problem
}

/// The answer to a path that nothing is routed at.
pub async fn route_not_found(request: Request) -> ApiError {
    let path = request.uri().path();
    ApiError::new(ErrorKind::NotFound, "route_not_found", format!("nothing is served at {path}; see /docs"))
}

/// The answer to a method that a path does not offer; the framework adds `Allow`.
pub async fn method_not_allowed(request: Request) -> ApiError {
    let (method, path) = (request.method(), request.uri().path());
    ApiError::new(ErrorKind::MethodNotAllowed, "method_not_allowed", format!("{path} does not offer {method}"))
}

/// The answer when a handler panicked: ours to repair, so the text stays in the logs.
#[expect(clippy::needless_pass_by_value, reason = "the signature of the panic handler")]
pub fn panicked(panic: Box<dyn std::any::Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(panic = text.unwrap_or("no text"), "a handler panicked");
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

fn request_id(request: &Request) -> String {
    let given = request.headers().get(X_REQUEST_ID).and_then(|value| value.to_str().ok());
    given.filter(|id| RequestId::may_be(id)).map_or_else(|| RequestId::new().to_string(), str::to_owned)
}

/// The `traceparent` header, where it has the form of W3C Trace Context, version 00.
fn traceparent(request: &Request) -> Option<String> {
    let text = request.headers().get(TRACEPARENT)?.to_str().ok()?;
    let parts: Vec<_> = text.split('-').collect();
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let [version, trace, parent, flags] = parts.as_slice() else { return None };
    let zero = |part: &str| part.bytes().all(|b| b == b'0');
    let valid = *version == "00" && hex(trace, 32) && hex(parent, 16) && hex(flags, 2) && !zero(trace) && !zero(parent);
    valid.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: HeaderName, value: &str) -> Request {
        Request::builder().header(name, value).body(Body::empty()).unwrap()
    }

    #[test]
    fn a_request_id_is_taken_over_only_when_it_is_harmless() {
        assert_eq!(request_id(&with(X_REQUEST_ID, "checkout-4711.a")), "checkout-4711.a");
        for wrong in ["short", "has spaces in it", &"x".repeat(129), "quote\"quote"] {
            assert!(request_id(&with(X_REQUEST_ID, wrong)).starts_with("req_"), "{wrong}");
        }
    }

    #[test]
    fn only_a_valid_trace_context_is_kept() {
        let valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(traceparent(&with(TRACEPARENT, valid)).as_deref(), Some(valid));
        for wrong in ["", "00-0-0-0", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", &valid.to_uppercase()]
        {
            assert_eq!(traceparent(&with(TRACEPARENT, wrong)), None, "{wrong}");
        }
    }
}
