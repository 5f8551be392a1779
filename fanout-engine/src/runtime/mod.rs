//! The reconciler: makes what runs agree with what the catalog wants of data-out channels.
//!
//! It accepts no orders. It compares the versions of the channels in the catalog with those it
//! runs, starts, changes and ends one task per channel, and writes back what is observed as
//! conditions. A wake only makes it look sooner.

mod channel;
mod load;
mod observed;
mod plans;
mod report;
mod resting;
#[cfg(test)]
mod tests;
mod wanted;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use headgate_catalog::channels::{self, ChannelHead};
use headgate_database::Db;
use headgate_lake::Fenced;
use headgate_types::channel::{ChannelState, ConditionType, Direction};
use headgate_types::engine::ChannelStatistics;
use headgate_types::{ChannelId, ElementId};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use channel::ChannelTask;
pub use channel::Surroundings;
use observed::{Observed, Reading, SharedObserved};
use plans::Plans;
use resting::Rested;
use wanted::{Mode, Wanted};

use crate::delivery::Looked;
use crate::error::EngineFault;
use crate::passes::{Followed, Listed, Passes};

/// Looks at the catalog this often even when nobody woke it, unless a look takes so long that it would
/// cost more than a hundredth of the time: then less often, but no less than [`POLL_AT_LEAST`].
const POLL: Duration = Duration::from_secs(1);
const POLL_AT_LEAST: Duration = Duration::from_secs(30);

/// Runs the data-out channels.
#[derive(Debug)]
pub struct Runtime {
    control: Db,
    surroundings: Surroundings,
    record_id_key: [u8; 32],
    plans: Plans,
    running: Mutex<HashMap<ChannelId, Running>>,
    resting: Mutex<HashMap<ChannelId, Rested>>,
    followed: Followed,
    /// Fenced elements whose owners were not told yet.
    fenced: Mutex<Vec<Fenced>>,
    /// When it was looked last for channels that have rested enough.
    rest_looked: Mutex<Instant>,
    passes: Passes,
    cuts: watch::Sender<u64>,
    tasks: CancellationToken,
}

#[derive(Debug)]
struct Running {
    head: ChannelHead,
    wanted: watch::Sender<Arc<Wanted>>,
    /// The version of what is wanted: the task asks for it before each delivery.
    newest: Arc<AtomicU64>,
    observed: SharedObserved,
    written: Vec<Reading>,
    generation: u64,
    /// Whether its owner was told that deliveries fail.
    degraded: bool,
    /// As it rested before it was started: what the router noted for it is kept until it looks by itself.
    rested: Option<Rested>,
    task: JoinHandle<()>,
}

impl Running {
    fn is_drained(&self) -> bool {
        self.observed.lock().drained
    }
}

impl Runtime {
    /// A runtime that runs nothing yet.
    #[must_use]
    pub fn new(control: Db, surroundings: Surroundings, cuts: watch::Sender<u64>, record_id_key: [u8; 32]) -> Self {
        Self {
            control,
            surroundings,
            record_id_key,
            plans: Plans::default(),
            running: Mutex::default(),
            resting: Mutex::default(),
            rest_looked: Mutex::new(Instant::now()),
            fenced: Mutex::default(),
            followed: Followed::new(Direction::Out),
            passes: Passes::default(),
            cuts,
            tasks: CancellationToken::new(),
        }
    }

