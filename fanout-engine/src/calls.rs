//! Calls for channels of which nothing is in memory.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use headgate_database::Signal;
use headgate_types::ChannelId;
use parking_lot::Mutex;

/// Channels that are wanted now, until somebody takes the calls. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Calls(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    channels: Mutex<HashSet<ChannelId>>,
    signal: Signal,
}

impl Calls {
    /// Calls for channels.
    pub fn call(&self, channels: impl IntoIterator<Item = ChannelId>) {
        self.0.channels.lock().extend(channels);
        self.0.signal.wake();
    }

    /// The channels called for since this was asked last.
    #[must_use]
    pub fn take(&self) -> HashSet<ChannelId> {
        std::mem::take(&mut self.0.channels.lock())
    }

    /// Waits for a call, at most `limit`.
    pub async fn wait(&self, limit: Duration) {
        self.0.signal.wait(limit).await;
    }
}
