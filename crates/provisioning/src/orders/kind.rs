//! The kinds of orders.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The kinds of orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderKind {
    /// Makes a new channel.
    Create,
    /// Gives a channel another size, name, timing or quota.
    Change,
    /// Stops a channel until it is resumed.
    Pause,
    /// Starts a paused channel.
    Resume,
    /// Removes a channel with everything in it.
    Delete,
    /// Issues a new credential beside the old one, which ends after a grace period.
    RotateCredentials,
}

impl OrderKind {
    /// Every kind, in order.
    pub const ALL: [Self; 6] =
        [Self::Create, Self::Change, Self::Pause, Self::Resume, Self::Delete, Self::RotateCredentials];

    /// The word in tables and documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Change => "change",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Delete => "delete",
            Self::RotateCredentials => "rotate_credentials",
        }
    }

    /// The kind with that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Whether the order changes what the channel shall be. Only one such order is open per
    /// channel; the others run beside it.
    #[must_use]
    pub const fn is_exclusive(self) -> bool {
        !matches!(self, Self::RotateCredentials)
    }
}

impl fmt::Display for OrderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
