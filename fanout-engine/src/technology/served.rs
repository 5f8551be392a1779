//! The routers of open channels, for the data listener.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use headgate_types::{ChannelId, TenantId};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::calls::Calls;

/// How long a reader waits for a channel that rests.
const PATIENCE: Duration = Duration::from_secs(15);

/// What the data listener needs to know of a channel it serves reads for.
#[derive(Debug, Clone)]
pub struct Served {
    /// Whose channel it is; another tenant's token gets 404.
    pub tenant: TenantId,
    /// Paths relative to `/v1/out/{channel}`.
    pub router: Router,
    /// Reads that its size allows at once.
    connections: u32,
    reads: Arc<Reads>,
}

/// The reads of one channel, however often it is opened anew meanwhile.
#[derive(Debug)]
pub struct Reads {
    under_way: AtomicU32,
    /// When the last one began or ended.
    last: Mutex<Instant>,
}

impl Default for Reads {
    fn default() -> Self {
        Self { under_way: AtomicU32::new(0), last: Mutex::new(Instant::now()) }
    }
}

/// A read under way; it ends with the last clone of this.
#[derive(Debug, Clone)]
pub struct Read {
    _begun: Arc<Begun>,
}

#[derive(Debug)]
struct Begun(Arc<Reads>);

impl Drop for Begun {
    fn drop(&mut self) {
        *self.0.last.lock() = Instant::now();
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Served {
    /// A channel whose size allows so many reads at once; at least one.
    #[must_use]
    pub fn new(tenant: TenantId, router: Router, connections: u32, reads: Arc<Reads>) -> Self {
        Self { tenant, router, connections: connections.max(1), reads }
    }

    /// Begins a read; `None` while as many are under way as the size allows.
    #[must_use]
    pub fn read(&self) -> Option<Read> {
        let one_more = |under_way| (under_way < self.connections).then_some(under_way + 1);
        self.reads.under_way.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).ok()?;
        *self.reads.last.lock() = Instant::now();
        Some(Read { _begun: Arc::new(Begun(Arc::clone(&self.reads))) })
    }

    fn quiet(&self, since: Duration) -> bool {
        self.reads.under_way.load(Ordering::SeqCst) == 0 && self.reads.last.lock().elapsed() >= since
    }
}

/// The channels that can be read. The runtime writes it, the data listener reads it: it
/// strips `/v1/out/{channel}` from the path, authenticates, and hands the request to the router.
#[derive(Debug, Clone, Default)]
pub struct ServedChannels(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    channels: RwLock<Channels>,
    /// Changes whenever a channel is mounted.
    mounted: watch::Sender<u64>,
    calls: Calls,
}

#[derive(Debug, Default)]
struct Channels {
    open: HashMap<ChannelId, Served>,
    /// Channels that are opened once somebody reads.
    resting: HashMap<ChannelId, TenantId>,
}

impl ServedChannels {
    /// The channel, if it is open and serves reads.
    #[must_use]
    pub fn get(&self, channel: ChannelId) -> Option<Served> {
        self.0.channels.read().open.get(&channel).cloned()
    }

    /// Whose channel this is, if it can be read: at once, or by [`ServedChannels::reach`].
    #[must_use]
    pub fn tenant(&self, channel: ChannelId) -> Option<TenantId> {
        let channels = self.0.channels.read();
        channels.open.get(&channel).map(|served| served.tenant).or_else(|| channels.resting.get(&channel).copied())
    }

    /// The channel, opened if it rests. `None`: it serves no reads, or cannot be opened now.
    pub async fn reach(&self, channel: ChannelId) -> Option<Served> {
        let mut mounted = self.0.mounted.subscribe();
        if let Some(served) = self.get(channel) {
            return Some(served);
        }
        self.tenant(channel)?;
        self.0.calls.call([channel]);
        let opened = async {
            loop {
                if let Some(served) = self.get(channel) {
                    return Some(served);
                }
                // The sender is this very object's, so it cannot be gone.
                mounted.changed().await.ok()?;
            }
        };
        tokio::time::timeout(PATIENCE, opened).await.ok()?
    }

    /// Mounts a channel, in place of what was mounted before.
    pub fn mount(&self, channel: ChannelId, served: Served) {
        {
            let mut channels = self.0.channels.write();
            channels.resting.remove(&channel);
            channels.open.insert(channel, served);
        }
        self.0.mounted.send_modify(|mounted| *mounted += 1);
    }

    /// Unmounts a channel; requests in flight end by themselves or by the sink's `close`.
    pub fn unmount(&self, channel: ChannelId) {
        let mut channels = self.0.channels.write();
        channels.open.remove(&channel);
    }

    /// Forgets a channel that rested and will not be opened.
    pub(crate) fn forget(&self, channel: ChannelId) {
        self.0.channels.write().resting.remove(&channel);
    }

    /// Unmounts a channel that nobody reads or has read for `quiet`; whoever reads calls for it.
    /// `false`: somebody reads. A channel that serves no reads has none.
    pub(crate) fn rest(&self, channel: ChannelId, quiet: Duration) -> bool {
        let mut channels = self.0.channels.write();
        let Some(served) = channels.open.get(&channel) else { return true };
        if !served.quiet(quiet) {
            return false;
        }
        let tenant = served.tenant;
        channels.open.remove(&channel);
        if channels.open.capacity() > 4 * channels.open.len() {
            channels.open.shrink_to_fit();
        }
        channels.resting.insert(channel, tenant);
        true
    }

    /// Readers' calls for channels that rest.
    pub(crate) fn calls(&self) -> &Calls {
        &self.0.calls
    }
}
