//! The pace of loops that look at everything once in a while, and waiting for one look.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use headgate_catalog::channels::{self, ChannelHead};
use headgate_database::{Db, Signal};
use headgate_types::channel::Direction;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::EngineFault;

/// A lost wake costs whoever waits for a pass this much.
const WAKE_AGAIN: Duration = Duration::from_millis(200);
/// Every channel is listed this often even when none has another version.
const LIST_ANYWAY: Duration = Duration::from_secs(300);

/// Waits for the next pass; false when the process stops, and then there is none.
pub(crate) async fn next(every: Duration, shutdown: &CancellationToken) -> bool {
    tokio::select! {
        () = shutdown.cancelled() => false,
        () = tokio::time::sleep(every) => true,
    }
}

/// Counts the passes of a loop, so that others can wait for one.
#[derive(Debug)]
pub(crate) struct Passes {
    begun: AtomicU64,
    complete: watch::Sender<u64>,
}

impl Default for Passes {
    fn default() -> Self {
        Self { begun: AtomicU64::new(0), complete: watch::Sender::new(0) }
    }
}

impl Passes {
    /// A pass begins; what it returns goes to [`Self::complete`] if the pass came to its end.
    pub(crate) fn begin(&self) -> u64 {
        self.begun.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// A pass came to its end.
    pub(crate) fn complete(&self, pass: u64) {
        self.complete.send_modify(|complete| *complete = pass.max(*complete));
    }

    /// Waits until a pass that began after this call is complete.
    pub(crate) async fn passed(&self, wake: &Signal) {
        let mut complete = self.complete.subscribe();
        // The pass under way may have looked already.
        let target = self.begun.load(Ordering::SeqCst) + 1;
        while *complete.borrow_and_update() < target {
            wake.wake();
            let changed = tokio::time::timeout(WAKE_AGAIN, complete.changed()).await;
            if matches!(changed, Ok(Err(_))) {
                return;
            }
        }
    }
}

/// The channels of one direction, as they were when all of them ran as they are wanted: until one has another version
/// they need not be listed.
#[derive(Debug)]
pub(crate) struct Followed {
    direction: Direction,
    then: Mutex<Option<(u64, Instant)>>,
}

/// The channels there are, and the sum of their versions.
#[derive(Debug)]
pub(crate) struct Listed {
    pub heads: Vec<ChannelHead>,
    pub versions: u64,
}

impl Followed {
    pub(crate) const fn new(direction: Direction) -> Self {
        Self { direction, then: Mutex::new(None) }
    }

    /// The channels, if any of them changed or `anyway`.
    pub(crate) async fn look(&self, control: &Db, anyway: bool) -> Result<Option<Listed>, EngineFault> {
        let mut tx = control.read_platform().await?;
        let versions = channels::versions(&mut tx, self.direction).await?;
        let then = *self.then.lock();
        if !anyway && then.is_some_and(|(then, at)| then == versions && at.elapsed() < LIST_ANYWAY) {
            return Ok(None);
        }
        Ok(Some(Listed { heads: channels::heads(&mut tx, Some(self.direction)).await?, versions }))
    }

    /// Whether all that were listed with these versions run as they are wanted.
    pub(crate) fn note(&self, versions: u64, all: bool) {
        *self.then.lock() = all.then(|| (versions, Instant::now()));
    }

    /// One does not any more: the next look lists them all.
    pub(crate) fn forget(&self) {
        *self.then.lock() = None;
    }
}