    /// Reconciles until the process stops, then ends every channel's task and waits for it.
    pub async fn run(&self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let pause = match self.reconcile().await {
                Ok(look) => (look * 100).clamp(POLL, POLL_AT_LEAST),
                Err(error) => {
                    tracing::warn!(%error, "failed to reconcile channels; will retry");
                    POLL
                }
            };
            let next = Instant::now() + pause;
            while !self.called_until(next, &shutdown).await {}
        }
        self.tasks.cancel();
        let tasks: Vec<_> = self.running.lock().drain().map(|(_, running)| running.task).collect();
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a channel's task ended badly");
            }
        }
        self.surroundings.context.router.close().await;
    }

    /// One pass; says how long it took to look for changes.
    ///
    /// # Errors
    /// When the catalog cannot be read or written; the next pass starts over.
    pub async fn reconcile(&self) -> Result<Duration, EngineFault> {
        let pass = self.passes.begin();
        let begun = Instant::now();
        let has_ended = |running: &Running| running.task.is_finished() && !running.is_drained();
        let anyway = self.running.lock().values().any(has_ended);
        let listed = self.followed.look(&self.control, anyway).await?;
        let look = begun.elapsed();
        if let Some(Listed { heads, versions }) = listed {
            let all = self.follow_all(heads).await;
            self.followed.note(versions, all);
        }
        self.write_observed().await?;
        self.rest().await;
        self.write_fenced().await?;
        self.passes.complete(pass);
        Ok(look)
    }

    /// Makes what runs agree with the channels there are; `false`: of some it could not.
    async fn follow_all(&self, heads: Vec<ChannelHead>) -> bool {
        let listed: HashSet<ChannelId> = heads.iter().map(|head| head.id).collect();
        let mut all = true;
        for head in heads {
            // One channel that cannot be read must not keep the others waiting.
            if let Err(error) = self.follow(head).await {
                tracing::warn!(channel = %head.id, %error, "failed to follow a channel; will retry");
                all = false;
            }
        }
        self.end_unlisted(&listed).await;
        all
    }

    /// Starts or changes what runs for a channel.
    async fn follow(&self, head: ChannelHead) -> Result<(), EngineFault> {
        if self.resting.lock().get(&head.id).is_some_and(|rested| rested.head == head) {
            return Ok(());
        }
        {
            let running = self.running.lock();
            let known = running.get(&head.id);
            if known.is_some_and(|known| known.head == head && (!known.task.is_finished() || known.is_drained())) {
                return Ok(());
            }
        }
        self.begin(head).await
    }

    /// Starts or changes what runs for a channel, whatever is known of it.
    async fn begin(&self, head: ChannelHead) -> Result<(), EngineFault> {
        let rested = self.let_go(head.id);
        let mut tx = self.control.read_platform().await?;
        if head.state == ChannelState::Deleting
            && channels::condition_holds(&mut tx, head.tenant, head.id, ConditionType::Drained).await?
        {
            return Ok(());
        }
        let wanted = load::wanted(&mut tx, head, &self.record_id_key).await?;
        drop(tx);
        let Some(mut wanted) = wanted else {
            self.end(&[head.id]).await;
            self.surroundings.served.forget(head.id);
            return Ok(());
        };
        if wanted.mode == Mode::Drain {
            self.surroundings.served.forget(head.id);
        }
        if head.state == ChannelState::Updating {
            // A change of a paused channel does not resume it.
            let held = self.running.lock().get(&head.id).map(|running| running.wanted.borrow().mode);
            wanted.mode = held.filter(|mode| matches!(mode, Mode::Hold(_))).unwrap_or(wanted.mode);
        }
        for scope in &mut wanted.scopes {
            scope.plan = self.plans.shared(Arc::clone(&scope.plan));
        }
        for layout in &wanted.layouts {
            self.surroundings.context.lake.register(layout.clone()).await?;
        }
        self.apply(head, Arc::new(wanted), rested);
        Ok(())
    }

    fn apply(&self, head: ChannelHead, wanted: Arc<Wanted>, rested: Option<Rested>) {
        let mut all = self.running.lock();
        if let Some(running) = all.get_mut(&head.id)
            && !running.task.is_finished()
        {
            running.head = head;
            // In this order: whoever mounts after the unmounting sees the newer version, and unmounts.
            running.newest.store(wanted.version, Ordering::SeqCst);
            if !wanted.keeps_all_of(&running.wanted.borrow()) {
                // Nobody reads what was taken back while the task has not come to it.
                self.surroundings.served.unmount(head.id);
            }
            running.wanted.send_replace(wanted);
            return;
        }
        let observed = all.remove(&head.id).map(|ended| ended.observed);
        if observed.is_some() {
            tracing::error!(channel = %head.id, "a channel's task had ended; it is started again");
        }
        let observed = observed.unwrap_or_default();
        let newest = Arc::new(AtomicU64::new(wanted.version));
        let (sender, receiver) = watch::channel(wanted);
        let surroundings = self.surroundings.clone();
        let (seen, shown) = (Arc::clone(&newest), Arc::clone(&observed));
        let task = ChannelTask::new(surroundings, receiver, seen, shown, rested.is_some());
        let task = tokio::spawn(task.run(self.tasks.clone()));
        let running = Running {
            head,
            wanted: sender,
            newest,
            observed,
            written: Vec::new(),
            generation: 0,
            degraded: false,
            rested,
            task,
        };
        all.insert(head.id, running);
    }

    /// Ends the tasks of channels that are final.
    async fn end_unlisted(&self, listed: &HashSet<ChannelId>) {
        let ids: Vec<ChannelId> = self.running.lock().keys().filter(|id| !listed.contains(id)).copied().collect();
        self.end(&ids).await;
        let gone: Vec<ChannelId> = self.resting.lock().keys().filter(|id| !listed.contains(id)).copied().collect();
        for id in gone {
            self.let_go(id);
            self.surroundings.served.forget(id);
        }
    }

    /// Ends tasks and waits for them.
    async fn end(&self, ids: &[ChannelId]) {
        let gone: Vec<Running> = {
            let mut running = self.running.lock();
            ids.iter().filter_map(|id| running.remove(id)).collect()
        };
        for Running { wanted, task, .. } in gone {
            // Without a sender the task ends by itself.
            drop(wanted);
            if let Err(error) = task.await {
                tracing::error!(%error, "a channel's task ended badly");
            }
        }
    }

    /// What is observed of a channel; `None` when it is not run here.
    ///
    /// # Errors
    /// When the books of a channel that rests cannot be read.
    pub async fn statistics(&self, channel: ChannelId) -> Result<Option<ChannelStatistics>, EngineFault> {
        let observed = match self.observed(channel) {
            Some(observed) => Some(observed),
            None => self.observed_at_rest(channel).await?,
        };
        let lake = &self.surroundings.context.lake;
        let now = self.surroundings.context.clock.now();
        Ok(observed.map(|(observed, open)| observed.statistics(now, |element| lake.log().head(element), &open)))
    }

    /// What is observed of a running channel, and the elements of which no grant withholds anything.
    fn observed(&self, channel: ChannelId) -> Option<(Observed, HashSet<ElementId>)> {
        let running = self.running.lock();
        running.get(&channel).map(|running| (running.observed.lock().clone(), running.wanted.borrow().open()))
    }

    /// Waits until a pass that began after this call is complete.
    pub async fn passed(&self) {
        self.passes.passed(&self.surroundings.changed).await;
    }

    /// Whether no channel has anything to do until the logs grow, a tick comes or a pause ends.
    #[must_use]
    pub fn idle(&self) -> bool {
        let lake = &self.surroundings.context.lake;
        let up_to_date = |looked: &[Looked]| looked.iter().all(|looked| looked.is_current(lake.log()));
        self.running.lock().values().all(|running| {
            let current = running.wanted.borrow().version == running.head.version;
            let observed = running.observed.lock();
            current && (observed.drained || observed.idle_at.as_deref().is_some_and(up_to_date))
        }) && self.resting.lock().values().all(|rested| rested.is_current(lake.log()))
    }

    /// Has every running channel cut its open usage, and waits for it.
    pub async fn cut_usage(&self) {
        let mut asked = 0;
        self.cuts.send_modify(|cuts| {
            *cuts += 1;
            asked = *cuts;
        });
        let done = || {
            self.running.lock().values().all(|running| {
                let observed = running.observed.lock();
                observed.cut >= asked || observed.drained || !matches!(observed.serving, Some(Ok(())))
            })
        };
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// What a state asks of the task; `None`: nothing yet, or nothing any more.
fn mode(state: ChannelState) -> Option<Mode> {
    match state {
        ChannelState::Provisioning | ChannelState::Active | ChannelState::Updating => Some(Mode::Run),
        ChannelState::Paused => Some(Mode::Hold("Paused")),
        ChannelState::Suspended => Some(Mode::Hold("Suspended")),
        ChannelState::Deleting => Some(Mode::Drain),
        ChannelState::Deleted | ChannelState::Failed => None,
    }
}
