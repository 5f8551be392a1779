//! Channels that nothing happens to: of each only what has it called for is in memory.
//!
//! A channel rests once nothing was delivered or read for
//! [`Surroundings::rest_after`](super::Surroundings), all that is observed of it is written, and
//! nothing of it is open. Its task ends and its resource is closed. It is started again when the router finds
//! records for it, when somebody reads, when its row changes, when its resource is due, and when the log has gone so
//! far that its place in it has to be written down.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use headgate_catalog::channels::ChannelHead;
use headgate_lake::Log;
use headgate_types::channel::Lane;
use headgate_types::{ChannelId, ElementId};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::observed::{FlowView, Observed};
use super::wanted::Mode;
use super::{Running, Runtime};
use crate::delivery::{EMPTY_RANGE, Route, Router, store};
use crate::error::EngineFault;

/// Channels that come to rest in one pass: each takes the time to close its resource.
const MOST_AT_ONCE: usize = 256;
/// How often it is looked for channels that have rested enough.
const LOOK: Duration = Duration::from_secs(10);

/// A channel at rest.
#[derive(Debug)]
pub struct Rested {
    /// The row it came to rest with.
    pub head: ChannelHead,
    stored_bytes: u64,
    due: Option<DateTime<Utc>>,
    flows: Box<[RestedFlow]>,
}

#[derive(Debug)]
struct RestedFlow {
    /// Has commits matched with the flow's plan still.
    route: Route,
    /// Everything through here was looked at.
    through: u64,
    /// Whether the grant withholds something.
    withholds: bool,
}

impl RestedFlow {
    fn element(&self) -> ElementId {
        self.route.element()
    }
}

impl Rested {
    /// What remains of a channel; `None` while it is not at rest, or not all of it is written.
    fn of(running: &Running, router: &Router) -> Option<Self> {
        let observed = running.observed.lock();
        let resting = observed.resting?;
        let wanted = running.wanted.borrow();
        let told = observed.conditions() == running.written && observed.restored.is_none() && !observed.degraded;
        // What the task has not taken up yet may have it mount the channel again once it is unmounted.
        let taken_up = resting.version == wanted.version && wanted.version == running.head.version;
        if !told || observed.drained || wanted.mode != Mode::Run || !taken_up {
            return None;
        }
        let flows = observed.idle_at.as_ref()?.iter().map(|looked| {
            // A flow that looks at every commit by itself is not called for.
            looked.following.as_ref()?;
            let scope = wanted.scopes.iter().find(|scope| scope.output.element == looked.element)?;
            let (through, withholds) = (looked.through, scope.withholds);
            Some(RestedFlow { route: router.follow(&scope.plan)?, through, withholds })
        });
        Some(Self {
            head: running.head,
            stored_bytes: observed.stored_bytes,
            due: resting.due,
            flows: flows.collect::<Option<_>>()?,
        })
    }

    /// Whether nothing in the log concerns the channel.
    pub fn is_current(&self, log: &Log) -> bool {
        let current =
            |flow: &RestedFlow| flow.route.following().clear_through(flow.through) >= log.head(flow.element());
        self.flows.iter().all(current)
    }

    fn has_rested_enough(&self, log: &Log, now: DateTime<Utc>) -> bool {
        let far = |flow: &RestedFlow| log.head(flow.element()).saturating_sub(flow.through) >= EMPTY_RANGE;
        self.due.is_some_and(|due| due <= now) || self.flows.iter().any(far)
    }
}

impl Runtime {
    /// Channels at rest.
    #[cfg(test)]
    pub fn resting(&self) -> usize {
        self.resting.lock().len()
    }

    /// Starts channels that are called for, until `next`. `true`: it is time for a pass.
    pub(super) async fn called_until(&self, next: Instant, shutdown: &CancellationToken) -> bool {
        let (router, readers) = (self.surroundings.context.router.calls(), self.surroundings.served.calls());
        let called: HashSet<ChannelId> = router.take().into_iter().chain(readers.take()).collect();
        for channel in called {
            self.start(channel).await;
        }
        let left = next.saturating_duration_since(Instant::now());
        tokio::select! {
            () = shutdown.cancelled() => true,
            () = self.surroundings.changed.wait(left) => true,
            () = router.wait(left) => Instant::now() >= next,
            () = readers.wait(left) => Instant::now() >= next,
        }
    }

