//! A sync that failed is the end of the process.
//!
//! What was written may be gone although it can still be read, and a later sync may succeed without it: the kernel
//! tells of a failure once, and takes the pages for written from then on (DATA-PLANE rule 36). A restart reads what is
//! really there.

use std::fmt::Display;
use std::sync::LazyLock;

use tokio::sync::watch;

/// Whether a file could not be synced. It is a matter of the process, so one signal serves every part.
static UNSYNCED: LazyLock<watch::Sender<bool>> = LazyLock::new(watch::Sender::default);

/// Says that a file of `what` could not be synced: a database's, or one that is kept beside them.
pub fn report_failed_sync(what: &str, error: &dyn Display) {
    tracing::error!(%error, "a file of {what} could not be synced");
    UNSYNCED.send_replace(true);
}

/// Waits until a file could not be synced: the process has to end.
pub async fn sync_failed() {
    // The sender is static.
    let _ = UNSYNCED.subscribe().wait_for(|failed| *failed).await;
}
