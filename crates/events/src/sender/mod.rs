//! Sends events to endpoints.
//!
//! Two steps, both found in the tables: *dispatch* puts new events of the log on their way to each
//! endpoint that wants them, *delivery* tries what is due. Each endpoint is served by a task of its
//! own, so a slow or dead one delays only itself.

mod attempt;
mod schedule;

use std::collections::HashSet;
use std::time::Duration;

use chrono::TimeDelta;
use headgate_types::{EndpointId, TenantId};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Events;
use crate::endpoints::store;
use crate::error::EventsError;
use crate::outbox;

crate::payloads! {
    /// An endpoint for events was disabled by the platform.
    pub EndpointDisabled {
        /// The endpoint.
        endpoint: EndpointId,
        /// Its address.
        url: String,
        /// Why.
        reason: String,
    }
}

/// Endpoints served at once.
const MAX_TASKS: usize = 64;
/// The floor under an announcement that was made in another process, and how late a retry can be.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long events are kept.
const KEEP: TimeDelta = TimeDelta::days(30);
const CLEAN_EVERY: TimeDelta = TimeDelta::hours(1);
const PAGE: u32 = 500;

/// Sends events to endpoints until it is told to stop.
#[derive(Debug, Clone)]
pub struct Sender {
    events: Events,
}

impl Sender {
    /// A sender of these events.
    #[must_use]
    pub const fn new(events: Events) -> Self {
        Self { events }
    }

    /// Works until `shutdown`; requests that are under way are finished first (15 seconds each).
    pub async fn run(self, shutdown: CancellationToken) {
        let mut news = self.events.news.subscribe();
        let mut tasks = JoinSet::new();
        let mut busy = HashSet::new();
        let mut next_cleaning = self.events.clock.now();
        while !shutdown.is_cancelled() {
            news.mark_unchanged();
            if let Err(error) = self.start(&mut tasks, &mut busy, &shutdown).await {
                tracing::warn!(%error, "failed to look for events to send");
            }
            if self.events.clock.now() >= next_cleaning {
                next_cleaning = self.events.clock.now() + CLEAN_EVERY;
                if let Err(error) = self.clean().await {
                    tracing::warn!(%error, "failed to remove old events");
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                Some(done) = tasks.join_next() => forget(&mut busy, done),
                _ = news.changed() => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
        while let Some(done) = tasks.join_next().await {
            forget(&mut busy, done);
        }
    }

    /// Dispatches, then tries everything that is due once; returns the number of tries.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn run_once(&self) -> Result<usize, EventsError> {
        self.dispatch().await?;
        let shutdown = CancellationToken::new();
        let due = self.due().await?;
        let turns = due.into_iter().map(|(tenant, id)| self.serve(tenant, id, &shutdown));
        let mut tries = 0;
        for done in futures::future::join_all(turns).await {
            tries += done?;
        }
        Ok(tries)
    }

    /// Removes events older than 30 days that have been sent or given up; returns how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn clean(&self) -> Result<u64, EventsError> {
        let before = self.events.clock.now() - KEEP;
        let tenants =
            outbox::store::tenants_with_old_events(&mut self.events.db.read_platform().await?, before).await?;
        let mut removed = 0;
        for tenant in tenants {
            let mut tx = self.events.db.platform().await?;
            tx.act_for(tenant).await?;
            removed += outbox::store::remove_old(&mut tx, tenant, before).await?;
            tx.commit().await?;
        }
        Ok(removed)
    }

    async fn start(
        &self,
        tasks: &mut JoinSet<(EndpointId, Result<usize, EventsError>)>,
        busy: &mut HashSet<EndpointId>,
        shutdown: &CancellationToken,
    ) -> Result<(), EventsError> {
        self.dispatch().await?;
        for (tenant, id) in self.due().await? {
            if tasks.len() >= MAX_TASKS {
                break;
            }
            if busy.insert(id) {
                let (sender, shutdown) = (self.clone(), shutdown.clone());
                tasks.spawn(async move { (id, sender.serve(tenant, id, &shutdown).await) });
            }
        }
        Ok(())
    }

    async fn due(&self) -> Result<Vec<(TenantId, EndpointId)>, EventsError> {
        let now = self.events.clock.now();
        Ok(store::with_due(&mut self.events.db.read_platform().await?, now).await?)
    }

    /// Puts new events of every log on their way.
    async fn dispatch(&self) -> Result<(), EventsError> {
        let behind = store::to_dispatch(&mut self.events.db.read_platform().await?).await?;
        for (tenant, id) in behind {
            while self.dispatch_page(tenant, id).await? {}
        }
        Ok(())
    }

    /// Whether there may be more.
    async fn dispatch_page(&self, tenant: TenantId, id: EndpointId) -> Result<bool, EventsError> {
        let mut tx = self.events.db.platform().await?;
        tx.act_for(tenant).await?;
        let Some(endpoint) = store::find(&mut tx, tenant, id).await?.filter(store::EndpointRow::is_active) else {
            return Ok(false);
        };
        let after = endpoint.dispatched_to.unsigned_abs();
        let page = outbox::store::after(&mut tx, tenant, after, PAGE, &[]).await?;
        let Some(last) = page.last() else { return Ok(false) };
        // First, because it decides between two senders: the other waits here and then finds that
        // the place has moved.
        if !store::set_dispatched(&mut tx, tenant, id, endpoint.dispatched_to, last.sequence).await? {
            return Ok(false);
        }
        for event in page.iter().filter(|event| endpoint.wants(event)) {
            store::put_on_its_way(&mut tx, tenant, id, event, false, self.events.clock.now()).await?;
        }
        tx.commit().await?;
        headgate_types::reach(headgate_types::Failpoint::EventDispatched);
        Ok(true)
    }
}

fn forget(
    busy: &mut HashSet<EndpointId>,
    done: Result<(EndpointId, Result<usize, EventsError>), tokio::task::JoinError>,
) {
    match done {
        Ok((id, result)) => {
            busy.remove(&id);
            if let Err(error) = result {
                tracing::warn!(endpoint = %id, %error, "failed to send events");
            }
        }
        // Which endpoint it was is lost with the task; the others are found again by their tasks.
        Err(error) => {
            tracing::error!(%error, "a task that sends events ended unexpectedly");
            busy.clear();
        }
    }
}