    /// Starts a channel that rests.
    async fn start(&self, channel: ChannelId) {
        let Some(head) = self.resting.lock().get(&channel).map(|rested| rested.head) else { return };
        if let Err(error) = self.begin(head).await {
            tracing::warn!(%channel, %error, "failed to start a channel that rested; will retry");
            self.followed.forget();
        }
    }

    /// Forgets that a channel rests.
    pub(super) fn let_go(&self, channel: ChannelId) -> Option<Rested> {
        let rested = self.resting.lock().remove(&channel)?;
        for flow in &rested.flows {
            flow.route.following().let_rest(channel);
        }
        Some(rested)
    }

    /// Has channels rest that can, and starts those that have rested enough.
    pub(super) async fn rest(&self) {
        let router = &self.surroundings.context.router;
        let candidates: Vec<(ChannelId, Rested)> = {
            let mut running = self.running.lock();
            let all = running.iter_mut().filter_map(|(id, running)| {
                if running.observed.lock().serving.is_some() {
                    running.rested = None;
                }
                Some((*id, Rested::of(running, router)?))
            });
            all.take(MOST_AT_ONCE).collect()
        };
        if candidates.len() == MOST_AT_ONCE {
            self.surroundings.changed.wake();
        }
        if !candidates.is_empty() {
            for (channel, rested) in candidates {
                self.put_to_rest(channel, rested).await;
            }
            // Room for all that ever ran at once would be most of what those at rest cost.
            self.running.lock().shrink_to_fit();
        }
        let (lake, clock) = (&self.surroundings.context.lake, &self.surroundings.context.clock);
        if self.rest_looked.lock().elapsed() >= LOOK {
            *self.rest_looked.lock() = Instant::now();
            let now = clock.now();
            let enough: Vec<ChannelId> = {
                let resting = self.resting.lock();
                resting.iter().filter(|(_, it)| it.has_rested_enough(lake.log(), now)).map(|(id, _)| *id).collect()
            };
            for channel in enough {
                self.start(channel).await;
            }
        }
        metrics::gauge!("headgate_channels_resting").set(self.resting.lock().len() as f64);
        metrics::gauge!("headgate_channels_running").set(self.running.lock().len() as f64);
    }

    async fn put_to_rest(&self, channel: ChannelId, rested: Rested) {
        if !self.surroundings.served.rest(channel, self.surroundings.rest_after) {
            return;
        }
        let observed = self.running.lock().get(&channel).map(|running| Arc::clone(&running.observed));
        self.end(&[channel]).await;
        let head = rested.head;
        if observed.is_none_or(|observed| observed.lock().resting.is_none()) {
            // It had begun to work meanwhile, and may have usage to be cut.
            if let Err(error) = self.begin(head).await {
                tracing::warn!(%channel, %error, "failed to start a channel again; will retry");
                self.followed.forget();
            }
            return;
        }
        let looked: Vec<_> =
            rested.flows.iter().map(|flow| (Arc::clone(flow.route.following()), flow.through)).collect();
        self.resting.lock().insert(channel, rested);
        // Now that a call finds it.
        for (following, through) in looked {
            following.call_for(channel, through);
        }
    }

    /// What is known of a channel at rest, its books, and the elements of which no grant withholds anything.
    pub(super) async fn observed_at_rest(
        &self,
        channel: ChannelId,
    ) -> Result<Option<(Observed, HashSet<ElementId>)>, EngineFault> {
        if !self.resting.lock().contains_key(&channel) {
            return Ok(None);
        }
        let mut tx = self.surroundings.context.data.read_platform().await?;
        let rows = store::of_channel(&mut tx, channel).await?;
        drop(tx);
        let resting = self.resting.lock();
        let Some(rested) = resting.get(&channel) else { return Ok(None) };
        let flows = rows.into_iter().map(|row| {
            let flow = rested.flows.iter().find(|flow| row.key.lane == Lane::Live && flow.element() == row.key.element);
            let following = flow.map(|flow| Arc::clone(flow.route.following()));
            let done = flow.map_or(row.booked, |flow| flow.through);
            FlowView { row, done, following, behind_since: None }
        });
        let stored_bytes = rested.stored_bytes;
        let observed = Observed { stored_bytes, flows: flows.collect(), ..Observed::default() };
        let open = rested.flows.iter().filter(|flow| !flow.withholds).map(RestedFlow::element).collect();
        Ok(Some((observed, open)))
    }
}
