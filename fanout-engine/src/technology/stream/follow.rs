//! A reader that follows the ring.

use std::sync::Arc;
use std::time::Duration;

use headgate_types::{ErrorKind, Problem};
use tokio::sync::watch;

use super::block::Kept;
use super::query::check;
use super::ring::{Ends, Ring};
use crate::technology::SinkError;

/// Bytes read from the store at once: what one slow reader may hold.
const READ_BYTES: usize = 1 << 20;

/// Follows the ring from a position on.
pub struct Follower {
    ring: Arc<Ring>,
    ends: watch::Receiver<Ends>,
    closed: watch::Receiver<bool>,
    position: u64,
    element: Option<String>,
}

/// What came next.
pub enum Next {
    /// Records, in order; at least one.
    Records(Vec<Kept>),
    /// Nothing within the time given.
    Nothing,
    /// The channel closed.
    Closed,
}

impl Follower {
    /// A reader behind `position`, of one element or of all.
    pub fn new(ring: Arc<Ring>, position: u64, element: Option<String>) -> Self {
        let (ends, closed) = (ring.ends(), ring.closed());
        Self { ring, ends, closed, position, element }
    }

    /// The last position looked at.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// The next records, waiting for them at most `limit`.
    ///
    /// # Errors
    /// 410 when the ring overtook the reader, 503 when the store fails.
    pub async fn next(&mut self, count: usize, limit: Duration) -> Result<Next, Problem> {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            if *self.closed.borrow() {
                return Ok(Next::Closed);
            }
            let records = self.read(count).await?;
            if !records.is_empty() {
                return Ok(Next::Records(records));
            }
            tokio::select! {
                changed = self.ends.changed() => if changed.is_err() { return Ok(Next::Closed) },
                changed = self.closed.changed() => if changed.is_err() { return Ok(Next::Closed) },
                () = tokio::time::sleep_until(deadline) => return Ok(Next::Nothing),
            }
        }
    }

    /// What there is now of the wanted element; skips over whole reads of others.
    async fn read(&mut self, count: usize) -> Result<Vec<Kept>, Problem> {
        loop {
            let ends = *self.ends.borrow_and_update();
            check(self.position, ends)?;
            if self.position >= ends.last {
                return Ok(Vec::new());
            }
            let mut records = self.ring.read(self.position, count, READ_BYTES).await.map_err(unavailable)?;
            // The ring may have been trimmed between the check and the read.
            check(self.position, *self.ends.borrow())?;
            // Positions above the last record are unused numbers of an earlier run.
            self.position = records.last().map_or(ends.last, |record| record.position);
            if let Some(element) = &self.element {
                records.retain(|record| *record.element == **element);
            }
            if !records.is_empty() {
                return Ok(records);
            }
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function of map_err")]
fn unavailable(error: SinkError) -> Problem {
    tracing::warn!(%error, "failed to read a stream");
    Problem::new(ErrorKind::Unavailable, "stream_unavailable", "the stream cannot be read right now")
        .with_retry_after(2)
}
