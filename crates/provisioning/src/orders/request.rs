//! What can be ordered for a channel that exists in the catalog.

use headgate_catalog::channels::{Channel, ChannelSpec};
use headgate_types::channel::{ChannelState, Direction};
use headgate_types::limits::Limits;
use serde::{Deserialize, Serialize};

use super::kind::OrderKind;
use crate::profiles::{Profiles, ProfilesError};

/// A size together with what it allowed when it was ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedSize {
    /// Key of the performance profile.
    pub size: String,
    /// Revision of the profiles it was priced with.
    pub revision: u32,
    /// What it allows.
    pub limits: Limits,
}

impl PinnedSize {
    /// Pins the present offer of a channel profile at a size, given by key or alias.
    ///
    /// # Errors
    /// When there is no such profile or size.
    pub fn of(profiles: &Profiles, direction: Direction, profile: &str, size: &str) -> Result<Self, ProfilesError> {
        let offer = profiles.offer(direction, profile, size)?;
        Ok(Self { size: offer.size.clone(), revision: profiles.revision, limits: offer.limits.clone() })
    }
}

impl PinnedSize {
    /// The size a channel has now.
    pub(crate) fn present(channel: &Channel) -> Self {
        Self { size: channel.size.clone(), revision: channel.profile_revision, limits: channel.limits.clone() }
    }
}

impl From<PinnedSize> for headgate_catalog::channels::PinnedSize {
    fn from(pinned: PinnedSize) -> Self {
        Self { size: pinned.size, profile_revision: pinned.revision, limits: pinned.limits }
    }
}

/// What a channel was when an order was placed: what a change that fails goes back to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Previous {
    /// Its state.
    pub state: ChannelState,
    /// Its name.
    pub name: String,
    /// Its size.
    pub size: PinnedSize,
    /// Its spec.
    pub spec: ChannelSpec,
}

impl Previous {
    pub(crate) fn of(channel: &Channel) -> Self {
        Self {
            state: channel.state,
            name: channel.name.clone(),
            size: PinnedSize::present(channel),
            spec: channel.spec.clone(),
        }
    }
}

/// What a change order changes; absent members stay as they are.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ChannelChange {
    /// The channel's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<PinnedSize>,
    /// Its whole spec: timing, quota, models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<ChannelSpec>,
}

/// What is asked for, checked by the caller against the engine and the profiles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "there is one per order, never many at once")]
pub enum OrderRequest {
    /// The channel is in the catalog in state PROVISIONING with its elements or scopes.
    Create,
    /// Apply this to the channel.
    Change(ChannelChange),
    /// Stop it.
    Pause,
    /// Start it again.
    Resume,
    /// Remove it.
    Delete,
    /// Issue new credentials.
    RotateCredentials {
        /// Seconds that the old ones stay valid.
        grace_seconds: u64,
    },
}

impl OrderRequest {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> OrderKind {
        match self {
            Self::Create => OrderKind::Create,
            Self::Change(_) => OrderKind::Change,
            Self::Pause => OrderKind::Pause,
            Self::Resume => OrderKind::Resume,
            Self::Delete => OrderKind::Delete,
            Self::RotateCredentials { .. } => OrderKind::RotateCredentials,
        }
    }
}
