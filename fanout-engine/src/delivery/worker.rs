//! The worker of one channel: takes its flows in turn, a batch at a time.
//!
//! Retry, limits, quota, timing, bisection and accounting happen here, the same for every
//! technology. A channel that is slow or broken costs its own worker's time and nobody else's.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use headgate_types::channel::Lane;
use headgate_types::timing::Timing;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::Instant;

use super::accounts::{self, Refusal};
use super::bisect::{self, Cut};
use super::books::{Settled, span_start};
use super::bucket::Throttle;
use super::flow::{Flow, FlowError, TOGETHER};
use super::quota::{Allowed, Spent, allowed};
use super::retry::Breaker;
use super::terms::Terms;
use super::ticks::Ticks;
use super::{Context, DeliveryError};
use crate::technology::{Delivery, Flush, Sink, SinkError, Written};
use crate::tenant_quotas;

/// Ranges without any record in scope are booked together once they are this long.
pub const EMPTY_RANGE: u64 = 50_000;
/// Failures in a row after which the owner is told: about six seconds of pauses.
const DEGRADED: u32 = 5;
/// Crashes of a sink over the same records before they are taken for refused (DATA-PLANE rule 29).
const CRASHES: u32 = 3;
/// How long a flow goes on before its books are written and another has its turn; a receiver that gets
/// record by record would have a transaction for each otherwise.
const SLICE: Duration = Duration::from_millis(20);
/// How often a channel is looked at whose order is still being carried out.
const INCOMPLETE: Duration = Duration::from_millis(250);
/// How often a sink that collects is asked to publish what is old enough.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// What a turn came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// Something moved; take another.
    Moved,
    /// Nothing to do until the log grows.
    Idle,
    /// Nothing may be done for this long at most.
    Wait {
        /// How long.
        limit: Duration,
        /// Why.
        why: Waiting,
    },
    /// The books of a flow moved without this worker: they have to be read anew, by another one.
    Outdated,
}

/// Why a channel with work to do does not do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// Its size's rate.
    Throttled,
    /// Its order is still being carried out.
    Incomplete(&'static str),
    /// The target, or our own stores, are in the way.
    Broken,
    /// Its quota is used up.
    OverQuota,
    /// Its next tick.
    Tick,
}

/// The worker's state between turns.
#[derive(Debug)]
pub struct Worker {
    pub(super) context: Context,
    terms: Terms,
    sink: Arc<dyn Sink>,
    throttle: Throttle,
    breaker: Breaker,
    spent: Option<Spent>,
    rng: StdRng,
    flushed: Instant,
    /// When the channel delivers.
    pub ticks: Ticks,
    /// Its flows.
    pub flows: Vec<Flow>,
    /// The last failure with its fix, while it lasts.
    pub last_error: Option<String>,
    /// Time spent waiting for the size's rate.
    pub throttled: Duration,
}

impl Worker {
    /// A worker over an open sink.
    #[must_use]
    pub fn new(context: Context, terms: Terms, sink: Arc<dyn Sink>, spent: Option<Spent>, ticks: Ticks) -> Self {
        let now = Instant::now();
        Self {
            throttle: Throttle::new(&terms.limits, now),
            breaker: Breaker::default(),
            rng: StdRng::from_entropy(),
            flushed: now,
            flows: Vec::new(),
            last_error: None,
            throttled: Duration::ZERO,
            context,
            terms,
            sink,
            spent,
            ticks,
        }
    }

    /// Goes on with what another worker of the channel had left of its rate: opening it anew fills no bucket.
    pub fn continue_with(&mut self, throttle: Throttle) {
        self.throttle = throttle;
        self.throttle.resize(&self.terms.limits, Instant::now());
    }

    /// What is left of its rate.
    #[must_use]
    pub const fn throttle(&self) -> &Throttle {
        &self.throttle
    }

    /// Takes over other terms without opening anything anew.
    pub fn retune(&mut self, terms: Terms, timing: &Timing) {
        self.throttle.resize(&terms.limits, Instant::now());
        self.ticks.retune(timing);
        self.terms = terms;
    }

