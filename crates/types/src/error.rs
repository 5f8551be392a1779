//! What every error of every crate can say about itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The class of a failure. `problem.rs` maps each to one HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The request is malformed (400).
    Invalid,
    /// Nobody was recognised (401).
    Unauthenticated,
    /// Somebody was recognised who may not (403).
    Forbidden,
    /// There is no such thing, or not for this caller (404).
    NotFound,
    /// The method is not offered here (405).
    MethodNotAllowed,
    /// None of the accepted representations can be made (406).
    NotAcceptable,
    /// The state of the thing forbids it now (409).
    Conflict,
    /// It was there once (410).
    Gone,
    /// A condition of the request does not hold (412).
    PreconditionFailed,
    /// The payload is larger than allowed (413).
    TooLarge,
    /// The content type or encoding is unknown (415).
    UnsupportedMediaType,
    /// The range lies outside the representation (416).
    RangeNotSatisfiable,
    /// Well-formed, but its meaning is refused (422).
    Unprocessable,
    /// A condition is required and absent (428).
    PreconditionRequired,
    /// Too much, too fast (429).
    TooManyRequests,
    /// Our own failure (500).
    Internal,
    /// Not now; try later (503).
    Unavailable,
    /// No room for it (507).
    InsufficientStorage,
}

/// One place in a request that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// RFC 6901 pointer into the request body, or the name of a query parameter or header.
    pub pointer: String,
    /// Stable machine-readable code.
    pub code: String,
    /// What is wrong, for a person.
    pub detail: String,
}

impl FieldError {
    /// An error at `pointer`.
    pub fn new(pointer: impl Into<String>, code: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code: code.into(), detail: detail.into() }
    }

    /// The same error seen from an enclosing document: `prefix` goes before the pointer.
    #[must_use]
    pub fn under(mut self, prefix: &str) -> Self {
        self.pointer.insert_str(0, prefix);
        self
    }
}

/// Implemented by the error enum of every crate: enough to answer a caller and to log once.
pub trait Coded: std::error::Error {
    /// The class of the failure.
    fn kind(&self) -> ErrorKind;

    /// The stable code, `snake_case`, documented in `docs/errors/<code>.md`.
    fn code(&self) -> &'static str;

    /// The places that are wrong.
    fn fields(&self) -> Vec<FieldError> {
        Vec::new()
    }

    /// Seconds after which a retry may succeed.
    fn retry_after(&self) -> Option<u64> {
        None
    }
}
