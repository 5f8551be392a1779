//! Why an order, or something about one, is refused.

use headgate_access::AccessError;
use headgate_catalog::CatalogError;
use headgate_database::DbError;
use headgate_events::EventsError;
use headgate_types::channel::ChannelState;
use headgate_types::{Coded, ErrorKind, FieldError, OrderId};

use crate::orders::{OrderKind, OrderState};
use crate::profiles::ProfilesError;

/// A failure of this crate.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// There is no such order for this tenant.
    #[error("there is no such order")]
    NotFound,
    /// There is no such channel for this tenant.
    #[error("there is no such channel")]
    ChannelNotFound,
    /// Another order that changes the channel is open.
    #[error("{kind} order {order} of the channel is not finished")]
    Busy {
        /// The order in the way.
        order: OrderId,
        /// Its kind.
        kind: OrderKind,
    },
    /// The channel's state does not allow the order.
    #[error("a channel in state {state} does not take a {kind} order")]
    ChannelState {
        /// The kind asked for.
        kind: OrderKind,
        /// The channel's state.
        state: ChannelState,
    },
    /// The order is over.
    #[error("the order ended {0}")]
    Finished(OrderState),
    /// The order is past the point where it could be withdrawn.
    #[error("the {0} order can no longer be cancelled")]
    NotCancellable(OrderKind),
    /// A choice from the profiles is not offered.
    #[error(transparent)]
    Profiles(#[from] ProfilesError),
    /// A row cannot be understood.
    #[error("an order is damaged: {0}")]
    Corrupt(String),
    /// The catalog refused.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Access refused.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The outbox refused.
    #[error(transparent)]
    Events(#[from] EventsError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl Coded for OrderError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound | Self::ChannelNotFound => ErrorKind::NotFound,
            Self::Busy { .. } | Self::ChannelState { .. } | Self::Finished(_) | Self::NotCancellable(_) => {
                ErrorKind::Conflict
            }
            Self::Corrupt(_) => ErrorKind::Internal,
            Self::Profiles(error) => error.kind(),
            Self::Catalog(error) => error.kind(),
            Self::Access(error) => error.kind(),
            Self::Events(error) => error.kind(),
            Self::Database(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound | Self::ChannelNotFound => "not_found",
            Self::Busy { .. } => "order_in_progress",
            Self::ChannelState { .. } => "channel_state",
            Self::Finished(_) => "order_finished",
            Self::NotCancellable(_) => "order_not_cancellable",
            Self::Corrupt(_) => "internal",
            Self::Profiles(error) => error.code(),
            Self::Catalog(error) => error.code(),
            Self::Access(error) => error.code(),
            Self::Events(error) => error.code(),
            Self::Database(error) => error.code(),
        }
    }

    fn fields(&self) -> Vec<FieldError> {
        match self {
            Self::Profiles(error) => error.fields(),
            Self::Catalog(error) => error.fields(),
            Self::Access(error) => error.fields(),
            Self::Events(error) => error.fields(),
            _ => Vec::new(),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Busy { .. } => Some(5),
            Self::Database(error) => error.retry_after(),
            _ => None,
        }
    }
}
