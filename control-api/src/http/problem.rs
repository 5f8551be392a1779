//! Every failure of a handler, on its way to a problem document.

use axum::response::{IntoResponse, Response};
use headgate_types::engine::EngineError;
use headgate_types::{Coded, ErrorKind, FieldError, Problem};
use http::{HeaderName, HeaderValue, StatusCode, header};

/// What a handler fails with. The middleware of [`super::finish`] adds the request's id and writes
/// the document, so that problems of handlers, extractors and the framework leave by one door.
#[derive(Debug, Clone)]
pub struct ApiError {
    /// The document, without the request's id.
    pub problem: Box<Problem>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl ApiError {
    /// A failure that has its document already.
    #[must_use]
    pub fn of(problem: Problem) -> Self {
        Self { problem: Box::new(problem), headers: Vec::new() }
    }

    /// A failure of `kind` under a stable code, which needs a page in `docs/errors/`.
    pub fn new(kind: ErrorKind, code: &'static str, detail: impl Into<String>) -> Self {
        Self::of(Problem::new(kind, code, detail))
    }

    /// What a caller may know of an error of another crate.
    pub fn of_coded(error: &dyn Coded) -> Self {
        if error.kind() == ErrorKind::Internal {
            // The caller gets the request's id only; the cause is logged here, once, inside the
            // request's span.
            tracing::error!(error = %chain(error), code = error.code(), "the request failed");
        }
        Self::of(Problem::from_error(error))
    }

    /// The request is well-formed, but these places in it are refused (422).
    #[must_use]
    pub fn refused(fields: Vec<FieldError>) -> Self {
        let detail = match fields.as_slice() {
            [one] => one.detail.clone(),
            many => format!("{} places in the request are refused", many.len()),
        };
        Self::of(Problem::new(ErrorKind::Unprocessable, "validation_failed", detail).with_fields(fields))
    }

    /// There is no such thing, or not for this caller: the two are the same answer (404).
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self::new(ErrorKind::NotFound, "not_found", format!("there is no such {what}"))
    }

    /// A query parameter or header is wrong (400).
    #[must_use]
    pub fn parameter(field: FieldError) -> Self {
        let problem = Problem::new(ErrorKind::Invalid, "invalid_parameter", field.detail.clone());
        Self::of(problem.with_fields(vec![field]))
    }

    /// The same failure with a header of its own.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// The one table from errors of the other crates to answers: their kind decides the status.
macro_rules! answers {
    ($($error:ty)*) => {
        $(
            impl From<$error> for ApiError {
                fn from(error: $error) -> Self {
                    Self::of_coded(&error)
                }
            }
        )*
    };
}

answers! {
    headgate_access::AccessError
    headgate_access::PoolError
    headgate_catalog::CatalogError
    headgate_database::DbError
    headgate_events::EventsError
    headgate_metering::MeteringError
    headgate_provisioning::OrderError
    headgate_provisioning::profiles::ProfilesError
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        if error.0.status >= 500 {
            tracing::error!(code = error.0.code, detail = error.0.detail, "the engine failed");
        }
        Self::of(error.0)
    }
}

/// An error and what caused it, in one line.
fn chain(error: &dyn Coded) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        if let Some(seconds) = self.problem.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"headgate\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        response.extensions_mut().insert(Pending(*self.problem));
        response
    }
}

/// A problem waiting in a response's extensions for its request's id.
#[derive(Debug, Clone)]
pub(super) struct Pending(pub Problem);

/// The code of the problem that a response will carry.
pub(crate) fn code(response: &Response) -> String {
    response.extensions().get::<Pending>().map(|pending| pending.0.code.clone()).unwrap_or_default()
}
