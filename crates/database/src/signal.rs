//! A signal that only wakes: the work is found in the table.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

/// Wakes whoever waits, once per call at most. A wake that comes while nobody waits is kept for
/// the next waiter, so none is lost between looking at the table and going to sleep.
#[derive(Debug, Clone, Default)]
pub struct Signal(Arc<Notify>);

impl Signal {
    /// Wakes one waiter, now or when it comes.
    pub fn wake(&self) {
        self.0.notify_one();
    }

    /// Waits for a wake, at most `limit`: the floor under a signal that was lost with its process.
    pub async fn wait(&self, limit: Duration) {
        // A time-out is a wake like any other.
        let _ = tokio::time::timeout(limit, self.0.notified()).await;
    }
}
