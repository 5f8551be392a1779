//! The task of one data-out channel: opens its resource, drives its worker, and follows what is
//! wanted of it.

mod opening;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures::future::select_all;
use headgate_access::outbound::GuardedClient;
use headgate_database::Signal;
use headgate_types::timing::Timing;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::observed::{self, FlowView, Halt, Resting, SharedObserved, halt};
use super::wanted::{Mode, Wanted};
use crate::cloud::Cloud;
use crate::delivery::{Context, DeliveryError, EMPTY_RANGE, Looked, Throttle, Turn, Waiting, Worker, store};
use crate::technology::{Reads, Rest, Secrets, Served, ServedChannels, Sink};

/// Looks again this often even when nobody woke it.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// As long as nothing was delivered for [`LOOK_AGAIN`] and no usage is open: what there is to do then
/// announces itself.
const QUIET: Duration = Duration::from_secs(60);
/// No look is followed by another sooner, unless something happened.
const LEAST: Duration = Duration::from_millis(20);
/// While something collected waits to be published.
const COLLECTING: Duration = Duration::from_secs(1);
/// After a failed opening.
const REOPEN: Duration = Duration::from_secs(2);
/// How often the size of the resource is measured.
const MEASURE: Duration = Duration::from_secs(5);

/// What every channel task works with.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// What its worker works with.
    pub context: Context,
    /// Where its reads are mounted.
    pub served: ServedChannels,
    /// Secrets of channels.
    pub secrets: Arc<dyn Secrets>,
    /// The client for addresses that tenants name.
    pub outbound: GuardedClient,
    /// Sessions with the cloud that holds channels.
    pub cloud: Cloud,
    /// The data listener's address, without a trailing slash.
    pub public_url: String,
    /// Wakes the reconciler: something observed changed.
    pub changed: Signal,
    /// Counts the times that open usage was asked to be cut.
    pub cuts: watch::Receiver<u64>,
    /// How long nothing happens to a channel before it rests.
    pub rest_after: Duration,
}

/// One channel's task.
#[derive(Debug)]
pub struct ChannelTask {
    surroundings: Surroundings,
    wanted: watch::Receiver<Arc<Wanted>>,
    newest: Arc<AtomicU64>,
    observed: SharedObserved,
    open: Option<Open>,
    measured: Option<Instant>,
    reads: Arc<Reads>,
    /// What was left of its rate when it was closed last.
    throttle: Option<Throttle>,
    /// How far the flows have looked; empty when news of the logs are of no use.
    looked: Vec<Looked>,
    /// When something was delivered last, or the channel opened.
    moved: Instant,
    /// Where the logs of the flows ended at the first look after that.
    moved_at: Vec<u64>,
    cut: u64,
    /// Whether more may have been sent than the books tell: a process before this one, or the channel as it
    /// was open last, may have ended in between.
    unsure: bool,
}

#[derive(Debug)]
struct Open {
    /// As it was when the resource was opened.
    wanted: Arc<Wanted>,
    sink: Arc<dyn Sink>,
    /// Serves its reads, if it has any.
    served: Option<Served>,
    worker: Worker,
}

impl ChannelTask {
    /// A task that has not opened anything yet. `rested`: the channel comes from its rest, and all that was
    /// sent is in the books.
    #[must_use]
    pub fn new(
        surroundings: Surroundings,
        wanted: watch::Receiver<Arc<Wanted>>,
        newest: Arc<AtomicU64>,
        observed: SharedObserved,
        rested: bool,
    ) -> Self {
        Self {
            surroundings,
            wanted,
            newest,
            observed,
            open: None,
            measured: None,
            reads: Arc::default(),
            throttle: None,
            looked: Vec::new(),
            moved: Instant::now(),
            moved_at: Vec::new(),
            cut: 0,
            unsure: !rested,
        }
    }

