//! What was noted for one predicate.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Weak};

use headgate_lake::LakeBatch;
use headgate_types::{ChannelId, SchemaId};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::calls::Calls;
use crate::shape::{Candidates, FilterId, Plan, Routed};

/// Ranges kept for flows that have not come to them yet. A flow further behind pulls by itself.
const MOST_RANGES: usize = 256;

/// A range of the log and what the index found in it, while that is fresh.
#[derive(Debug)]
pub struct Routing {
    /// The range.
    pub range: Arc<LakeBatch>,
    /// What was found.
    pub routed: Routed,
}

/// The ranges that concern a predicate, shared by the flows of all plans that have it.
#[derive(Debug)]
pub struct Following {
    /// The version of the element's schema that the predicate is over.
    pub(super) schema: SchemaId,
    /// The predicate.
    pub(super) filter: FilterId,
    noted: Mutex<Noted>,
    /// Everything through here was looked up, for all predicates of the element.
    routed: Arc<watch::Sender<u64>>,
    /// The end of the newest range that concerns the predicate.
    newest: watch::Sender<u64>,
    /// Where channels that rest are called for.
    calls: Calls,
}

#[derive(Debug)]
struct Noted {
    /// What concerns the predicate behind this offset, and only that, is noted.
    since: u64,
    ranges: VecDeque<Range>,
    /// Channels that have nothing in memory and are called for when something concerns them.
    resting: HashSet<ChannelId>,
}

#[derive(Debug)]
struct Range {
    first: u64,
    last: u64,
    routing: Weak<Routing>,
    place: usize,
}

/// What comes next for a flow.
#[derive(Debug)]
pub enum Next {
    /// Nothing is known about where it stands: it has to pull.
    Unknown,
    /// Nothing through here concerns it.
    Nothing(u64),
    /// The range behind where it stands may have rows of it: these, when they are still fresh.
    Range(Option<(Arc<LakeBatch>, Candidates)>),
}

impl Following {
    /// Of the predicate of `plan`.
    pub(super) fn new(plan: &Plan, since: u64, routed: Arc<watch::Sender<u64>>, calls: Calls) -> Self {
        let noted = Mutex::new(Noted { since, ranges: VecDeque::new(), resting: HashSet::new() });
        Self {
            schema: plan.schema_id(),
            filter: plan.filter().id(),
            noted,
            routed,
            newest: watch::Sender::new(since),
            calls,
        }
    }

    /// What comes next behind `after`.
    #[must_use]
    pub fn next(&self, after: u64) -> Next {
        // Read first: what is noted is noted before the watermark passes it.
        let routed = *self.routed.borrow();
        let noted = self.noted.lock();
        if after < noted.since {
            return Next::Unknown;
        }
        match noted.behind(after) {
            Some(range) if range.first > after + 1 => Next::Nothing(range.first - 1),
            Some(range) => {
                let fresh = range.routing.upgrade().filter(|_| range.first == after + 1);
                let found = fresh.and_then(|routing| {
                    let (_, candidates) = routing.routed.found.get(range.place)?;
                    Some((Arc::clone(&routing.range), candidates.clone()))
                });
                Next::Range(found)
            }
            None => Next::Nothing(routed.max(after)),
        }
    }

    /// Everything through here needs nothing more of a flow that is done with `done`.
    #[must_use]
    pub fn clear_through(&self, done: u64) -> u64 {
        match self.next(done) {
            Next::Nothing(through) => through,
            Next::Unknown | Next::Range(_) => done,
        }
    }

    /// Whether a flow that has looked at everything through `looked` has something to look at.
    #[must_use]
    pub fn concerns(&self, looked: u64) -> bool {
        let noted = self.noted.lock();
        looked < noted.since || noted.behind(looked).is_some()
    }

    /// Changes when a range that concerns the predicate was noted.
    #[must_use]
    pub fn news(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// Calls for a channel when something concerns it behind `looked`, once; at once if something does.
    pub fn call_for(&self, channel: ChannelId, looked: u64) {
        {
            let mut noted = self.noted.lock();
            if looked >= noted.since && noted.behind(looked).is_none() {
                noted.resting.insert(channel);
                return;
            }
        }
        self.calls.call([channel]);
    }

    /// Calls for the channel no more.
    pub fn let_rest(&self, channel: ChannelId) {
        self.noted.lock().resting.remove(&channel);
    }

    /// Waits until everything through `to` was looked up.
    pub async fn reaches(&self, to: u64) {
        // The sender is this very object's, so it cannot be gone.
        let _ = self.routed.subscribe().wait_for(|routed| *routed >= to).await;
    }

    /// Notes that a range concerns the predicate.
    pub(super) fn note(&self, routing: &Arc<Routing>, place: usize) {
        let (first, last) = (routing.range.first, routing.range.last);
        let called = {
            let mut noted = self.noted.lock();
            if last <= noted.since {
                return;
            }
            noted.ranges.push_back(Range { first, last, routing: Arc::downgrade(routing), place });
            if noted.ranges.len() > MOST_RANGES
                && let Some(oldest) = noted.ranges.pop_front()
            {
                noted.since = oldest.last;
            }
            std::mem::take(&mut noted.resting)
        };
        self.tell(last, called);
    }

    /// Gives up what is noted: flows pull by themselves through `to`.
    pub(super) fn lose(&self, to: u64) {
        let called = {
            let mut noted = self.noted.lock();
            noted.since = noted.since.max(to);
            noted.ranges.retain(|range| range.last > to);
            std::mem::take(&mut noted.resting)
        };
        self.tell(to, called);
    }

    fn tell(&self, newest: u64, called: HashSet<ChannelId>) {
        self.newest.send_replace(newest);
        if !called.is_empty() {
            self.calls.call(called);
        }
    }
}

impl Noted {
    fn behind(&self, after: u64) -> Option<&Range> {
        self.ranges.get(self.ranges.partition_point(|range| range.last <= after))
    }
}
