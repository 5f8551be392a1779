//! The embedded driver: a directory per channel on this machine.
//!
//! `<root>/ch_…/` belongs to one channel and nobody else may enter it (mode 0700).
//! `channel.json` in it says whose it is and what its size allows; what else is inside is the
//! engine's business. The marker is written last and a removal begins by renaming the directory,
//! so that a crash at any point leaves something that is recognised and finished by a repetition.

mod directory;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use headgate_types::channel::Direction;
use headgate_types::limits::Limits;
use headgate_types::{ChannelId, TenantId};
use serde::{Deserialize, Serialize};

use self::directory::Root;
use super::{Driver, DriverError, Ensured, Observed, Released, ResourceSpec};
use crate::failpoint::{NoFailpoints, SharedFailpoints};

/// The file that says whose a directory is; a directory without it is not whole.
pub const MARKER: &str = "channel.json";

/// The side effects of this driver, for crash tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// The directory was made.
    DirectoryMade,
    /// The marker was written under a temporary name.
    MarkerWritten,
    /// The marker has its name.
    MarkerNamed,
    /// The directory was renamed for removal.
    Renamed,
    /// The directory was removed.
    Removed,
}

impl Effect {
    /// Every effect, in order.
    pub const ALL: &'static [Self] =
        &[Self::DirectoryMade, Self::MarkerWritten, Self::MarkerNamed, Self::Renamed, Self::Removed];
}

/// What `channel.json` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The owner.
    pub tenant: TenantId,
    /// The channel.
    pub channel: ChannelId,
    /// Which way data moves.
    pub direction: Direction,
    /// Key of the channel profile.
    pub profile: String,
    /// Key of the performance profile.
    pub size: String,
    /// Revision of the profiles that the size was ordered at.
    pub revision: u32,
    /// What the size allows.
    pub limits: Limits,
}

/// Makes directories below a root. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EmbeddedDriver(Arc<Root>);

impl EmbeddedDriver {
    /// A driver that keeps channels below `root`, which is made when missing.
    ///
    /// # Errors
    /// When the root cannot be made or opened.
    pub fn open(root: &Path) -> Result<Self, DriverError> {
        Self::with_failpoints(root, NoFailpoints::shared())
    }

    /// The same with failpoints, for tests.
    ///
    /// # Errors
    /// As [`EmbeddedDriver::open`].
    pub fn with_failpoints(root: &Path, failpoints: SharedFailpoints) -> Result<Self, DriverError> {
        Ok(Self(Arc::new(Root::open(root, failpoints)?)))
    }

    /// The directory of a channel, whether or not it is there.
    #[must_use]
    pub fn directory(&self, channel: ChannelId) -> PathBuf {
        self.0.directory(channel)
    }

    /// Runs `work` where it may wait for the disk.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Root) -> Result<T, DriverError> + Send + 'static,
    ) -> Result<T, DriverError> {
        let root = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || work(&root))
            .await
            .map_err(|_| DriverError::retry("the driver was interrupted"))?
    }
}

#[async_trait]
impl Driver for EmbeddedDriver {
    fn name(&self) -> &'static str {
        "embedded"
    }

    async fn ensure(&self, spec: &ResourceSpec) -> Result<Ensured, DriverError> {
        let marker = Marker {
            tenant: spec.tenant,
            channel: spec.channel,
            direction: spec.direction,
            profile: spec.profile.clone(),
            size: spec.size.clone(),
            revision: spec.revision,
            limits: spec.limits.clone(),
        };
        self.blocking(move |root| root.ensure(&marker).map(Ensured::Ready)).await
    }

    async fn release(&self, tenant: TenantId, channel: ChannelId) -> Result<Released, DriverError> {
        self.blocking(move |root| root.release(tenant, channel)).await?;
        Ok(Released::Gone)
    }

    async fn observe(&self, tenant: TenantId, channel: ChannelId) -> Result<Observed, DriverError> {
        self.blocking(move |root| root.observe(tenant, channel)).await
    }

    async fn list(&self) -> Result<Vec<ChannelId>, DriverError> {
        self.blocking(Root::list).await
    }
}

#[cfg(test)]
mod tests;
