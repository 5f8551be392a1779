//! What can go wrong between us and the database.

use headgate_types::{Coded, ErrorKind};

/// A failure of the database.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// A UNIQUE or PRIMARY KEY constraint refused the row; callers turn it into their own conflict.
    #[error("the row exists already")]
    Duplicate,
    /// A FOREIGN KEY constraint refused the row or its removal.
    #[error("the row is referred to, or refers to nothing")]
    Reference,
    /// Another transaction was in the way; the whole transaction can be tried again.
    #[error("the database is busy")]
    Busy,
    /// The configuration does not describe a database that can be opened.
    #[error("failed to open the database: {0}")]
    Open(String),
    /// Everything else.
    #[error("the database failed: {0}")]
    Other(#[source] sqlx::Error),
    /// A migration failed.
    #[error("failed to migrate: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::error::ErrorKind as Sql;
        let Some(database) = error.as_database_error() else {
            return match error {
                sqlx::Error::PoolTimedOut => Self::Busy,
                other => Self::Other(other),
            };
        };
        match database.kind() {
            Sql::UniqueViolation => Self::Duplicate,
            Sql::ForeignKeyViolation => Self::Reference,
            _ => match database.code().as_deref() {
                // SQLITE_BUSY and its extended codes; serialization_failure, deadlock_detected.
                Some("5" | "261" | "517" | "40001" | "40P01") => Self::Busy,
                _ => Self::Other(error),
            },
        }
    }
}

impl Coded for DbError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Busy => ErrorKind::Unavailable,
            Self::Duplicate => ErrorKind::Conflict,
            Self::Reference | Self::Open(_) | Self::Other(_) | Self::Migrate(_) => ErrorKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Busy => "database_busy",
            Self::Duplicate => "already_exists",
            Self::Reference | Self::Open(_) | Self::Other(_) | Self::Migrate(_) => "internal",
        }
    }

    fn retry_after(&self) -> Option<u64> {
        matches!(self, Self::Busy).then_some(1)
    }
}
