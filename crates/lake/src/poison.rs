//! The sign that a store must not be written any more.

use tokio::sync::watch;

use crate::durable::is_sync_failure;
use crate::error::{LakeError, Result};

/// Set once, when a sync failed or a committer thread ended by a panic: what the disk holds is
/// then unknown until the files are opened again (DATA-PLANE rule 36).
#[derive(Debug, Clone)]
pub(crate) struct Poison {
    sign: watch::Sender<bool>,
}

impl Poison {
    pub(crate) fn new() -> Self {
        Self { sign: watch::Sender::new(false) }
    }

    pub(crate) fn set(&self) {
        self.sign.send_replace(true);
    }

    pub(crate) fn is_set(&self) -> bool {
        *self.sign.borrow()
    }

    /// Is set when what was tried failed at a sync.
    pub(crate) fn judge<T>(&self, result: Result<T>) -> Result<T> {
        match result {
            Err(error) if is_sync_failure(&error) => {
                tracing::error!(%error, "a sync failed: what the disk holds is unknown until the next start");
                self.set();
                Err(LakeError::Poisoned)
            }
            other => other,
        }
    }

    /// Returns when it is set.
    pub(crate) async fn wait(&self) {
        // The sender is `self`, so the channel cannot close while this waits.
        let _ = self.sign.subscribe().wait_for(|set| *set).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_ends_when_it_is_set_before_or_after() {
        let poison = Poison::new();
        let other = poison.clone();
        let waiting = tokio::spawn(async move { other.wait().await });
        poison.set();
        waiting.await.unwrap();
        poison.wait().await;
        assert!(poison.is_set());
    }
}