    /// Whether a lane should run.
    pub(super) const fn wants(&self, lane: Lane) -> bool {
        match lane {
            Lane::Live => self.terms.lanes.live,
            Lane::Backfill => self.terms.lanes.backfill,
            Lane::Replay => false,
        }
    }

    /// Whether deliveries have been failing for some seconds, not just once.
    #[must_use]
    pub const fn degraded(&self) -> bool {
        self.breaker.failures() >= DEGRADED
    }

    /// Whether the quota is used up.
    #[must_use]
    pub fn over_quota(&self) -> bool {
        if self.tenant_over().is_some() {
            return true;
        }
        let (Some(quota), Some(spent)) = (&self.terms.quota, self.spent) else { return false };
        let now = self.context.clock.now();
        !matches!(allowed(quota, spent, now, std::iter::once(1)), Allowed::Move { .. })
    }

    /// How long the tenant's own quota holds all of its channels.
    fn tenant_over(&self) -> Option<Duration> {
        self.context.tenant_quotas.held(self.terms.tenant, tenant_quotas::Flow::Delivery, self.context.clock.now())
    }

    /// One round over all flows.
    pub async fn round(&mut self) -> Turn {
        let mut result = Turn::Idle;
        for index in 0..self.flows.len() {
            match self.turn(index).await {
                Turn::Moved => result = Turn::Moved,
                Turn::Idle => {}
                Turn::Outdated => return Turn::Outdated,
                wait @ Turn::Wait { .. } => {
                    result = match result {
                        Turn::Moved => Turn::Moved,
                        earlier => shorter(earlier, wait),
                    };
                }
            }
        }
        if result == Turn::Idle {
            result = self.end_tick().await;
        }
        match self.publish_aged().await {
            Err(Turn::Outdated) => Turn::Outdated,
            _ => result,
        }
    }

    /// One turn of one flow.
    async fn turn(&mut self, index: usize) -> Turn {
        let flow = &self.flows[index];
        if flow.finished() || !self.wants(flow.key().lane) || self.history_first(index) {
            return Turn::Idle;
        }
        if let Some(wait) = self.held() {
            return wait;
        }
        let (begun, mut deliveries) = (Instant::now(), 0);
        let advanced = loop {
            match self.advance(index).await {
                Ok(Turn::Moved) => deliveries += 1,
                Ok(_) if deliveries > 0 => break Ok(Turn::Moved),
                other => break other,
            }
            if deliveries == TOGETHER || begun.elapsed() >= SLICE || self.held().is_some() {
                break Ok(Turn::Moved);
            }
        };
        // Whatever stopped it: what the target has by now is booked.
        let booked = self.book(index).await;
        match advanced.and_then(|turn| booked.map(|()| turn)) {
            Ok(turn) => turn,
            // Whoever drives the worker knows the new terms by now.
            Err(DeliveryError::Superseded) => Turn::Moved,
            Err(error) => self.failed(index, &error),
        }
    }

    /// Whether the element's history is still on its way: the live lane begins behind it, or an
    /// old image could follow a new one.
    pub(super) fn history_first(&self, index: usize) -> bool {
        let key = self.flows[index].key();
        key.lane == Lane::Live
            && self
                .flows
                .iter()
                .any(|flow| flow.key().element == key.element && flow.key().lane == Lane::Backfill && !flow.finished())
    }

    /// Whether the breaker or the rate holds everything.
    fn held(&mut self) -> Option<Turn> {
        let now = Instant::now();
        let broken = self.breaker.wait(now);
        if !broken.is_zero() {
            return Some(Turn::Wait { limit: broken, why: Waiting::Broken });
        }
        let throttled = self.throttle.wait(now);
        if !throttled.is_zero() {
            return Some(Turn::Wait { limit: throttled, why: Waiting::Throttled });
        }
        None
    }

