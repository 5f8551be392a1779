//! The routers of open channels, for the data listener.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
    reads: Arc<Reads>,
}

#[derive(Debug)]
struct Reads {
    under_way: AtomicUsize,
    /// When the last one began or ended.
    last: Mutex<Instant>,
}

/// A read under way; it ends with this.
#[derive(Debug)]
pub struct Read(Arc<Reads>);

impl Drop for Read {
    fn drop(&mut self) {
        *self.0.last.lock() = Instant::now();
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Served {
    /// A channel that nobody has read yet.
    #[must_use]
    pub fn new(tenant: TenantId, router: Router) -> Self {
        let reads = Reads { under_way: AtomicUsize::new(0), last: Mutex::new(Instant::now()) };
        Self { tenant, router, reads: Arc::new(reads) }
    }

    /// Begins a read.
    #[must_use]
    pub fn read(&self) -> Read {
        self.reads.under_way.fetch_add(1, Ordering::SeqCst);
        *self.reads.last.lock() = Instant::now();
        Read(Arc::clone(&self.reads))
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
        channels.resting.insert(channel, tenant);
        true
    }

    /// Readers' calls for channels that rest.
    pub(crate) fn calls(&self) -> &Calls {
        &self.0.calls
    }
}
