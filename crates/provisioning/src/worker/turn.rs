//! One turn: lease, prepare, act, settle, save.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use headgate_catalog::channels::{self, Channel};
use headgate_catalog::subscriptions;
use headgate_database::Tx;
use headgate_types::OrderId;

use super::lease::{self, Lease};
use super::{Turned, Worker, WorkerError};
use crate::driver::Driver;
use crate::error::OrderError;
use crate::failpoint::{Failpoint, Moment};
use crate::orders::store::{self, Due};
use crate::orders::{Order, Previous, StepName};
use crate::resources::store as resources;
use crate::steps::{Acted, StepFailure};

/// Orders looked at before a turn gives up finding one that nobody else took.
const CANDIDATES: u32 = 16;

/// One step of one order, under a lease.
#[derive(Debug)]
pub(crate) struct Turn {
    pub lease: Lease,
    pub order: Order,
    pub channel: Channel,
    pub step: StepName,
    /// Failed attempts of the step so far.
    pub attempts: i64,
    /// When the step was taken up first.
    pub began: DateTime<Utc>,
    /// Whether this is that time.
    pub fresh: bool,
    /// What the channel was before a change order.
    pub previous: Option<Previous>,
    /// The driver in charge; by its name only when this process has no such driver.
    driver: Result<Arc<dyn Driver>, String>,
}

impl Turn {
    /// The driver that made the channel's resource, or shall make it.
    pub(crate) fn driver(&self) -> Result<&Arc<dyn Driver>, StepFailure> {
        let missing = |name: &String| StepFailure::retry(format!("no worker has the driver {name} at present"));
        self.driver.as_ref().map_err(missing)
    }

    /// Its name.
    pub(crate) fn driver_name(&self) -> &str {
        self.driver.as_ref().map_or_else(String::as_str, |driver| driver.name())
    }
}

impl Worker {
    pub(super) async fn turn(&self, owner: &str) -> Result<Turned, WorkerError> {
        let due = {
            let mut tx = self.parts.control.read_platform().await?;
            store::due(&mut tx, self.parts.clock.now(), CANDIDATES).await?
        };
        for candidate in due {
            if let Some(turn) = self.claim(owner, &candidate).await? {
                self.take(turn).await?;
                return Ok(Turned::Worked);
            }
        }
        Ok(Turned::Idle)
    }

    /// Takes the lease of the order's channel and writes down what the step is about to do.
    async fn claim(&self, owner: &str, due: &Due) -> Result<Option<Turn>, WorkerError> {
        let now = self.parts.clock.now();
        let (tenant, channel, id) = (due.tenant_id.into(), due.channel_id.into(), OrderId::from(due.id));
        let mut tx = self.parts.control.platform().await?;
        tx.act_for(tenant).await?;
        let until = now + delta(self.parts.config.lease);
        let Some(lease) = lease::take(&mut tx, (tenant, channel), owner, now, until).await? else {
            return Ok(None);
        };
        // Another worker may have taken the step between the look and the lease.
        let Some(row) = store::get(&mut tx, tenant, id).await? else { return Ok(None) };
        let order = row.order()?;
        let Some(step) = order.step.filter(|_| !order.state.is_final() && row.run_at <= now) else {
            return Ok(None);
        };
        let channel = channels::get(&mut tx, tenant, channel).await.map_err(OrderError::from)?;
        let drivers = &self.parts.drivers;
        let driver = match resources::driver(&mut tx, tenant, channel.id).await? {
            Some(name) => drivers.named(&name).cloned().ok_or(name),
            None => Ok(Arc::clone(drivers.for_profile(&channel.profile))),
        };
        let mut turn = Turn {
            driver,
            lease,
            order,
            channel,
            step,
            attempts: row.attempts,
            began: row.step_started_at.unwrap_or(now),
            fresh: row.step_started_at.is_none(),
            previous: row.previous()?,
        };
        if !self.begin(&mut tx, &mut turn).await? {
            return Ok(None);
        }
        self.prepare(&mut tx, &turn).await?;
        tx.commit().await?;
        Ok(Some(turn))
    }

