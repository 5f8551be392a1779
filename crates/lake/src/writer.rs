//! The task that keeps the log short: it rolls tails into Delta, merges files and refreshes the
//! tables of live rows, under a global rate (DATA-PLANE rule 11).

use std::time::Duration;

use headgate_types::ElementId;
use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::lake::Lake;

/// How often the log is looked at. Rolling is decided by size and age, not by this.
const TICK: Duration = Duration::from_secs(1);
/// Part of the log's budget from which tails are rolled whatever their size and age.
const PRESSURE: f64 = 0.5;

/// Rolls the log of a [`Lake`] into its tables.
#[derive(Debug)]
pub struct LakeWriter {
    lake: Lake,
}

/// A tail that waits to be rolled.
#[derive(Debug, Clone, Copy)]
struct Tail {
    element: ElementId,
    bytes: u64,
    /// Age over the age at which it is due; 1 and above is due.
    urgency: f64,
}

impl LakeWriter {
    /// A writer for `lake`; there must be one.
    #[must_use]
    pub fn new(lake: Lake) -> Self {
        Self { lake }
    }

    /// Works until `shutdown`. A failure of one element is logged and tried again at the next
    /// turn; its log meanwhile grows, up to the log's budget.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => {}
            }
            self.run_once(&shutdown).await;
        }
    }

    /// Rolls what is due, at most a tick's share of the commit rate; returns how many elements.
    pub async fn run_once(&self, shutdown: &CancellationToken) -> usize {
        let budget = self.lake.inner.config.commits_per_second.max(1) as usize;
        let due = self.due();
        let mut rolled = 0;
        for tail in due.into_iter().take(budget) {
            if shutdown.is_cancelled() {
                break;
            }
            match self.lake.roll(tail.element).await {
                Ok(()) => rolled += 1,
                Err(error) => tracing::error!(element = %tail.element, %error, "failed to roll a log into Delta"),
            }
        }
        rolled
    }

    /// Tails to roll, most urgent first.
    fn due(&self) -> Vec<Tail> {
        let inner = &self.lake.inner;
        let config = &inner.config;
        let now = inner.clock.now();
        let pressed = inner.log().bytes() as f64 > config.log_bytes as f64 * PRESSURE;
        let mut due: Vec<Tail> = inner
            .log()
            .tails()
            .into_iter()
            .filter_map(|(element, pending)| {
                let age = (now - pending.oldest_at).to_std().unwrap_or_default().as_secs_f64();
                // A full tail is due at once, a small one may wait: its records are as safe and as
                // readable in the log, and few large files are worth more than many small ones.
                let share = config.roll_bytes as f64 / pending.bytes.max(1) as f64;
                let limit = (config.roll_age.as_secs_f64() * share).min(config.roll_age_max.as_secs_f64());
                let urgency = if pending.bytes >= config.roll_bytes { 1.0 + age } else { age / limit.max(0.001) };
                (urgency >= 1.0 || pressed).then_some(Tail { element, bytes: pending.bytes, urgency })
            })
            .collect();
        due.sort_by(|a, b| b.urgency.total_cmp(&a.urgency).then(b.bytes.cmp(&a.bytes)));
        due
    }
}

impl Lake {
    /// Moves everything the log holds of an element into its tables now, whatever its size and age.
    ///
    /// # Errors
    /// A table cannot be written; the log keeps what the tables do not hold.
    pub async fn roll(&self, element: ElementId) -> Result<()> {
        let rolled = async {
            self.inner.roll(element).await?;
            self.inner.refresh_current(element, false).await?;
            self.inner.compact(element).await?;
            Ok(())
        };
        self.inner.poison.judge(rolled.await)
    }

    /// As [`Lake::roll`], and brings the `current` table of a keyed element to the same offset, for
    /// readers outside of Headgate.
    ///
    /// # Errors
    /// As [`Lake::roll`].
    pub async fn publish_tables(&self, element: ElementId) -> Result<()> {
        let published = async {
            self.inner.roll(element).await?;
            self.inner.refresh_current(element, true).await?;
            Ok(())
        };
        self.inner.poison.judge(published.await)
    }
}
