//! What is observed of one data-out channel: written by its task, read by the reconciler and by
//! whoever asks for statistics.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use headgate_types::ElementId;
use headgate_types::channel::{ConditionStatus, ConditionType};
use headgate_types::engine::{ChannelStatistics, FlowStatistics};
use parking_lot::Mutex;

use crate::delivery::store::FlowRow;
use crate::delivery::{Following, Looked, Waiting};

/// The observation, shared.
pub type SharedObserved = Arc<Mutex<Observed>>;

/// What is observed.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// Whether the resource is open, or why not.
    pub serving: Option<Result<(), String>>,
    /// The generation that is served.
    pub generation: u64,
    /// What is wrong with the models, if anything.
    pub incompatible: Option<String>,
    /// The flows.
    pub flows: Vec<FlowView>,
    /// Whether live records flow, or why not.
    pub syncing: Option<Result<(), Halt>>,
    /// Whether the quota is used up.
    pub over_quota: bool,
    /// Whether nothing is in flight any more, for good.
    pub drained: bool,
    /// The last failure with its fix, while it lasts.
    pub last_error: Option<String>,
    /// Whether deliveries have been failing for a while.
    pub degraded: bool,
    /// The resource was found restored or ahead of the log; the owner is to be told once.
    pub restored: Option<String>,
    /// Milliseconds spent waiting for the size's rate.
    pub throttled_ms: u64,
    /// Bytes in the resource.
    pub stored_bytes: u64,
    /// The newest request to cut usage that was carried out.
    pub cut: u64,
    /// How far every flow had looked when the task last found nothing to do; `None` while it works.
    pub idle_at: Option<Vec<Looked>>,
    /// Whether nothing of the channel has to be in memory until something concerns it.
    pub resting: Option<Resting>,
}

/// What a channel that is at rest needs by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resting {
    /// When its resource has to be looked at; None: never.
    pub due: Option<DateTime<Utc>>,
    /// Version of what was wanted of it when it came to rest.
    pub version: u64,
}

/// Why live records do not flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Halt {
    /// Stable word in PascalCase.
    pub reason: &'static str,
    /// For a person.
    pub message: String,
}

/// One flow as observed.
#[derive(Debug, Clone)]
pub struct FlowView {
    /// Its books.
    pub row: FlowRow,
    /// Everything through here was delivered, or found out of scope.
    pub done: u64,
    /// Says what concerns the flow since it was last looked at.
    pub following: Option<Arc<Following>>,
    /// When the oldest record pulled and not delivered was committed.
    pub behind_since: Option<DateTime<Utc>>,
}

impl FlowView {
    /// Everything through here needs nothing more, as far as is known now.
    fn done(&self) -> u64 {
        self.following.as_ref().map_or(self.done, |following| following.clear_through(self.done))
    }
}

/// One condition as it should read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// What is observed.
    pub condition: ConditionType,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Stable word in PascalCase.
    pub reason: &'static str,
    /// For a person.
    pub message: String,
}

impl Reading {
    fn new(condition: ConditionType, holds: bool, reason: &'static str, message: impl Into<String>) -> Self {
        let status = if holds { ConditionStatus::True } else { ConditionStatus::False };
        Self { condition, status, reason, message: message.into() }
    }
}