    async fn advance(&mut self, index: usize) -> Result<Turn, DeliveryError> {
        let head = self.context.lake.log().head(self.flows[index].key().element);
        let until = match self.flows[index].key().lane {
            Lane::Live => match self.ticks.until(self.flows[index].key().element, head, self.context.clock.now()) {
                Ok(until) => until,
                Err(limit) => return Ok(Turn::Wait { limit, why: Waiting::Tick }),
            },
            Lane::Backfill | Lane::Replay => head,
        };
        let flow = &mut self.flows[index];
        let memory = self.terms.limits.memory_bytes;
        flow.fill(&self.context.lake, &self.context.shaper, until, self.ticks.running(), memory).await?;
        if flow.window.records() == 0 {
            return self.pass_empty(index).await;
        }
        if let Some(wait) = self.tenant_over() {
            // The operator may raise the quota at any time.
            return Ok(Turn::Wait { limit: wait.min(tenant_quotas::EVERY), why: Waiting::OverQuota });
        }
        let most = match self.within_quota(index) {
            Ok(records) => records.min(self.sink.batch_records()),
            Err(Some(turn)) => return Ok(turn),
            Err(None) => return self.pass_over(index).await,
        };
        let flow = &self.flows[index];
        let most = most.min(self.throttle.fitting(flow.window.sizes().take(most)));
        let repeated = flow.unsure > 0 || flow.window.after() < flow.row.booked;
        let delivery = flow.window.delivery(flow.key(), most, repeated);
        self.deliver(index, delivery).await?;
        Ok(Turn::Moved)
    }

    /// Moves over a range without records, as seldom as possible: each move is a transaction.
    async fn pass_empty(&mut self, index: usize) -> Result<Turn, DeliveryError> {
        let flow = &self.flows[index];
        let waiting = flow.window.to() - flow.window.after();
        let at_end = flow.row.ends_at.is_some_and(|end| flow.window.to() >= end);
        if waiting < EMPTY_RANGE && !at_end {
            return Ok(Turn::Idle);
        }
        let delivery = flow.window.delivery(flow.key(), 0, false);
        let delivery = Delivery { to: flow.window.to(), ..delivery };
        self.write(index, delivery).await?;
        if at_end {
            self.flush(index, Flush::Now).await?;
            if !self.flows[index].finished() {
                // The target collects still; it is asked again before long.
                return Ok(Turn::Idle);
            }
        }
        Ok(Turn::Moved)
    }

    /// How many records may move, or what happens instead: `None` passes them over.
    fn within_quota(&self, index: usize) -> Result<usize, Option<Turn>> {
        let Some(quota) = &self.terms.quota else { return Ok(usize::MAX) };
        let now = self.context.clock.now();
        let spent = self.spent.unwrap_or_else(|| Spent::none(quota, now));
        match allowed(quota, spent, now, self.flows[index].window.sizes()) {
            Allowed::Move { records } => Ok(records),
            Allowed::Reject => Err(None),
            Allowed::Hold { until } => {
                let limit = (until - now).to_std().unwrap_or_default();
                Err(Some(Turn::Wait { limit, why: Waiting::OverQuota }))
            }
        }
    }

    /// Passes over what the quota does not allow.
    async fn pass_over(&mut self, index: usize) -> Result<Turn, DeliveryError> {
        let flow = &self.flows[index];
        let over_quota = flow.window.records() as u64;
        let range = Delivery { to: flow.window.to(), ..flow.window.delivery(flow.key(), 0, false) };
        self.set_aside(index, range, Settled { over_quota, ..Settled::default() }, None).await?;
        Ok(Turn::Moved)
    }

    /// Delivers a range, finding and setting aside the records the target refuses.
    async fn deliver(&mut self, index: usize, delivery: Delivery) -> Result<(), DeliveryError> {
        let mut parts = vec![delivery];
        while let Some(part) = parts.pop() {
            match self.write(index, part.clone()).await {
                Ok(()) => {}
                Err(DeliveryError::Sink(SinkError::Reject { records, reason })) => match bisect::cut(&part, &records) {
                    Cut::Found { offset } => self.refused(index, part, offset, reason).await?,
                    Cut::Parts(smaller) if smaller.is_empty() => {
                        return Err(SinkError::Retry { after: None, reason }.into());
                    }
                    Cut::Parts(smaller) => parts.extend(smaller.into_iter().rev()),
                },
                Err(error) => return Err(error),
            }
        }
        self.flows[index].crashes = 0;
        Ok(())
    }

