//! What a worker is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use headgate_catalog::Lanes;
use headgate_types::limits::Limits;
use headgate_types::timing::Quota;
use headgate_types::{ChannelId, TenantId};

/// Whether what a worker was told still stands. It is asked again at every send (DATA-PLANE rule 22).
#[derive(Debug, Clone)]
pub struct Standing {
    /// The version of the channel's row that the terms were made from.
    pub version: u64,
    /// The newest one.
    pub newest: Arc<AtomicU64>,
}

impl Standing {
    /// Whether nothing newer is known.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.newest.load(Ordering::SeqCst) == self.version
    }
}

/// What a channel is to do, as far as delivery is concerned.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Whether the rest still stands.
    pub standing: Standing,
    /// Whose channel it is.
    pub tenant: TenantId,
    /// The channel.
    pub channel: ChannelId,
    /// What its size allows.
    pub limits: Limits,
    /// What it may move per period.
    pub quota: Option<Quota>,
    /// The lanes that should run.
    pub lanes: Lanes,
}
