//! An open data-in channel.

use std::collections::HashMap;
use std::sync::Arc;

use headgate_catalog::Feed;
use headgate_types::limits::Limits;
use headgate_types::timing::Timing;
use headgate_types::{ChannelId, TenantId};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::source::CloudSource;
use super::writer::Writer;
use crate::conform::InputPlan;
use crate::delivery::Throttle;

/// Whether payloads are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// They are.
    Open,
    /// Not now: the tenant paused the channel, or the platform suspended it.
    Paused,
    /// Never again; what was landed is still conformed.
    Draining,
}

/// An open data-in channel as its catalog row describes it.
#[derive(Debug)]
pub struct OpenChannel {
    /// Its owner.
    pub tenant: TenantId,
    /// Its id.
    pub id: ChannelId,
    /// The catalog's version this was made from.
    pub version: u64,
    /// Its profile, for the bill.
    pub profile: String,
    /// Its size, for the bill.
    pub size: String,
    /// Whether payloads are taken.
    pub gate: Gate,
    /// What its size allows.
    pub limits: Limits,
    /// When landed payloads are conformed.
    pub timing: Timing,
    /// Its feeds by name.
    pub feeds: HashMap<String, Arc<OpenFeed>>,
    /// Requests open at once.
    pub connections: Arc<Semaphore>,
    /// Bytes per second at the door.
    pub landing: Mutex<Throttle>,
    /// Records per second while conforming.
    pub conforming: Mutex<Throttle>,
    /// Where payloads are fetched from; None where they are posted, and while none are taken.
    pub source: Option<CloudSource>,
}

/// One open feed.
#[derive(Debug)]
pub struct OpenFeed {
    /// Its row.
    pub feed: Feed,
    /// Its model, compiled.
    pub plan: Arc<InputPlan>,
    /// The writer of its element.
    pub writer: Arc<Writer>,
}

impl OpenChannel {
    /// Full buckets for the limits.
    pub fn throttle(limits: &Limits) -> Mutex<Throttle> {
        Mutex::new(Throttle::new(limits, Instant::now()))
    }

    /// As many requests at once as the limits allow.
    pub fn connections(limits: &Limits) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(limits.connections.max(1) as usize))
    }
}
