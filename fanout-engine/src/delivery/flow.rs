//! One flow: an element's records on one lane, on their way into one channel.
//!
//! The flow knows what was pulled, written and settled. It never waits, throttles or retries;
//! the channel's worker decides when it may take a turn.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::StreamExt;
use futures::stream::BoxStream;
use headgate_lake::{Lake, LakeBatch, LakeError};
use headgate_metering::Dims;
use headgate_types::channel::Lane;
use headgate_types::schema::ElementKind;
use parking_lot::Mutex;

use super::Router;
use super::books::Settled;
use super::router::{Following, Next, Route};
use super::store::{FlowRow, Totals};
use super::window::Window;
use crate::shape::{Candidates, Plan, PlanCache};
use crate::technology::{Delivery, FlowKey, OutputElement};

/// Bytes pulled from the lake at once.
const PULL_BYTES: usize = 4 << 20;
/// Records that make a window full enough.
const FULL_RECORDS: usize = 20_000;
/// How long a flow that has to come to an end waits for the router before it pulls by itself.
const PATIENCE: Duration = Duration::from_secs(1);

/// Deliveries between two writes of the books, at most: as many may come again after a crash where the
/// books are the cursor, and are marked then.
pub const TOGETHER: u32 = 64;

/// A snapshot being read.
type Batches = BoxStream<'static, Result<Arc<LakeBatch>, LakeError>>;

/// What can stop a flow before it reaches a sink.
#[derive(Debug, thiserror::Error)]
pub enum FlowError {
    /// The lake could not be read.
    #[error("failed to read the lake: {0}")]
    Lake(#[from] LakeError),
    /// The records could not be shaped.
    #[error("failed to shape records: {0}")]
    Shape(#[from] crate::shape::ShapeError),
}

/// A flow being worked on.
pub struct Flow {
    /// Its cursor and books, as last written.
    pub row: FlowRow,
    /// What was pulled and shaped.
    pub window: Window,
    /// How many of the next deliveries may have been written before.
    pub unsure: u32,
    /// How often the sink crashed over what comes next.
    pub crashes: u32,
    plan: Arc<Plan>,
    /// Has commits matched with the plan once for everybody.
    route: Option<Route>,
    kind: ElementKind,
    model_version: u32,
    /// What the price of its records depends on.
    pub dims: Dims,
    /// Behind a lock only because a stream cannot be shared between threads; nobody waits for it.
    snapshot: Mutex<Option<Batches>>,
    unsettled: VecDeque<Settled>,
    /// The target holds everything through here, as it said last.
    through: u64,
    /// When the oldest record not yet delivered was committed.
    behind_since: Option<DateTime<Utc>>,
}

impl std::fmt::Debug for Flow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flow").field("row", &self.row).field("window", &self.window).finish_non_exhaustive()
    }
}

impl Flow {
    /// Takes up a flow where its books and its target stand. A target that holds less than was
    /// booked gets the difference again, unbilled; one that holds more skips what it has, and the
    /// difference is booked.
    #[must_use]
    pub fn new(row: FlowRow, target: Option<u64>, plan: Arc<Plan>, output: &OutputElement, dims: Dims) -> Self {
        let start = target.map_or(row.booked, |held| held.max(row.starts_after).min(row.booked));
        Self {
            window: Window::new(start),
            unsure: 0,
            crashes: 0,
            plan,
            route: None,
            kind: output.kind,
            model_version: output.model_version,
            dims,
            snapshot: Mutex::default(),
            unsettled: VecDeque::new(),
            through: 0,
            behind_since: None,
            row,
        }
    }

    /// Has the router say which commits concern the flow.
    #[must_use]
    pub fn routed(mut self, router: &Router) -> Self {
        self.route = router.follow(&self.plan);
        self
    }

    /// What the router noted for the flow's plan.
    #[must_use]
    pub fn following(&self) -> Option<&Arc<Following>> {
        self.route.as_ref().map(Route::following)
    }

    /// Element and lane.
    #[must_use]
    pub const fn key(&self) -> FlowKey {
        self.row.key
    }

    /// Whether the flow reached its end, and the books say so. A history whose target was restored
    /// from an older copy is on its way again.
    #[must_use]
    pub fn finished(&self) -> bool {
        self.row.finished_at.is_some() && self.window.after() >= self.row.booked
    }

    /// Revision of the output model in use.
    #[must_use]
    pub fn model_version(&self) -> u32 {
        self.model_version
    }

    /// Whether ranges are written that the target does not hold durably yet.
    #[must_use]
    pub fn collecting(&self) -> bool {
        !self.unsettled.is_empty()
    }

    /// When the oldest record not yet delivered was committed.
    #[must_use]
    pub const fn behind_since(&self) -> Option<DateTime<Utc>> {
        self.behind_since
    }

