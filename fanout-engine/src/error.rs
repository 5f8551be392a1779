//! What can go wrong in the engine, apart from what a single record or request does.

use headgate_access::AccessError;
use headgate_catalog::CatalogError;
use headgate_database::DbError;
use headgate_events::EventsError;
use headgate_lake::LakeError;
use headgate_metering::MeteringError;
use headgate_types::{Coded, ErrorKind, FieldError};

/// A failure of the engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineFault {
    /// A document of the caller is wrong; the fields say where.
    #[error("{detail}")]
    Refused {
        /// Stable code.
        code: &'static str,
        /// What is wrong as a whole.
        detail: String,
        /// The places.
        fields: Vec<FieldError>,
    },
    /// There is no such thing for this caller.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// What the platform holds contradicts itself. The text is for the logs.
    #[error("an invariant does not hold: {0}")]
    Invariant(String),
    /// Something panicked: a fault of Headgate.
    #[error("{0} crashed; this is a fault of Headgate")]
    Crashed(&'static str),
    /// The engine is shutting down.
    #[error("the engine is closing")]
    Closing,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
    /// Tenants could not be read.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The catalog refused or failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The lake refused or failed.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The outbox failed.
    #[error(transparent)]
    Events(#[from] EventsError),
    /// Metering refused or failed.
    #[error(transparent)]
    Metering(#[from] MeteringError),
    /// A file of the engine could not be read or written.
    #[error("failed to use a file: {0}")]
    Io(#[from] std::io::Error),
    /// A store of the engine failed.
    #[error("failed to use a store: {0}")]
    Sqlite(#[source] rusqlite::Error),
    /// Arrow failed.
    #[error("failed to encode or decode records: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
}

impl EngineFault {
    /// Why a task that was waited for did not end: it panicked, or the process ends.
    #[must_use]
    pub fn unfinished(what: &'static str, error: &tokio::task::JoinError) -> Self {
        if error.is_panic() { Self::Crashed(what) } else { Self::Closing }
    }
}

impl From<rusqlite::Error> for EngineFault {
    fn from(error: rusqlite::Error) -> Self {
        crate::sqlite::heed(&error);
        Self::Sqlite(error)
    }
}

impl Coded for EngineFault {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused { .. } => ErrorKind::Unprocessable,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Closing => ErrorKind::Unavailable,
            Self::Database(error) => error.kind(),
            Self::Access(error) => error.kind(),
            Self::Catalog(error) => error.kind(),
            Self::Lake(error) => error.kind(),
            Self::Events(error) => error.kind(),
            Self::Metering(error) => error.kind(),
            Self::Crashed(_) | Self::Invariant(_) | Self::Io(_) | Self::Sqlite(_) | Self::Arrow(_) => {
                ErrorKind::Internal
            }
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Refused { code, .. } => code,
            Self::NotFound(_) => "not_found",
            Self::Closing => "engine_closing",
            Self::Database(error) => error.code(),
            Self::Access(error) => error.code(),
            Self::Catalog(error) => error.code(),
            Self::Lake(error) => error.code(),
            Self::Events(error) => error.code(),
            Self::Metering(error) => error.code(),
            Self::Invariant(_) => "engine_invariant",
            Self::Crashed(_) => "processing_crash",
            Self::Io(_) | Self::Sqlite(_) | Self::Arrow(_) => "engine_failed",
        }
    }

    fn fields(&self) -> Vec<FieldError> {
        match self {
            Self::Refused { fields, .. } => fields.clone(),
            Self::Catalog(error) => error.fields(),
            _ => Vec::new(),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Closing => Some(2),
            Self::Database(error) => error.retry_after(),
            Self::Catalog(error) => error.retry_after(),
            Self::Lake(error) => error.retry_after(),
            Self::Events(error) => error.retry_after(),
            Self::Metering(error) => error.retry_after(),
            _ => None,
        }
    }
}
