//! What can go wrong between us and the database.

use headgate_types::{Coded, ErrorKind};

use crate::unsynced;

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
    /// The server is away, or went away in the middle; a commit that ends like this may have been made.
    #[error("the database cannot be reached: {0}")]
    Unreachable(#[source] sqlx::Error),
    /// The database's disk has no room for more.
    #[error("the disk of the database is full")]
    Full,
    /// The database's disk failed to make a write durable; see [`sync_failed`](crate::sync_failed).
    #[error("the disk of the database failed to sync")]
    Unsynced,
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

impl DbError {
    /// Whether a value was refused for what it is: tried again, it is refused again. PostgreSQL takes no U+0000 in
    /// text; either has limits of size and range.
    #[must_use]
    pub fn is_of_content(&self) -> bool {
        let Self::Other(error) = self else { return false };
        let Some(code) = error.as_database_error().and_then(sqlx::error::DatabaseError::code) else { return false };
        // A SQLSTATE has five characters: data_exception, check and null violations, program_limit_exceeded.
        if code.len() == 5 {
            return code.starts_with("22") || code.starts_with("54") || matches!(&*code, "23502" | "23514");
        }
        // SQLITE_TOOBIG, SQLITE_CONSTRAINT and SQLITE_MISMATCH, whatever they are extended by.
        matches!(code.parse::<u32>().map(|code| code & 0xff), Ok(18..=20))
    }
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::error::ErrorKind as Sql;
        let Some(database) = error.as_database_error() else {
            return match error {
                sqlx::Error::PoolTimedOut => Self::Busy,
                sqlx::Error::Io(_) => Self::Unreachable(error),
                other => Self::Other(other),
            };
        };
        match database.kind() {
            Sql::UniqueViolation => Self::Duplicate,
            Sql::ForeignKeyViolation => Self::Reference,
            _ => match database.code().as_deref() {
                // SQLITE_BUSY and its extended codes; serialization_failure, deadlock_detected.
                Some("5" | "261" | "517" | "40001" | "40P01") => Self::Busy,
                // SQLITE_FULL, and SQLITE_IOERR_SHMSIZE of a log's index that cannot grow; disk_full.
                Some("13" | "4874" | "53100") => Self::Full,
                // SQLITE_IOERR_FSYNC and SQLITE_IOERR_DIR_FSYNC.
                Some("1034" | "1290") => {
                    unsynced::report_failed_sync("a database", &error);
                    Self::Unsynced
                }
                // SQLITE_CANTOPEN: no file may be opened at the moment; too_many_connections.
                Some("14" | "53300") => Self::Unreachable(error),
                // admin_shutdown, crash_shutdown, cannot_connect_now; class 08 is the connection's.
                Some("57P01" | "57P02" | "57P03") => Self::Unreachable(error),
                Some(code) if code.starts_with("08") => Self::Unreachable(error),
                _ => Self::Other(error),
            },
        }
    }
}

impl Coded for DbError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Busy | Self::Unreachable(_) | Self::Unsynced => ErrorKind::Unavailable,
            Self::Duplicate => ErrorKind::Conflict,
            Self::Full => ErrorKind::InsufficientStorage,
            Self::Reference | Self::Open(_) | Self::Other(_) | Self::Migrate(_) => ErrorKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Busy => "database_busy",
            Self::Unreachable(_) | Self::Unsynced => "database_unreachable",
            Self::Duplicate => "already_exists",
            Self::Full => "storage_full",
            Self::Reference | Self::Open(_) | Self::Other(_) | Self::Migrate(_) => "internal",
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Busy | Self::Unreachable(_) | Self::Unsynced => Some(1),
            Self::Full => Some(10),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_went_away_is_unavailable_and_no_fault_of_ours() {
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let error = DbError::from(sqlx::Error::Io(reset));
        assert_eq!((error.kind(), error.code()), (ErrorKind::Unavailable, "database_unreachable"));
        assert_eq!(error.retry_after(), Some(1));
        assert_eq!(DbError::from(sqlx::Error::RowNotFound).code(), "internal");
    }
}
