//! The embedded driver behind a script of failures.

use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use headgate_types::{ChannelId, TenantId};

use crate::driver::embedded::EmbeddedDriver;
use crate::driver::{Driver, DriverError, Ensured, Observed, Released, ResourceSpec};

/// Fails for ever.
pub(super) const FOR_EVER: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct ScriptedDriver {
    inner: EmbeddedDriver,
    /// The next calls of `ensure` that fail, after having done their work.
    pub ensure_fails: AtomicU32,
    /// The next calls of `release` that fail.
    pub release_fails: AtomicU32,
}

impl ScriptedDriver {
    pub(super) fn new(inner: EmbeddedDriver) -> Self {
        Self { inner, ensure_fails: AtomicU32::new(0), release_fails: AtomicU32::new(0) }
    }
}

fn fails(left: &AtomicU32) -> Result<(), DriverError> {
    match left.load(Ordering::SeqCst) {
        0 => return Ok(()),
        FOR_EVER => {}
        count => left.store(count - 1, Ordering::SeqCst),
    }
    Err(DriverError::retry("the disk is on fire"))
}

#[async_trait]
impl Driver for ScriptedDriver {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    async fn ensure(&self, spec: &ResourceSpec) -> Result<Ensured, DriverError> {
        // The worst kind of failure: something was made.
        let made = self.inner.ensure(spec).await?;
        fails(&self.ensure_fails)?;
        Ok(made)
    }

    async fn release(&self, tenant: TenantId, channel: ChannelId) -> Result<Released, DriverError> {
        fails(&self.release_fails)?;
        self.inner.release(tenant, channel).await
    }

    async fn observe(&self, tenant: TenantId, channel: ChannelId) -> Result<Observed, DriverError> {
        self.inner.observe(tenant, channel).await
    }

    async fn list(&self) -> Result<Vec<ChannelId>, DriverError> {
        self.inner.list().await
    }
}