    /// A sink that panics loses the attempt, not the channel; its cursor says what it holds.
    async fn attempt(&mut self, index: usize, delivery: &Delivery) -> Result<Written, SinkError> {
        if let Ok(result) = AssertUnwindSafe(self.sink.write(delivery)).catch_unwind().await {
            return result;
        }
        let crashes = &mut self.flows[index].crashes;
        *crashes += 1;
        let reason = "the records could not be delivered (processing_crash); this is a fault of Headgate";
        if *crashes < CRASHES {
            return Err(SinkError::retry(reason));
        }
        if delivery.len() == 1 {
            // The next record has to crash as often before it is given up: a sink that fails on
            // everything must not make dead letters of everything.
            *crashes = 0;
        }
        Err(SinkError::Reject { records: Vec::new(), reason: reason.to_owned() })
    }

    /// One write; what the target holds afterwards is booked at the end of the turn.
    async fn write(&mut self, index: usize, delivery: Delivery) -> Result<(), DeliveryError> {
        if !self.terms.standing.holds() {
            return Err(DeliveryError::Superseded);
        }
        let written = self.attempt(index, &delivery).await?;
        headgate_types::reach(headgate_types::Failpoint::TargetWritten);
        self.breaker.succeeded();
        self.last_error = None;
        let flow = &mut self.flows[index];
        let new = super::flow::totals(&delivery, flow.row.booked);
        flow.wrote(&delivery);
        let all = (delivery.len() as u64, delivery.bytes());
        self.throttle.take(all.0, all.1);
        if let Some(quota) = &self.terms.quota {
            let now = self.context.clock.now();
            let spent = self.spent.unwrap_or_else(|| Spent::none(quota, now)).at(quota, now);
            let (records, bytes) = (spent.records + new.records, spent.bytes + new.bytes);
            self.spent = Some(Spent { records, bytes, ..spent });
        }
        metrics::counter!("headgate_delivered_records_total").increment(all.0);
        metrics::counter!("headgate_delivered_bytes_total").increment(all.1);
        self.flows[index].target_holds(written.through);
        Ok(())
    }

    /// Makes a dead letter of the one record of a refused range, and moves on.
    async fn refused(
        &mut self,
        index: usize,
        part: Delivery,
        offset: u64,
        reason: String,
    ) -> Result<(), DeliveryError> {
        let flow = &self.flows[index];
        let record = part.rows().find(|(encoded, row)| encoded.offset(*row) == offset);
        let refusal = record.map(|(encoded, row)| Refusal {
            offset,
            at: self.context.clock.now(),
            reason,
            model_version: flow.model_version(),
            raw: String::from_utf8_lossy(encoded.json(row)).into_owned(),
        });
        let range = Delivery { parts: Vec::new(), ..part };
        self.set_aside(index, range, Settled { refused: 1, ..Settled::default() }, refusal).await
    }

    /// Moves over a range whose records the target does not get. It is in the books before the
    /// target moves past it: the other way round a crash in between would bill them.
    async fn set_aside(
        &mut self,
        index: usize,
        range: Delivery,
        counts: Settled,
        refusal: Option<Refusal>,
    ) -> Result<(), DeliveryError> {
        self.flush(index, Flush::Now).await?;
        let flow = &mut self.flows[index];
        if range.to > flow.row.booked {
            let settled = Settled { to: range.to, ..counts };
            flow.row = accounts::settle(&self.context, &flow.row, &flow.dims, &settled, refusal, self.spent).await?;
        }
        self.sink.write(&range).await?;
        self.flows[index].wrote(&range);
        Ok(())
    }

    async fn flush(&mut self, index: usize, why: Flush) -> Result<(), DeliveryError> {
        if !self.flows[index].collecting() {
            return Ok(());
        }
        let written = self.sink.flush(self.flows[index].key(), why).await?;
        self.flows[index].target_holds(written.through);
        self.book(index).await
    }

    /// Books what the target holds, in one entry.
    async fn book(&mut self, index: usize) -> Result<(), DeliveryError> {
        let flow = &mut self.flows[index];
        let Some(settled) = flow.settle() else { return Ok(()) };
        match accounts::settle(&self.context, &flow.row, &flow.dims, &settled, None, self.spent).await {
            Ok(row) => {
                flow.row = row;
                Ok(())
            }
            Err(error) => {
                flow.unsettle(settled);
                Err(error)
            }
        }
    }

