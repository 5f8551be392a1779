//! The routers of open channels, for the data listener.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use headgate_types::{ChannelId, TenantId};
use parking_lot::RwLock;

/// What the data listener needs to know of a channel it serves reads for.
#[derive(Debug, Clone)]
pub struct Served {
    /// Whose channel it is; another tenant's token gets 404.
    pub tenant: TenantId,
    /// Paths relative to `/v1/out/{channel}`.
    pub router: Router,
}

/// The open channels that can be read. The runtime writes it, the data listener reads it: it
/// strips `/v1/out/{channel}` from the path, authenticates, and hands the request to the router.
#[derive(Debug, Clone, Default)]
pub struct ServedChannels(Arc<RwLock<HashMap<ChannelId, Served>>>);

impl ServedChannels {
    /// The channel, if it is open and serves reads.
    #[must_use]
    pub fn get(&self, channel: ChannelId) -> Option<Served> {
        self.0.read().get(&channel).cloned()
    }

    /// Mounts a channel, in place of what was mounted before.
    pub fn mount(&self, channel: ChannelId, served: Served) {
        self.0.write().insert(channel, served);
    }

    /// Unmounts a channel; requests in flight end by themselves or by the sink's `close`.
    pub fn unmount(&self, channel: ChannelId) {
        self.0.write().remove(&channel);
    }
}
