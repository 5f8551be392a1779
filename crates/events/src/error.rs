//! What can go wrong with events and their endpoints.

use headgate_access::AccessError;
use headgate_access::outbound::OutboundError;
use headgate_database::DbError;
use headgate_types::{Coded, ErrorKind, FieldError};

/// A refusal or a failure of this crate.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    /// There is no such thing, or not for this caller.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// Events after the given place have been removed because of their age.
    #[error("events up to {removed_to} have been removed; start again after it")]
    TooOld {
        /// The last sequence that is gone.
        removed_to: u64,
    },
    /// Something in the request is wrong.
    #[error("the request is not valid")]
    Invalid(Vec<FieldError>),
    /// The endpoint was changed by somebody else.
    #[error("the endpoint has changed; read it again")]
    VersionMismatch,
    /// A webhook secret is not `whsec_` and 24 to 64 bytes of Base64.
    #[error("the signing secret is malformed")]
    Secret,
    /// A received signature does not fit.
    #[error("the signature is not valid: {0}")]
    Signature(&'static str),
    /// An endpoint cannot be reached.
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    /// A sealed secret cannot be used.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl Coded for EventsError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::TooOld { .. } => ErrorKind::Gone,
            Self::Invalid(_) => ErrorKind::Unprocessable,
            Self::VersionMismatch => ErrorKind::PreconditionFailed,
            Self::Secret => ErrorKind::Internal,
            Self::Signature(_) => ErrorKind::Unauthenticated,
            Self::Outbound(error) => error.kind(),
            Self::Access(error) => error.kind(),
            Self::Database(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "not_found",
            Self::TooOld { .. } => "events_too_old",
            Self::Invalid(_) => "invalid_request",
            Self::VersionMismatch => "precondition_failed",
            Self::Secret => "internal",
            Self::Signature(_) => "invalid_signature",
            Self::Outbound(error) => error.code(),
            Self::Access(error) => error.code(),
            Self::Database(error) => error.code(),
        }
    }

    fn fields(&self) -> Vec<FieldError> {
        match self {
            Self::Invalid(fields) => fields.clone(),
            Self::Access(error) => error.fields(),
            _ => Vec::new(),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Access(error) => error.retry_after(),
            Self::Database(error) => error.retry_after(),
            _ => None,
        }
    }
}