    fn failed(&mut self, index: usize, error: &DeliveryError) -> Turn {
        let asked = match error {
            DeliveryError::Sink(SinkError::Retry { after, .. }) => *after,
            _ => None,
        };
        if let DeliveryError::Sink(SinkError::NotYet(what)) = error {
            return Turn::Wait { limit: INCOMPLETE, why: Waiting::Incomplete(what) };
        }
        let unsure = &mut self.flows[index].unsure;
        *unsure = (*unsure).max(1);
        if matches!(error, DeliveryError::Elsewhere) {
            return Turn::Outdated;
        }
        let limit = self.breaker.failed(Instant::now(), asked, &mut self.rng);
        let (channel, key) = (self.terms.channel, self.flows[index].key());
        if self.breaker.failures() <= 1 {
            tracing::warn!(%channel, element = %key.element, lane = %key.lane, %error, "failed to deliver; will retry");
        }
        metrics::counter!("headgate_delivery_failures_total").increment(1);
        self.last_error = Some(error.told());
        Turn::Wait { limit, why: Waiting::Broken }
    }

    /// At the end of a tick everything collected is published.
    async fn end_tick(&mut self) -> Turn {
        if self.ticks.running() {
            if let Err(turn) = self.publish_all().await {
                return turn;
            }
            self.ticks.ended();
        }
        Turn::Idle
    }

    /// Publishes everything collected: at the end of a tick, at a pause and at the channel's end.
    pub async fn publish_all(&mut self) -> Result<(), Turn> {
        self.publish(Flush::Now).await
    }

    async fn publish(&mut self, why: Flush) -> Result<(), Turn> {
        for index in 0..self.flows.len() {
            if let Err(error) = self.flush(index, why).await {
                return Err(self.failed(index, &error));
            }
        }
        Ok(())
    }

    /// Asks a sink that collects for what is old enough.
    async fn publish_aged(&mut self) -> Result<(), Turn> {
        if self.flushed.elapsed() < FLUSH_EVERY {
            return Ok(());
        }
        self.flushed = Instant::now();
        self.publish(Flush::Age).await
    }

    /// Whether something written waits to be published.
    #[must_use]
    pub fn collecting(&self) -> bool {
        self.flows.iter().any(Flow::collecting)
    }

    /// Whether more may have been sent than the books tell.
    #[must_use]
    pub fn unsure(&self) -> bool {
        self.collecting() || self.flows.iter().any(|flow| flow.unsure > 0)
    }

    /// Cuts what was delivered in a span that is over: a channel that goes quiet must not keep its
    /// last usage open until its next record.
    pub async fn cut_past_usage(&mut self) -> Result<(), DeliveryError> {
        let since = span_start(self.context.clock.now(), self.context.usage_span);
        for flow in &mut self.flows {
            if flow.row.open.records > 0 && flow.row.open.since < since {
                flow.row = accounts::cut(&self.context, &flow.row, &flow.dims).await?;
            }
        }
        Ok(())
    }

    /// Whether anything delivered is not cut into usage yet.
    #[must_use]
    pub fn has_open_usage(&self) -> bool {
        self.flows.iter().any(|flow| flow.row.open.records > 0)
    }

    /// Cuts the open usage of every flow, although its span is not over.
    pub async fn cut_usage(&mut self) -> Result<(), DeliveryError> {
        for flow in &mut self.flows {
            flow.row = accounts::cut(&self.context, &flow.row, &flow.dims).await?;
        }
        Ok(())
    }
}

impl From<FlowError> for DeliveryError {
    fn from(error: FlowError) -> Self {
        match error {
            FlowError::Lake(error) => Self::Lake(error),
            FlowError::Shape(error) => Self::Shape(error),
        }
    }
}

fn shorter(one: Turn, other: Turn) -> Turn {
    match (&one, &other) {
        (Turn::Wait { limit, .. }, Turn::Wait { limit: less, .. }) if less < limit => other,
        (Turn::Wait { .. }, _) => one,
        _ => other,
    }
}
