//! The router of one element.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use headgate_lake::LakeBatch;
use headgate_types::{ElementId, SchemaId};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Router;
use super::following::{Following, Routing};
use crate::calls::Calls;
use crate::delivery::flow::FlowError;
use crate::shape::{FilterId, Plan, Routes, ShapeError, Snapshot};

/// Bytes taken from the log at once.
const PULL_BYTES: usize = 4 << 20;
/// Rows of a batch up to which looking it up takes less than handing it to another thread.
const FEW_ROWS: usize = 256;
/// What is fresh: this many ranges, this many bytes, and for this long after the last commit.
const FRESH_RANGES: usize = 16;
const FRESH_BYTES: usize = 16 << 20;
const FRESH: Duration = Duration::from_secs(2);
/// After a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// An element that is followed.
#[derive(Debug)]
pub struct Element {
    /// Which.
    pub id: ElementId,
    state: Mutex<State>,
    /// Everything through here was looked up.
    routed: Arc<watch::Sender<u64>>,
    /// Wakes the task when the last plan went.
    gone: tokio::sync::Notify,
    calls: Calls,
}

#[derive(Debug)]
struct State {
    /// Where the range ends that is being looked up; predicates added meanwhile begin behind it.
    taken: u64,
    routes: HashMap<SchemaId, Routes>,
    following: HashMap<FilterId, Followed>,
    fresh: VecDeque<(Arc<Routing>, usize)>,
    looked_up: u64,
    concerned: u64,
}

#[derive(Debug)]
struct Followed {
    following: Arc<Following>,
    plans: usize,
}

impl Element {
    pub(super) fn new(id: ElementId, head: u64, calls: Calls) -> Self {
        let state = State {
            taken: head,
            routes: HashMap::new(),
            following: HashMap::new(),
            fresh: VecDeque::new(),
            looked_up: 0,
            concerned: 0,
        };
        let gone = tokio::sync::Notify::new();
        Self { id, state: Mutex::new(state), routed: Arc::new(watch::Sender::new(head)), gone, calls }
    }

    pub(super) fn add(&self, plan: &Plan) -> Arc<Following> {
        let mut state = self.state.lock();
        state.routes.entry(plan.schema_id()).or_insert_with(|| Routes::like(plan)).add(plan);
        let taken = state.taken;
        let begin = || Arc::new(Following::new(plan, taken, Arc::clone(&self.routed), self.calls.clone()));
        let followed =
            state.following.entry(plan.filter().id()).or_insert_with(|| Followed { following: begin(), plans: 0 });
        followed.plans += 1;
        Arc::clone(&followed.following)
    }

    pub(super) fn remove(&self, Following { schema, filter, .. }: &Following) {
        let mut state = self.state.lock();
        if let Some(routes) = state.routes.get_mut(schema) {
            routes.remove(*filter);
            if routes.is_empty() {
                state.routes.remove(schema);
            }
        }
        if let Some(followed) = state.following.get_mut(filter) {
            followed.plans -= 1;
            if followed.plans == 0 {
                state.following.remove(filter);
            }
        }
        if state.following.is_empty() {
            self.gone.notify_one();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state.lock().following.is_empty()
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.looked_up, state.concerned)
    }

    /// The predicates as they are now, for a range that ends at `last`.
    fn take(&self, last: u64) -> Vec<Arc<Snapshot>> {
        let mut state = self.state.lock();
        state.taken = state.taken.max(last);
        state.routes.values_mut().map(Routes::snapshot).collect()
    }

    /// Notes what was found in a range, then moves the watermark over it.
    fn note(&self, range: &Arc<LakeBatch>, all: Vec<crate::shape::Routed>) {
        {
            let mut state = self.state.lock();
            state.looked_up += 1;
            for routed in all {
                let routing = Arc::new(Routing { range: Arc::clone(range), routed });
                for (place, (id, _)) in routing.routed.found.iter().enumerate() {
                    if let Some(followed) = state.following.get(id) {
                        followed.following.note(&routing, place);
                        state.concerned += 1;
                    }
                }
                if !routing.routed.found.is_empty() {
                    state.fresh.push_back((routing, range.memory()));
                }
            }
            let mut bytes: usize = state.fresh.iter().map(|(_, bytes)| bytes).sum();
            while state.fresh.len() > FRESH_RANGES || (bytes > FRESH_BYTES && state.fresh.len() > 1) {
                bytes -= state.fresh.pop_front().map_or(0, |(_, bytes)| bytes);
            }
        }
        self.routed.send_replace(range.last);
    }

    /// Passes over what could not be looked up: every flow pulls it by itself.
    fn lose(&self, to: u64) {
        {
            let mut state = self.state.lock();
            state.taken = state.taken.max(to);
            state.following.values().for_each(|followed| followed.following.lose(to));
        }
        self.routed.send_replace(to);
    }
}

/// Follows the log until nobody follows the element, the element is gone, or the process stops.
pub async fn run(router: Router, element: Arc<Element>, mut head: watch::Receiver<u64>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let routed = *element.routed.borrow();
        let end = *head.borrow_and_update();
        if routed < end {
            if let Err(error) = advance(&router, &element, routed, end).await {
                tracing::warn!(element = %element.id, %error, "failed to match records; channels look for themselves");
                element.lose(end);
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
            continue;
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = head.changed() => if changed.is_err() {
                // The element was removed; whoever still follows it pulls and is told so.
                element.lose(u64::MAX);
                return;
            },
            () = element.gone.notified() => if router.forget(&element) { return },
            () = tokio::time::sleep(FRESH), if element.holds() => element.drop_fresh(),
        }
    }
}

impl Element {
    fn holds(&self) -> bool {
        !self.state.lock().fresh.is_empty()
    }

    fn drop_fresh(&self) {
        self.state.lock().fresh.clear();
    }
}

/// Looks up some of what is behind `routed`.
async fn advance(router: &Router, element: &Arc<Element>, routed: u64, end: u64) -> Result<(), FlowError> {
    let batches = router.lake().read(element.id, routed, PULL_BYTES).await?;
    if batches.is_empty() {
        // Up to the head that was there before the look, every offset was lost (rule 5).
        element.lose(end);
    }
    for batch in batches {
        let snapshots = element.take(batch.last);
        let range = Arc::clone(&batch);
        let look_up = move || snapshots.iter().map(|snapshot| snapshot.route(&range)).collect::<Result<Vec<_>, _>>();
        let found = if batch.batch.num_rows() <= FEW_ROWS {
            look_up()?
        } else {
            tokio::task::spawn_blocking(look_up).await.map_err(|_| ShapeError::Interrupted)??
        };
        element.note(&batch, found);
    }
    Ok(())
}
