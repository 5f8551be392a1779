//! Removes what is left over: resources that a driver could not remove in an order's time, and
//! things of a driver that no open channel has.

use std::collections::BTreeSet;
use std::time::Duration;

use headgate_catalog::CatalogError;
use headgate_catalog::channels;
use headgate_types::channel::ChannelState;
use headgate_types::{ChannelId, TenantId};
use tokio_util::sync::CancellationToken;

use super::{ResourceState, store};
use crate::announce;
use crate::driver::{Driver, DriverError, Released};
use crate::error::OrderError;
use crate::orders;
use crate::worker::lease::Lease;
use crate::worker::turn::delta;
use crate::worker::{Worker, WorkerError, lease};

/// Left-over resources tried in one round.
const BATCH: u32 = 64;
/// How long the driver gets before the same resource is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(60);
const TRY_AGAIN_CAP: Duration = Duration::from_secs(3_600);

/// The sweep, with a worker's parts. It looks only at what is there and takes no input.
#[derive(Debug, Clone)]
pub struct Sweep {
    worker: Worker,
}

impl Sweep {
    /// A sweep beside a worker.
    #[must_use]
    pub fn new(worker: Worker) -> Self {
        Self { worker }
    }

    /// Sweeps every `every` until `shutdown`.
    pub async fn run(&self, every: Duration, shutdown: CancellationToken) {
        loop {
            match self.run_once().await {
                Ok(0) => {}
                Ok(removed) => tracing::info!(removed, "left-over resources were removed"),
                Err(error) => tracing::error!(%error, "failed to sweep; it is tried again"),
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
        }
    }

    /// One round: what is due among the left-overs, then what no row lists; selections that a crash
    /// kept from following the catalog are brought up to date. Returns how many resources are gone.
    ///
    /// # Errors
    /// When the database fails. A driver that fails is noted on the resource and tried later.
    pub async fn run_once(&self) -> Result<usize, WorkerError> {
        let parts = &self.worker.parts;
        let due = {
            let mut tx = parts.control.read_platform().await?;
            store::left_over(&mut tx, parts.clock.now(), BATCH).await?
        };
        let mut removed = 0;
        for row in due {
            let (tenant, channel) = (row.tenant_id.into(), row.channel_id.into());
            removed += usize::from(self.release(tenant, channel, row.attempts, None).await?);
        }
        for driver in parts.drivers.all() {
            removed += self.remove_orphans(driver.as_ref()).await?;
        }
        if parts.drivers.all().any(|driver| driver.admits_clients()) {
            self.settle_keys().await?;
        }
        self.worker.refresh_selections().await?;
        Ok(removed)
    }

    /// The lease of a channel, and its driver by the name in its row; None while an order works on the
    /// channel, or when no driver of this process made its resource.
    async fn hold(&self, tenant: TenantId, channel: ChannelId) -> Result<Option<(Lease, Option<String>)>, WorkerError> {
        let parts = &self.worker.parts;
        let owner = format!("{}/sweep", parts.config.name);
        let mut tx = parts.control.platform().await?;
        tx.act_for(tenant).await?;
        let now = parts.clock.now();
        let until = now + delta(parts.config.act_deadline + parts.config.lease);
        let Some(lease) = lease::take(&mut tx, (tenant, channel), &owner, now, until).await? else {
            return Ok(None);
        };
        let driver = store::driver(&mut tx, tenant, channel).await?;
        tx.commit().await?;
        Ok(Some((lease, driver)))
    }

    /// Releases by the driver that the resource's row names, or by the one that found it.
    async fn release(
        &self,
        tenant: TenantId,
        channel: ChannelId,
        attempts: i64,
        found_by: Option<&dyn Driver>,
    ) -> Result<bool, WorkerError> {
        let parts = &self.worker.parts;
        // A delete order that works on the channel does the same; it goes first.
        let Some((lease, name)) = self.hold(tenant, channel).await? else { return Ok(false) };
        let named = name.as_deref().and_then(|name| parts.drivers.named(name)).map(AsRef::as_ref);
        let release = async {
            match found_by.or(named) {
                Some(driver) => driver.release(tenant, channel).await,
                None => Err(DriverError::retry("this process has no driver of that name")),
            }
        };
        let release = tokio::time::timeout(parts.config.act_deadline, release);
        let outcome = match release.await {
            Ok(Ok(Released::Gone)) => Ok(()),
            Ok(Ok(Released::Pending { message, .. })) => Err(message),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the driver did not answer in time".to_owned()),
        };

        let mut tx = parts.control.platform().await?;
        tx.act_for(tenant).await?;
        let now = parts.clock.now();
        if !lease::hold(&mut tx, &lease, now).await? {
            return Ok(false);
        }
        match &outcome {
            Ok(()) => {
                store::set(&mut tx, (tenant, channel), ResourceState::Gone, None, None, now).await?;
                self.bury(&mut tx, tenant, channel).await?;
            }
            Err(message) => {
                let doublings = u32::try_from(attempts.clamp(0, 10)).unwrap_or_default();
                let wait = TRY_AGAIN.saturating_mul(1 << doublings).min(TRY_AGAIN_CAP);
                store::failed_again(&mut tx, (tenant, channel), message, now + delta(wait), now).await?;
            }
        }
        tx.commit().await?;
        Ok(outcome.is_ok())
    }

    /// A channel whose delete order failed for what was left over is DELETED once it is gone.
    async fn bury(
        &self,
        tx: &mut headgate_database::Tx,
        tenant: TenantId,
        channel: ChannelId,
    ) -> Result<(), WorkerError> {
        let clock = &self.worker.parts.clock;
        let channel = match channels::get(tx, tenant, channel).await {
            Err(CatalogError::NotFound(_)) => return Ok(()),
            other => other.map_err(OrderError::from)?,
        };
        let busy = !orders::store::open_of(tx, tenant, channel.id).await?.is_empty();
        if channel.state != ChannelState::Deleting || busy {
            return Ok(());
        }
        let filter = orders::OrderFilter {
            channel: Some(channel.id),
            kind: Some(orders::OrderKind::Delete),
            ..orders::OrderFilter::default()
        };
        let Some(order) = orders::list(tx, tenant, &filter, 1).await?.pop() else { return Ok(()) };
        let deleting = [ChannelState::Deleting];
        channels::transition(tx, tenant, channel.id, &deleting, ChannelState::Deleted, None, clock.now())
            .await
            .map_err(OrderError::from)?;
        announce::channel_deleted(tx, clock, &order, &channel).await?;
        Ok(())
    }

    /// What the driver holds for channels that are over and that no row lists as left over: a
    /// worker that was away for longer than its lease can leave such a thing behind.
    async fn remove_orphans(&self, driver: &dyn Driver) -> Result<usize, WorkerError> {
        let parts = &self.worker.parts;
        let held = match driver.list().await {
            Ok(held) => held,
            Err(error) => {
                tracing::warn!(%error, "the driver could not list what it holds");
                return Ok(0);
            }
        };
        let mut removed = 0;
        for channel in held {
            let owner = {
                let mut tx = parts.control.read_platform().await?;
                let found = channels::find(&mut tx, channel).await.map_err(OrderError::from)?;
                // A channel that no row knows is another installation's: not ours to remove.
                match found.filter(|channel| channel.state.is_final()) {
                    Some(over) if !store::is_left_over(&mut tx, over.tenant, over.id).await? => Some(over.tenant),
                    _ => None,
                }
            };
            if let Some(tenant) = owner {
                tracing::warn!(%channel, "a resource of a channel that is over is removed");
                removed += usize::from(self.release(tenant, channel, 0, Some(driver)).await?);
            }
        }
        Ok(removed)
    }

    /// Ends keys at a cloud whose grace period is over, and those that a worker made and died before
    /// it could write them down.
    async fn settle_keys(&self) -> Result<(), WorkerError> {
        let parts = &self.worker.parts;
        let mut channels: BTreeSet<(TenantId, ChannelId)> = {
            let mut tx = parts.control.read_platform().await?;
            let overdue = parts.access.overdue_access_keys(&mut tx, BATCH).await.map_err(OrderError::from)?;
            let unsettled = store::unsettled(&mut tx, BATCH).await?;
            let unsettled = unsettled.into_iter().map(|row| (row.tenant_id.into(), row.channel_id.into()));
            overdue.into_iter().chain(unsettled).collect()
        };
        while let Some((tenant, channel)) = channels.pop_first() {
            self.settle_keys_of(tenant, channel).await?;
        }
        Ok(())
    }

    async fn settle_keys_of(&self, tenant: TenantId, channel: ChannelId) -> Result<(), WorkerError> {
        let parts = &self.worker.parts;
        let Some((lease, name)) = self.hold(tenant, channel).await? else { return Ok(()) };
        let at = parts.clock.now();
        let keep = {
            let mut tx = parts.control.read_tenant(tenant).await?;
            parts.access.access_keys(&mut tx, tenant, channel).await.map_err(OrderError::from)?.good()
        };
        let ended = match name.as_deref().map(|name| parts.drivers.named(name)) {
            // Without a resource there is nobody whose keys they could be.
            None => true,
            Some(None) => false,
            Some(Some(driver)) => {
                let end = tokio::time::timeout(parts.config.act_deadline, driver.end_keys(tenant, channel, &keep));
                match end.await {
                    Ok(Ok(())) => true,
                    Ok(Err(error)) => {
                        tracing::warn!(%error, %channel, "failed to end keys of a channel; it is tried again");
                        false
                    }
                    Err(_) => false,
                }
            }
        };
        let mut tx = parts.control.platform().await?;
        tx.act_for(tenant).await?;
        if !lease::hold(&mut tx, &lease, parts.clock.now()).await? {
            return Ok(());
        }
        if ended {
            parts.access.access_keys_ended(&mut tx, tenant, channel, at).await.map_err(OrderError::from)?;
            store::admitting(&mut tx, tenant, channel, None).await?;
        }
        Ok(tx.commit().await?)
    }
}