    /// Acts and saves. The lease ends with the save, or by itself when there is none.
    async fn take(&self, mut turn: Turn) -> Result<(), WorkerError> {
        let phase = turn.order.phase;
        let reach = |moment| self.failpoints.reach(Failpoint::Step(phase, turn.step, moment));
        reach(Moment::Claimed)?;
        let acted = self.act_under_lease(&turn).await;
        if let Err(StepFailure::Killed(killed)) = acted {
            return Err(killed.into());
        }
        reach(Moment::Acted)?;

        let mut tx = self.reopen(&turn.lease).await?;
        store::lock(&mut tx, turn.order.tenant, turn.order.id).await?;
        let settled = match acted {
            Ok(acted) => self.settle(&mut tx, &mut turn, acted).await,
            Err(failure) => Err(failure),
        };
        let recorded = match settled {
            Ok(outcome) => self.record(&mut tx, &mut turn, outcome).await?,
            Err(failure) => {
                // What the step wrote before it failed must not stay.
                drop(tx);
                tx = self.reopen(&turn.lease).await?;
                store::lock(&mut tx, turn.order.tenant, turn.order.id).await?;
                self.record_failure(&mut tx, &mut turn, failure).await?
            }
        };
        if !recorded {
            // Cancelled or superseded meanwhile: nothing of this step counts. What it made in the
            // world is found by the order's undoing, or by the delete order.
            drop(tx);
            tx = self.reopen(&turn.lease).await?;
        }
        self.failpoints.reach(Failpoint::Step(phase, turn.step, Moment::Settled))?;
        lease::hold(&mut tx, &turn.lease, self.parts.clock.now()).await?;
        tx.commit().await?;
        self.failpoints.reach(Failpoint::Step(phase, turn.step, Moment::Saved))?;
        if recorded && turn.order.state.is_final() {
            let (order, channel, kind) = (turn.order.id, turn.order.channel, turn.order.kind());
            tracing::info!(%order, %channel, %kind, state = %turn.order.state, "an order is over");
        }
        if matches!(turn.step, StepName::Credentials | StepName::Rotate | StepName::Revoke) {
            // What was read between the step's own look and its commit is a key of yesterday.
            self.parts.access.forget();
        }
        if turn.step == StepName::Publish {
            self.refresh_selections().await?;
        }
        self.parts.events.announce();
        // Only wakes: an engine that cannot be reached finds the rows by itself.
        if let Err(error) = self.parts.engine.wake().await {
            tracing::debug!(%error, "the engine could not be woken");
        }
        Ok(())
    }

    /// A transaction for the owner of a lease that is still held.
    async fn reopen(&self, lease: &Lease) -> Result<Tx, WorkerError> {
        let mut tx = self.parts.control.platform().await?;
        tx.act_for(lease.tenant).await?;
        let until = self.parts.clock.now() + delta(self.parts.config.lease);
        if lease::hold(&mut tx, lease, until).await? {
            return Ok(tx);
        }
        Err(WorkerError::LeaseLost)
    }

    /// Acts while the lease is renewed, for as long as the driver may take.
    async fn act_under_lease(&self, turn: &Turn) -> Result<Acted, StepFailure> {
        let act = tokio::time::timeout(self.parts.config.act_deadline, self.act(turn));
        tokio::pin!(act);
        let mut renewal = tokio::time::interval(self.parts.config.lease / 3);
        renewal.tick().await;
        loop {
            tokio::select! {
                acted = &mut act => {
                    return acted.unwrap_or_else(|_| Err(StepFailure::retry("the driver did not answer in time")));
                }
                _ = renewal.tick() => {
                    // A renewal that fails shows at the next save, which is refused without a lease.
                    if let Err(error) = self.renew(&turn.lease).await {
                        tracing::warn!(%error, channel = %turn.lease.channel, "failed to renew the lease of a channel");
                    }
                }
            }
        }
    }

    /// Lets channels that select by node or facet follow the catalog. What a crash keeps from being
    /// done here stays noted in the catalog, and the sweep does it.
    pub(crate) async fn refresh_selections(&self) -> Result<(), WorkerError> {
        let (control, now) = (&self.parts.control, self.parts.clock.now());
        subscriptions::refresh_selections(control, now).await.map_err(OrderError::from)?;
        Ok(())
    }

    async fn renew(&self, lease: &Lease) -> Result<(), WorkerError> {
        Ok(self.reopen(lease).await?.commit().await?)
    }
}

/// A wait as a span of the clock's time.
pub(crate) fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}
