//! The pace of loops that look at everything once in a while, and waiting for one look.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use headgate_database::Signal;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A lost wake costs whoever waits for a pass this much.
const WAKE_AGAIN: Duration = Duration::from_millis(200);

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
