//! The pace of loops that look at everything once in a while.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Waits for the next pass; false when the process stops, and then there is none.
pub(crate) async fn next(every: Duration, shutdown: &CancellationToken) -> bool {
    tokio::select! {
        () = shutdown.cancelled() => false,
        () = tokio::time::sleep(every) => true,
    }
}