    /// Pulls and shapes until the window holds enough or the flow's present end is reached.
    /// `until` is the log's head, or where a tick ends; `all` asks for everything through there,
    /// even if the router has not come so far yet; `memory` is what the size allows in flight, in bytes.
    pub async fn fill(
        &mut self,
        lake: &Lake,
        shaper: &PlanCache,
        until: u64,
        all: bool,
        memory: u64,
    ) -> Result<(), FlowError> {
        let end = self.row.ends_at.unwrap_or(until);
        // What is pulled is held once more as it is encoded; one commit is the least that moves.
        let room = usize::try_from(memory / 2).unwrap_or(usize::MAX).clamp(1, PULL_BYTES);
        while self.window.to() < end && self.window.records() < FULL_RECORDS && self.window.bytes() < room as u64 {
            let before = self.window.to();
            match self.following().map(|following| following.next(before)) {
                _ if self.is_history_of_keyed() => self.pull_snapshot(lake, shaper, end).await?,
                None | Some(Next::Unknown) => self.pull_log(lake, shaper, end, room).await?,
                Some(Next::Range(Some((range, found)))) => self.shape(shaper, &range, Some(&found), end).await?,
                // One batch; what follows it may not concern the flow.
                Some(Next::Range(None)) => self.pull_log(lake, shaper, end, 1).await?,
                Some(Next::Nothing(through)) => {
                    self.window.skip(through.min(end));
                    if all && through < end && !self.router_reaches(end).await {
                        self.pull_log(lake, shaper, end, room).await?;
                    } else if all {
                        continue;
                    }
                }
            }
            if self.window.to() == before {
                break;
            }
        }
        Ok(())
    }

    /// The history of what is keyed is its live rows, not its changes (rule 14).
    fn is_history_of_keyed(&self) -> bool {
        self.row.key.lane == Lane::Backfill && self.kind != ElementKind::Events
    }

    /// Whether the router comes to `end` before long.
    async fn router_reaches(&self, end: u64) -> bool {
        let Some(following) = self.following() else { return false };
        tokio::time::timeout(PATIENCE, following.reaches(end)).await.is_ok()
    }

    async fn pull_log(&mut self, lake: &Lake, shaper: &PlanCache, end: u64, bytes: usize) -> Result<(), FlowError> {
        let head = lake.log().head(self.row.key.element);
        let batches = lake.read(self.row.key.element, self.window.to(), bytes).await?;
        if batches.is_empty() {
            // Up to the head that was there before the look, every offset was lost (rule 5).
            self.window.skip(end.min(head).max(self.window.to()));
        }
        for batch in batches {
            if self.window.to() >= end {
                break;
            }
            self.shape(shaper, &batch, None, end).await?;
        }
        Ok(())
    }

    async fn pull_snapshot(&mut self, lake: &Lake, shaper: &PlanCache, end: u64) -> Result<(), FlowError> {
        let begin = || lake.snapshot(self.row.key.element, end, self.window.to()).boxed();
        let mut snapshot = self.snapshot.get_mut().take().unwrap_or_else(begin);
        match snapshot.next().await {
            Some(batch) => {
                let batch = batch?;
                self.shape(shaper, &batch, None, end).await?;
                // Kept only while it goes well: after a failure it begins anew behind the window.
                *self.snapshot.get_mut() = Some(snapshot);
            }
            // Whatever is not live at the end is not part of the history.
            None => self.window.skip(end),
        }
        Ok(())
    }

    async fn shape(
        &mut self,
        shaper: &PlanCache,
        batch: &Arc<LakeBatch>,
        found: Option<&Candidates>,
        end: u64,
    ) -> Result<(), FlowError> {
        let encoded = if self.is_history_of_keyed() {
            // A snapshot belongs to one channel's beginning; sharing it would push the tail out of
            // the cache.
            let (plan, batch) = (Arc::clone(&self.plan), Arc::clone(batch));
            let shaped = tokio::task::spawn_blocking(move || plan.encode_snapshot(&batch));
            Arc::new(shaped.await.map_err(|_| crate::shape::ShapeError::Interrupted)??)
        } else {
            shaper.encode_found(&self.plan, batch, found).await?
        };
        self.window.push(encoded, batch.last.min(end));
        if self.window.records() > 0 {
            self.behind_since.get_or_insert(batch.committed_at);
        }
        Ok(())
    }

    /// Notes that a range was written, with what of it is to be billed.
    pub fn wrote(&mut self, delivery: &Delivery) {
        let delivered = totals(delivery, self.row.booked);
        self.unsettled.push_back(Settled { to: delivery.to, delivered, ..Settled::default() });
        self.passed(delivery.to);
    }

    fn passed(&mut self, to: u64) {
        self.window.advance(to);
        self.unsure = self.unsure.saturating_sub(1);
        if self.window.records() == 0 {
            self.behind_since = None;
        }
    }

    /// Notes that the target holds everything through `through`.
    pub const fn target_holds(&mut self, through: u64) {
        self.through = through;
    }

    /// What may be booked: what was written and the target holds.
    pub fn settle(&mut self) -> Option<Settled> {
        let mut sum: Option<Settled> = None;
        while let Some(next) = self.unsettled.front()
            && next.to <= self.through
        {
            let mut settled = sum.unwrap_or_default();
            settled.to = next.to;
            settled.delivered = settled.delivered.plus(next.delivered);
            settled.over_quota += next.over_quota;
            settled.refused += next.refused;
            sum = Some(settled);
            self.unsettled.pop_front();
        }
        // A repetition of what is booked settles nothing new.
        sum.filter(|settled| settled.to > self.row.booked)
    }

    /// Puts back what could not be booked, to be tried again.
    pub fn unsettle(&mut self, settled: Settled) {
        self.unsettled.push_front(settled);
    }
}

/// Records, bytes and checksum of the records of a delivery that are not booked yet.
#[must_use]
pub fn totals(delivery: &Delivery, booked: u64) -> Totals {
    delivery.parts.iter().fold(Totals::default(), |sum, part| {
        let new = part.encoded.rows_between(booked, u64::MAX);
        let rows = part.rows.start.max(new.start)..part.rows.end;
        if rows.is_empty() {
            return sum;
        }
        let (records, bytes, checksum) =
            (rows.len() as u64, part.encoded.bytes(rows.clone()), part.encoded.checksum(rows));
        sum.plus(Totals { records, bytes, checksum })
    })
}
