//! Problem documents as responses, for the routers of this crate.

use axum::body::Body;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use headgate_types::problem::MEDIA_TYPE;
use headgate_types::{ErrorKind, FieldError, Problem};

use super::SinkError;

/// A problem as a response, `Retry-After` included.
#[must_use]
pub fn problem(problem: &Problem) -> Response {
    let mut response = Response::builder().status(problem.status).header(header::CONTENT_TYPE, MEDIA_TYPE);
    if let Some(seconds) = problem.retry_after {
        response = response.header(header::RETRY_AFTER, seconds);
    }
    let body = serde_json::to_vec(problem).unwrap_or_default();
    finished(response.body(Body::from(body)))
}

/// What was built, or 500 where a header's value is none: values are of our own making.
pub fn finished(response: Result<Response, axum::http::Error>) -> Response {
    response.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// What a handler answers in place of what was asked for.
#[derive(Debug)]
pub struct Refused(Box<Problem>);

impl Refused {
    /// A parameter is wrong.
    pub fn field(error: FieldError) -> Self {
        let detail = error.detail.clone();
        Problem::new(ErrorKind::Invalid, "invalid_query", detail).with_fields(vec![error]).into()
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl From<SinkError> for Refused {
    fn from(error: SinkError) -> Self {
        tracing::error!(%error, "failed to work on the store of a channel");
        let detail = "the channel's store cannot be worked on now";
        Problem::new(ErrorKind::Unavailable, "channel_unavailable", detail).with_retry_after(2).into()
    }
}

impl From<QueryRejection> for Refused {
    fn from(rejection: QueryRejection) -> Self {
        Problem::new(ErrorKind::Invalid, "invalid_query", rejection.body_text()).into()
    }
}

impl From<JsonRejection> for Refused {
    fn from(rejection: JsonRejection) -> Self {
        Problem::new(ErrorKind::Invalid, "invalid_body", rejection.body_text()).into()
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        problem(&self.0)
    }
}