    /// Runs until the channel is drained, forgotten or the process stops.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let wanted = Arc::clone(&self.wanted.borrow_and_update());
            // Boxed: while the task waits, it holds none of what its work needs.
            let limit = match wanted.mode {
                Mode::Drain if Box::pin(self.drain(&wanted)).await => return,
                Mode::Drain => REOPEN,
                Mode::Run | Mode::Hold(_) => Box::pin(self.step(&wanted)).await,
            };
            if !limit.is_zero() && !self.wait(limit, &shutdown).await {
                break;
            }
            if shutdown.is_cancelled() {
                break;
            }
            tokio::task::yield_now().await;
        }
        Box::pin(self.close()).await;
    }

    /// One round. Returns how long there is nothing to do, at most.
    async fn step(&mut self, wanted: &Arc<Wanted>) -> Duration {
        if let Err(error) = self.ensure_open(wanted).await {
            tracing::warn!(channel = %wanted.channel, %error, "failed to open a channel; will retry");
            self.observe(|observed| {
                observed.serving = Some(Err(error.told()));
                observed.last_error = Some(error.told());
                observed.incompatible.clone_from(&wanted.incompatible);
                observed.idle_at = Some(Vec::new());
            });
            return REOPEN;
        }
        self.cut_usage().await;
        let Some(open) = &mut self.open else { return REOPEN };
        let heads = open.worker.heads();
        let (turn, holding) = match wanted.mode {
            Mode::Hold(reason) => {
                let published = open.worker.publish_all().await;
                let halt = Halt { reason, message: "the channel is stopped; resume it to go on".to_owned() };
                (published.err().unwrap_or(Turn::Idle), Some(halt))
            }
            Mode::Run | Mode::Drain => (open.worker.round().await, None),
        };
        if turn == Turn::Outdated {
            tracing::warn!(channel = %wanted.channel, "the books of a channel moved without it; they are read anew");
            self.close().await;
            self.observe(|observed| (observed.idle_at, observed.resting) = (None, None));
            return REOPEN;
        }
        // A channel that waits for its rate, its target or its tick has no use for news of the logs.
        let listening = turn == Turn::Idle && wanted.mode == Mode::Run;
        self.looked = if listening { open.worker.looked(&heads) } else { Vec::new() };
        if let Turn::Wait { limit, why: Waiting::Throttled } = &turn {
            open.worker.throttled += *limit;
        }
        let halted = holding.or_else(|| match &turn {
            Turn::Wait { why, .. } => halt(*why, open.worker.last_error.as_deref()),
            _ => None,
        });
        let resting = self.resting(wanted, &turn, &heads).await;
        let limit = self.pause(&turn);
        if turn == Turn::Moved {
            self.moved = Instant::now();
            self.moved_at.clear();
        }
        if self.moved_at.len() != heads.len() {
            self.moved_at = heads;
        }
        self.report(wanted, &turn, halted, resting).await;
        limit
    }

    /// How long there is nothing to do after a turn, at most.
    fn pause(&self, turn: &Turn) -> Duration {
        let Some(open) = &self.open else { return REOPEN };
        let look_again = self.no_longer_than(LOOK_AGAIN);
        let limit = match turn {
            Turn::Moved => Duration::ZERO,
            Turn::Idle if self.moved.elapsed() >= look_again && !open.worker.has_open_usage() => {
                self.no_longer_than(QUIET)
            }
            Turn::Idle | Turn::Outdated => look_again,
            Turn::Wait { limit, .. } => *limit,
        };
        if open.worker.collecting() { limit.min(COLLECTING) } else { limit }
    }

    /// Lets go of what a quiet channel does not need. What calls for it then, if it may rest altogether.
    async fn resting(&mut self, wanted: &Wanted, turn: &Turn, heads: &[u64]) -> Option<Resting> {
        let look_again = self.no_longer_than(LOOK_AGAIN);
        if *turn != Turn::Idle || self.moved.elapsed() < look_again {
            return None;
        }
        // Only the sink is held across the wait: a worker may not be looked at by two threads.
        let sink = Arc::clone(&self.open.as_ref()?.sink);
        let Rest::Until(due) = sink.rest(look_again).await else { return None };
        let worker = &self.open.as_ref()?.worker;
        let nothing = self.moved.elapsed() >= self.surroundings.rest_after && calm(&self.moved_at, heads);
        let at_once = wanted.mode == Mode::Run && wanted.timing == Timing::Immediate;
        let may_rest = nothing && at_once && !worker.collecting() && !worker.has_open_usage();
        may_rest.then_some(Resting { due, version: wanted.version })
    }

    /// A time after which the channel looks again, or rests if that comes sooner.
    fn no_longer_than(&self, time: Duration) -> Duration {
        time.min(self.surroundings.rest_after).max(LEAST)
    }

    /// Cuts usage whose span is over, and all of it when somebody wants to see it before.
    async fn cut_usage(&mut self) {
        let asked = *self.surroundings.cuts.borrow();
        let Some(open) = self.open.as_mut() else { return };
        let cut = match asked > self.cut {
            true => open.worker.cut_usage().await,
            false => open.worker.cut_past_usage().await,
        };
        match cut {
            Ok(()) if asked > self.cut => {
                self.cut = asked;
                self.observe(|observed| observed.cut = asked);
            }
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(%error, "failed to cut usage; the books are read anew");
                self.close().await;
            }
        }
    }

    /// Opens the resource, or opens it anew when what it was opened with changed.
    async fn ensure_open(&mut self, wanted: &Arc<Wanted>) -> Result<(), DeliveryError> {
        if let Some(open) = &mut self.open {
            if Arc::ptr_eq(&open.wanted, wanted) {
                return Ok(());
            }
            // A pause or a new quota must not end the connections of readers.
            if open.wanted.same_resource(wanted) {
                open.worker.retune(wanted.terms(&self.newest), &wanted.timing);
                open.wanted = Arc::clone(wanted);
                let served = open.served.clone();
                self.mount(wanted, served.as_ref());
                return Ok(());
            }
            self.close().await;
        }
        let open = self.open_resource(wanted).await?;
        self.open = Some(open);
        self.moved = Instant::now();
        self.moved_at.clear();
        Ok(())
    }

    /// Ends everything in flight and cuts the last usage. `true` when that is done for good.
    async fn drain(&mut self, wanted: &Arc<Wanted>) -> bool {
        if let Some(open) = &mut self.open {
            // What was collected and cannot be published goes with the channel: it is being
            // deleted, and an unreachable target must not keep it.
            if open.worker.publish_all().await.is_err() {
                tracing::warn!(channel = %wanted.channel, "failed to publish the last records of a deleted channel");
            }
            self.close().await;
        }
        // By the books as they are: they may have moved although the database's answer was lost.
        if let Err(error) = cut_closed(&self.surroundings.context, wanted).await {
            tracing::warn!(channel = %wanted.channel, %error, "failed to cut the last usage of a channel; will retry");
            return false;
        }
        self.observe(|observed| {
            observed.drained = true;
            observed.idle_at = Some(Vec::new());
        });
        self.surroundings.changed.wake();
        true
    }

    async fn close(&mut self) {
        self.looked.clear();
        if let Some(open) = self.open.take() {
            self.unsure = open.worker.unsure();
            self.throttle = Some(open.worker.throttle().clone());
            self.surroundings.served.unmount(open.wanted.channel);
            open.sink.close().await;
        }
    }

    /// Waits for news of the logs or of what is wanted. `false`: the process stops.
    async fn wait(&mut self, limit: Duration, shutdown: &CancellationToken) -> bool {
        let log = self.surroundings.context.lake.log();
        let mut logs: Vec<_> = self.looked.iter().filter_map(|looked| looked.news(log)).collect();
        // There may be something between the last look and the subscription.
        if self.looked.iter().any(|looked| looked.is_behind(log)) {
            return true;
        }
        let mut cuts = self.surroundings.cuts.clone();
        cuts.mark_unchanged();
        if *cuts.borrow() > self.cut && self.open.is_some() {
            return true;
        }
        let news = async {
            if logs.is_empty() {
                std::future::pending::<()>().await;
            }
            let _ = select_all(logs.iter_mut().map(|log| Box::pin(log.changed()))).await;
        };
        tokio::select! {
            () = shutdown.cancelled() => false,
            changed = self.wanted.changed() => changed.is_ok(),
            () = news => true,
            cut = cuts.changed() => cut.is_ok(),
            () = tokio::time::sleep(limit) => true,
        }
    }

    async fn report(&mut self, wanted: &Wanted, turn: &Turn, halted: Option<Halt>, resting: Option<Resting>) {
        // Only the sink is held across the wait: a worker may not be looked at by two threads.
        let Some(sink) = self.open.as_ref().map(|open| Arc::clone(&open.sink)) else { return };
        let measure = self.measured.is_none_or(|measured| measured.elapsed() >= MEASURE);
        let stored_bytes = if measure { Some(sink.stored_bytes().await) } else { None };
        if measure {
            self.measured = Some(Instant::now());
        }
        let Some(open) = &self.open else { return };
        let worker = &open.worker;
        let flows: Vec<FlowView> = worker
            .flows
            .iter()
            .map(|flow| FlowView {
                row: flow.row.clone(),
                done: flow.window.done(),
                following: flow.following().cloned(),
                behind_since: flow.behind_since(),
            })
            .collect();
        // What waits for a pause, a tick, a period or a target has nothing to do, whatever the logs do.
        let idle_at = match turn {
            Turn::Idle => Some(self.looked.clone()),
            Turn::Wait { why, .. } => (*why != Waiting::Throttled).then(Vec::new),
            Turn::Moved | Turn::Outdated => None,
        };
        let (over_quota, error) = (worker.over_quota(), worker.last_error.clone());
        let degraded = worker.degraded();
        let throttled = u64::try_from(worker.throttled.as_millis()).unwrap_or(u64::MAX);
        let before = self.observed.lock().conditions();
        self.observe(|observed| {
            observed.serving = Some(Ok(()));
            observed.generation = wanted.generation;
            observed.incompatible.clone_from(&wanted.incompatible);
            observed.flows = flows;
            observed.syncing = wanted.lanes.live.then(|| halted.map_or(Ok(()), Err));
            observed.over_quota = over_quota;
            observed.last_error = error;
            observed.degraded = degraded;
            observed.throttled_ms = throttled;
            observed.stored_bytes = stored_bytes.unwrap_or(observed.stored_bytes);
            observed.idle_at = idle_at;
            observed.resting = resting;
        });
        if self.observed.lock().conditions() != before {
            self.surroundings.changed.wake();
        }
    }

    fn observe(&self, change: impl FnOnce(&mut observed::Observed)) {
        change(&mut self.observed.lock());
    }
}

/// Whether logs moved so little while nothing of them concerned the channel that it will be some time before its
/// place in them has to be written down.
fn calm(before: &[u64], now: &[u64]) -> bool {
    before.len() == now.len() && before.iter().zip(now).all(|(before, now)| now - before < EMPTY_RANGE / 10)
}

/// Cuts the open usage of a channel that is not open.
async fn cut_closed(context: &Context, wanted: &Wanted) -> Result<(), DeliveryError> {
    let mut tx = context.data.read_platform().await?;
    let rows = store::of_channel(&mut tx, wanted.channel).await?;
    drop(tx);
    for row in rows {
        crate::delivery::cut_usage(context, &row, &wanted.dims(row.key.element)).await?;
    }
    Ok(())
}
