//! RFC 9457 problem documents: the one shape every error has on the wire, on every listener.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{Coded, ErrorKind, FieldError};

/// The media type of a problem document.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// A problem document (RFC 9457) with Headgate's extension members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// URI reference of the page that explains the code.
    #[serde(rename = "type")]
    pub problem_type: String,
    /// Short summary of the class of problem.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// Stable machine-readable code.
    pub code: String,
    /// The places in the request that are wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// The request's id, as in the `X-Request-Id` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Seconds after which a retry may succeed; sent as the `Retry-After` header.
    #[serde(skip)]
    pub retry_after: Option<u64>,
}

impl Problem {
    /// A problem of `kind` with a stable `code`.
    pub fn new(kind: ErrorKind, code: impl Into<String>, detail: impl Into<String>) -> Self {
        let code = code.into();
        Self {
            problem_type: format!("/docs/errors/{code}"),
            title: title(kind).to_owned(),
            status: status(kind),
            detail: detail.into(),
            code,
            errors: Vec::new(),
            request_id: None,
            retry_after: None,
        }
    }

    /// The same problem naming the places that are wrong.
    #[must_use]
    pub fn with_fields(mut self, fields: Vec<FieldError>) -> Self {
        self.errors = fields;
        self
    }

    /// The same problem with a hint when to retry.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// What a caller may know of `error`. The text of an internal failure stays inside: it may
    /// name files, statements or hosts.
    pub fn from_error(error: &dyn Coded) -> Self {
        let detail = match error.kind() {
            ErrorKind::Internal => {
                "the request failed on our side; the request id finds the cause in the logs".to_owned()
            }
            _ => error.to_string(),
        };
        let mut problem = Self::new(error.kind(), error.code(), detail).with_fields(error.fields());
        problem.retry_after = error.retry_after();
        problem
    }
}

/// The HTTP status of a kind.
#[must_use]
pub const fn status(kind: ErrorKind) -> u16 {
    match kind {
        ErrorKind::Invalid => 400,
        ErrorKind::Unauthenticated => 401,
        ErrorKind::Forbidden => 403,
        ErrorKind::NotFound => 404,
        ErrorKind::MethodNotAllowed => 405,
        ErrorKind::NotAcceptable => 406,
        ErrorKind::Conflict => 409,
        ErrorKind::Gone => 410,
        ErrorKind::PreconditionFailed => 412,
        ErrorKind::TooLarge => 413,
        ErrorKind::UnsupportedMediaType => 415,
        ErrorKind::RangeNotSatisfiable => 416,
        ErrorKind::Unprocessable => 422,
        ErrorKind::PreconditionRequired => 428,
        ErrorKind::TooManyRequests => 429,
        ErrorKind::Internal => 500,
        ErrorKind::Unavailable => 503,
        ErrorKind::InsufficientStorage => 507,
    }
}

const fn title(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Invalid => "Malformed request",
        ErrorKind::Unauthenticated => "Authentication required",
        ErrorKind::Forbidden => "Not allowed",
        ErrorKind::NotFound => "Not found",
        ErrorKind::MethodNotAllowed => "Method not allowed",
        ErrorKind::NotAcceptable => "Not acceptable",
        ErrorKind::Conflict => "Conflict",
        ErrorKind::Gone => "Gone",
        ErrorKind::PreconditionFailed => "Precondition failed",
        ErrorKind::TooLarge => "Too large",
        ErrorKind::UnsupportedMediaType => "Unsupported media type",
        ErrorKind::RangeNotSatisfiable => "Range not satisfiable",
        ErrorKind::Unprocessable => "Refused",
        ErrorKind::PreconditionRequired => "Precondition required",
        ErrorKind::TooManyRequests => "Too many requests",
        ErrorKind::Internal => "Internal error",
        ErrorKind::Unavailable => "Unavailable",
        ErrorKind::InsufficientStorage => "No room left",
    }
}