impl Observed {
    /// The conditions this amounts to. What nobody has looked at yet is left out.
    #[must_use]
    pub fn conditions(&self) -> Vec<Reading> {
        let mut readings = Vec::new();
        if self.drained {
            readings.push(Reading::new(ConditionType::Drained, true, "Drained", "nothing is in flight"));
            readings.push(Reading::new(ConditionType::Serving, false, "Drained", "the channel is closed"));
            readings.push(Reading::new(ConditionType::Syncing, false, "Drained", "the channel is closed"));
            return readings;
        }
        match &self.serving {
            Some(Ok(())) => readings.push(Reading::new(ConditionType::Serving, true, "Open", "the resource is open")),
            Some(Err(why)) => readings.push(Reading::new(ConditionType::Serving, false, "OpenFailed", why)),
            None => {}
        }
        match &self.incompatible {
            None if self.serving.is_some() => {
                readings.push(Reading::new(ConditionType::SchemaCompatible, true, "Compatible", "every model fits"));
            }
            None => {}
            Some(why) => readings.push(Reading::new(ConditionType::SchemaCompatible, false, "ModelRefused", why)),
        }
        if matches!(self.serving, Some(Ok(()))) {
            readings.push(self.initial_load());
            readings.push(if self.over_quota {
                let message =
                    "the quota of the channel or of its tenant is used up; raise it or wait for the next period";
                Reading::new(ConditionType::QuotaOk, false, "QuotaExceeded", message)
            } else {
                Reading::new(ConditionType::QuotaOk, true, "WithinQuota", "within the quota")
            });
        }
        match &self.syncing {
            Some(Ok(())) => readings.push(Reading::new(ConditionType::Syncing, true, "Live", "live records flow")),
            Some(Err(halt)) => readings.push(Reading::new(ConditionType::Syncing, false, halt.reason, &halt.message)),
            None => {}
        }
        readings
    }

    fn initial_load(&self) -> Reading {
        let history = || self.flows.iter().filter(|flow| flow.row.ends_at.is_some());
        if history().all(|flow| flow.row.finished_at.is_some()) {
            return Reading::new(ConditionType::InitialLoadComplete, true, "Loaded", "the history is in the channel");
        }
        let (mut done, mut all) = (0, 0);
        for flow in history() {
            let end = flow.row.ends_at.unwrap_or(0);
            done += flow.row.booked.min(end) - flow.row.starts_after.min(end);
            all += end - flow.row.starts_after.min(end);
        }
        // In hundredths: how many offsets there are is not for whom a grant withholds some.
        let message =
            format!("{} % of the history", (u128::from(done) * 100).checked_div(u128::from(all)).unwrap_or(0));
        Reading::new(ConditionType::InitialLoadComplete, false, "Loading", message)
    }

    /// The statistics this amounts to, when the logs end where `head` says. How many records wait is told of elements
    /// that are `open`: of which no grant withholds anything.
    pub fn statistics(
        &self,
        now: DateTime<Utc>,
        head: impl Fn(ElementId) -> u64,
        open: &HashSet<ElementId>,
    ) -> ChannelStatistics {
        let flows = self.flows.iter().map(|flow| {
            let row = &flow.row;
            let end = row.ends_at.unwrap_or_else(|| head(row.key.element));
            let behind = end.saturating_sub(flow.done());
            let age = flow.behind_since.filter(|_| behind > 0).map(|since| (now - since).num_seconds());
            FlowStatistics {
                element: row.key.element,
                lane: row.key.lane,
                records: row.totals.records,
                bytes: row.totals.bytes,
                checksum: row.totals.checksum,
                caught_up: behind == 0,
                lag_records: open.contains(&row.key.element).then_some(behind),
                lag_seconds: age.and_then(|age| u64::try_from(age).ok()).unwrap_or(0),
                last_delivery_at: row.last_delivery_at,
            }
        });
        ChannelStatistics {
            flows: flows.collect(),
            last_error: self.last_error.clone(),
            throttled_ms: self.throttled_ms,
            dead_letters: 0,
            stored_bytes: self.stored_bytes,
        }
    }
}

/// What a wait says of the live lane.
#[must_use]
pub fn halt(why: Waiting, last_error: Option<&str>) -> Option<Halt> {
    match why {
        Waiting::Throttled | Waiting::Tick => None,
        Waiting::Incomplete(what) => Some(Halt { reason: "Incomplete", message: what.to_owned() }),
        Waiting::OverQuota => {
            Some(Halt { reason: "QuotaExceeded", message: "records wait for the next quota period".to_owned() })
        }
        Waiting::Broken => {
            Some(Halt { reason: "TargetUnavailable", message: last_error.unwrap_or("the target failed").to_owned() })
        }
    }
}
