//! What can go wrong in the catalog.

use headgate_database::DbError;
use headgate_types::channel::ChannelState;
use headgate_types::{Coded, ErrorKind, FieldError};

/// A failure of the catalog.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// There is no such thing, or not for this tenant.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// A document is refused; the fields say where.
    #[error("the {what} is refused")]
    Refused {
        /// What was refused: `element`, `selection`, `feed`, `node`, `grant`, `channel`.
        what: &'static str,
        /// The places that are wrong.
        fields: Vec<FieldError>,
    },
    /// The filter of a list is refused.
    #[error("the filter is refused: {}", .0.detail)]
    Filter(FieldError),
    /// Another thing of the tenant has this name.
    #[error("the name {0:?} is taken")]
    NameTaken(String),
    /// The channel is in a state that the change does not start from.
    #[error("the channel is {actual}, which this does not start from")]
    StateConflict {
        /// The state it is in.
        actual: ChannelState,
    },
    /// No channel ever goes this way: a fault of the caller, not of the moment.
    #[error("no channel goes from {from} to {to}")]
    NoSuchTransition {
        /// The state asked to leave.
        from: ChannelState,
        /// The state asked for.
        to: ChannelState,
    },
    /// The row was changed by someone else since it was read.
    #[error("the {0} was changed in the meantime")]
    Stale(&'static str),
    /// Something still refers to it.
    #[error("the {what} is still used by {by}")]
    InUse {
        /// What was to go.
        what: &'static str,
        /// What refers to it.
        by: &'static str,
    },
    /// A row holds what this version never wrote.
    #[error("a row of {table} does not make sense: {detail}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl CatalogError {
    /// Ok when nothing is wrong with `what`.
    pub(crate) fn unless_empty(what: &'static str, fields: Vec<FieldError>) -> Result<(), Self> {
        if fields.is_empty() { Ok(()) } else { Err(Self::Refused { what, fields }) }
    }
}

impl Coded for CatalogError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Refused { .. } => ErrorKind::Unprocessable,
            Self::Filter(_) => ErrorKind::Invalid,
            Self::NameTaken(_) | Self::StateConflict { .. } | Self::InUse { .. } => ErrorKind::Conflict,
            Self::Stale(_) => ErrorKind::PreconditionFailed,
            Self::NoSuchTransition { .. } | Self::Corrupt { .. } => ErrorKind::Internal,
            Self::Database(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "not_found",
            Self::Refused { what, .. } => match *what {
                "element" => "element_refused",
                "selection" => "selection_refused",
                "feed" => "feed_refused",
                "node" => "node_refused",
                "grant" => "grant_refused",
                _ => "channel_refused",
            },
            Self::Filter(_) => "invalid_filter",
            Self::NameTaken(_) => "name_taken",
            Self::StateConflict { .. } => "channel_state_conflict",
            Self::InUse { .. } => "in_use",
            Self::Stale(_) => "stale_version",
            Self::NoSuchTransition { .. } | Self::Corrupt { .. } => "internal",
            Self::Database(error) => error.code(),
        }
    }

    fn fields(&self) -> Vec<FieldError> {
        match self {
            Self::Refused { fields, .. } => fields.clone(),
            Self::Filter(field) => vec![field.clone()],
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
