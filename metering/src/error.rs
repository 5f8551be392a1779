//! What can go wrong in metering.

use headgate_database::DbError;
use headgate_types::{Coded, ErrorKind, FieldError};

/// A failure of metering.
#[derive(Debug, thiserror::Error)]
pub enum MeteringError {
    /// There is no such thing.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// A document is refused; the fields say where.
    #[error("the {what} is refused")]
    Refused {
        /// What was refused: `usage`, `rate_card`, `period`.
        what: &'static str,
        /// The places that are wrong.
        fields: Vec<FieldError>,
    },
    /// A row holds what this version never wrote.
    #[error("a row of {table} does not make sense: {detail}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// An export could not be written.
    #[error("failed to write the export: {0}")]
    Export(String),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl MeteringError {
    /// Ok when nothing is wrong with `what`.
    pub(crate) fn unless_empty(what: &'static str, fields: Vec<FieldError>) -> Result<(), Self> {
        if fields.is_empty() { Ok(()) } else { Err(Self::Refused { what, fields }) }
    }

    pub(crate) fn corrupt(table: &'static str, detail: impl ToString) -> Self {
        Self::Corrupt { table, detail: detail.to_string() }
    }
}

impl Coded for MeteringError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Refused { .. } => ErrorKind::Unprocessable,
            Self::Corrupt { .. } | Self::Export(_) => ErrorKind::Internal,
            Self::Database(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "not_found",
            Self::Refused { what, .. } => match *what {
                "rate_card" => "rate_card_refused",
                "period" => "period_refused",
                _ => "usage_refused",
            },
            Self::Corrupt { .. } | Self::Export(_) => "internal",
            Self::Database(error) => error.code(),
        }
    }

    fn fields(&self) -> Vec<FieldError> {
        match self {
            Self::Refused { fields, .. } => fields.clone(),
            _ => Vec::new(),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Database(error) => error.retry_after(),
            _ => None,
        }
    }
}
