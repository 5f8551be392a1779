//! Errors on their way out.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use headgate_types::{Coded, Problem};

use crate::technology::problem;

/// A problem document as a response.
#[derive(Debug)]
pub struct Refusal(pub Problem);

impl<E: Coded> From<E> for Refusal {
    fn from(error: E) -> Self {
        let problem = Problem::from_error(&error);
        if problem.status >= 500 {
            tracing::error!(%error, "a data request failed");
        }
        Self(problem)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = problem(&self.0);
        if self.0.status == 401 {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer, Basic realm=\"headgate\""));
        }
        response
    }
}
