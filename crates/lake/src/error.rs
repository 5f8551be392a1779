//! What can go wrong in the lake.

use headgate_types::{Coded, ElementId, ErrorKind, SchemaId};

/// A failure of the landing zone, the log or the tables.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// Another commit was appended first. The writer must rebuild its images on `head`.
    #[error("the log of {element} moved to offset {head}")]
    Conflict {
        /// The element.
        element: ElementId,
        /// The offset of its newest record.
        head: u64,
    },
    /// The element was never registered, or was removed.
    #[error("the lake does not know {0}")]
    UnknownElement(ElementId),
    /// The element was not registered since the lake was opened, so its log has not been held
    /// against its table.
    #[error("{0} was not registered since the lake was opened")]
    Unregistered(ElementId),
    /// The schema was never registered for the element.
    #[error("{element} has no schema {schema}")]
    UnknownSchema {
        /// The element.
        element: ElementId,
        /// The schema that was asked for.
        schema: SchemaId,
    },
    /// The new schema is no extension of the old one.
    #[error("the schema of {element} cannot change that way: {reason}")]
    IncompatibleSchema {
        /// The element.
        element: ElementId,
        /// Which column forbids it.
        reason: String,
    },
    /// The batch does not have the columns of its schema.
    #[error("the batch does not fit its schema: {0}")]
    InvalidBatch(String),
    /// The budget of a landing zone or of the log is used up.
    #[error("{what} holds {used} of {limit} bytes; nothing more fits until it has been worked off")]
    Full {
        /// Which budget.
        what: &'static str,
        /// Bytes in use.
        used: u64,
        /// The budget in bytes.
        limit: u64,
    },
    /// What a channel or a tenant may have waiting is used up.
    #[error("{what} allows {limit} bytes to wait and {used} do; more is taken once some have been worked off")]
    Backlog {
        /// What allows it.
        what: &'static str,
        /// Bytes that wait or are on their way.
        used: u64,
        /// The most in bytes.
        limit: u64,
    },
    /// The disk is full. Nothing of what was to be written is visible.
    #[error("the disk has no room for more at the moment")]
    NoRoom,
    /// The payload is larger than the channel's size allows.
    #[error("the payload exceeds {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The idempotency key was used for a payload with other bytes.
    #[error("this idempotency key was used for another payload")]
    IdempotencyKeyReused,
    /// Somebody else has read on from where this reader of a source stood.
    #[error("the source has been read further by somebody else")]
    CheckpointMoved,
    /// The source broke off while it sent.
    #[error("the payload broke off: {0}")]
    Interrupted(String),
    /// The offset is no longer in the log; the tables may still hold it. `Lake::scan` and
    /// `Lake::read` look there by themselves.
    #[error("the log of {element} starts at offset {floor}")]
    BelowLog {
        /// The element.
        element: ElementId,
        /// The first offset the log holds.
        floor: u64,
    },
    /// Retention removed the offset everywhere: the reader must start again from a snapshot.
    #[error("records of {element} before offset {floor} are gone; start again from a snapshot")]
    Resync {
        /// The element.
        element: ElementId,
        /// The first offset that is still there.
        floor: u64,
    },
    /// A file or row is not what it must be.
    #[error("the lake is damaged: {0}")]
    Damaged(String),
    /// A write failed. Nothing of it is visible.
    #[error("failed to write durably: {0}")]
    NotWritten(String),
    /// A sync failed earlier: what the disk holds is unknown until the process starts again.
    #[error("an earlier sync failed; the store accepts nothing until the process is restarted")]
    Poisoned,
    /// The store is shutting down.
    #[error("the store is closing")]
    Closed,
    /// Another process has the directory.
    #[error("{0} is in use by another process")]
    Locked(String),
    /// SQLite failed.
    #[error("failed to use a store: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The file system failed.
    #[error("failed to use a file: {0}")]
    Io(#[from] std::io::Error),
    /// Arrow failed.
    #[error("failed to encode or decode records: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// Parquet failed.
    #[error("failed to read or write a Parquet file: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// Delta failed.
    #[error("failed to use a Delta table: {0}")]
    Delta(#[from] deltalake::DeltaTableError),
    /// The object store failed.
    #[error("failed to use stored files: {0}")]
    Storage(#[from] object_store::Error),
    /// A document could not be read.
    #[error("failed to read a stored document: {0}")]
    Json(#[from] serde_json::Error),
}

/// The result of everything the lake does.
pub type Result<T, E = LakeError> = std::result::Result<T, E>;

impl From<tokio::task::JoinError> for LakeError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::NotWritten(error.to_string())
    }
}

impl LakeError {
    /// Whether the disk had no room, whoever met it.
    fn is_no_room(&self) -> bool {
        match self {
            Self::NoRoom => true,
            Self::Io(error) => {
                matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
            }
            Self::Sqlite(error) => error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
            _ => false,
        }
    }
}

impl Coded for LakeError {
    fn kind(&self) -> ErrorKind {
        match self {
            error if error.is_no_room() => ErrorKind::InsufficientStorage,
            Self::Conflict { .. } | Self::CheckpointMoved => ErrorKind::Conflict,
            Self::UnknownElement(_) | Self::UnknownSchema { .. } => ErrorKind::NotFound,
            Self::IncompatibleSchema { .. } | Self::IdempotencyKeyReused => ErrorKind::Unprocessable,
            Self::Full { .. } | Self::NoRoom => ErrorKind::InsufficientStorage,
            Self::Backlog { .. } => ErrorKind::TooManyRequests,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::Interrupted(_) => ErrorKind::Invalid,
            Self::Resync { .. } => ErrorKind::Gone,
            Self::Poisoned | Self::Closed | Self::Locked(_) | Self::NotWritten(_) => ErrorKind::Unavailable,
            Self::InvalidBatch(_)
            | Self::Unregistered(_)
            | Self::BelowLog { .. }
            | Self::Damaged(_)
            | Self::Sqlite(_)
            | Self::Io(_)
            | Self::Arrow(_)
            | Self::Parquet(_)
            | Self::Delta(_)
            | Self::Storage(_)
            | Self::Json(_) => ErrorKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            error if error.is_no_room() => "storage_full",
            Self::Conflict { .. } => "log_moved",
            Self::CheckpointMoved => "checkpoint_moved",
            Self::UnknownElement(_) => "element_unknown",
            Self::UnknownSchema { .. } => "schema_unknown",
            Self::IncompatibleSchema { .. } => "schema_incompatible",
            Self::Full { .. } | Self::NoRoom => "storage_full",
            Self::Backlog { .. } => "backlog_full",
            Self::TooLarge { .. } => "payload_too_large",
            Self::IdempotencyKeyReused => "idempotency_key_reused",
            Self::Interrupted(_) => "payload_interrupted",
            Self::Resync { .. } => "resync_required",
            Self::Poisoned | Self::NotWritten(_) => "storage_failed",
            Self::Closed | Self::Locked(_) => "storage_closed",
            Self::InvalidBatch(_) | Self::Unregistered(_) | Self::BelowLog { .. } | Self::Damaged(_) => {
                "lake_invariant"
            }
            Self::Sqlite(_)
            | Self::Io(_)
            | Self::Arrow(_)
            | Self::Parquet(_)
            | Self::Delta(_)
            | Self::Storage(_)
            | Self::Json(_) => "lake_failed",
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            error if error.is_no_room() => Some(10),
            Self::Full { .. } | Self::Backlog { .. } => Some(10),
            Self::Poisoned | Self::Closed | Self::NotWritten(_) => Some(5),
            _ => None,
        }
    }
}
