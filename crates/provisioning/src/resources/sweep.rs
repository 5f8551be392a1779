//! Removes what is left over: resources that a driver could not remove in an order's time, and
//! things of a driver that no open channel has.

use std::time::Duration;

use headgate_catalog::CatalogError;
use headgate_catalog::channels;
use headgate_types::channel::ChannelState;
use headgate_types::{ChannelId, TenantId};
use tokio_util::sync::CancellationToken;

use super::{ResourceState, store};
use crate::announce;
use crate::driver::Released;
use crate::error::OrderError;
use crate::orders;
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
            removed += usize::from(self.release(row.tenant_id.into(), row.channel_id.into(), row.attempts).await?);
        }
        removed += self.remove_orphans().await?;
        self.worker.refresh_selections().await?;
        Ok(removed)
    }

    async fn release(&self, tenant: TenantId, channel: ChannelId, attempts: i64) -> Result<bool, WorkerError> {
        let parts = &self.worker.parts;
        let owner = format!("{}/sweep", parts.config.name);
        let mut tx = parts.control.platform().await?;
        tx.act_for(tenant).await?;
        let now = parts.clock.now();
        let until = now + delta(parts.config.act_deadline + parts.config.lease);
        // A delete order that works on the channel does the same; it goes first.
        let Some(lease) = lease::take(&mut tx, (tenant, channel), &owner, now, until).await? else {
            return Ok(false);
        };
        tx.commit().await?;

        let release = tokio::time::timeout(parts.config.act_deadline, parts.driver.release(tenant, channel));
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
    async fn remove_orphans(&self) -> Result<usize, WorkerError> {
        let parts = &self.worker.parts;
        let held = match parts.driver.list().await {
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
                removed += usize::from(self.release(tenant, channel, 0).await?);
            }
        }
        Ok(removed)
    }
}
