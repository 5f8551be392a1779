//! Problem documents as responses, for the routers of this crate.

use axum::body::Body;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use headgate_types::{ErrorKind, Problem, problem::MEDIA_TYPE};

/// A problem as a response, `Retry-After` included.
#[must_use]
pub fn problem(problem: &Problem) -> Response {
    let mut response = Response::builder().status(problem.status).header(header::CONTENT_TYPE, MEDIA_TYPE);
    if let Some(seconds) = problem.retry_after {
        response = response.header(header::RETRY_AFTER, seconds);
    }
    let body = serde_json::to_vec(problem).unwrap_or_default();
    response.body(Body::from(body)).unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// What a handler answers in place of what was asked for.
pub struct Refused(Problem);

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(problem)
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
