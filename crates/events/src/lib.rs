//! What happened, told in order: a gap-free log of events per tenant, written in the transaction
//! of the change, and three ways to read it: lists, a live feed, and signed webhooks.
//!
//! Called by whoever changes something a tenant wants to hear of ([`emit`]), by the control API
//! (lists, feed, endpoints) and by the binary, which runs the [`Sender`]. It never knows who emits
//! or why: a payload is a type of whoever emits it.
//!
//! After committing a transaction that emitted, call [`Events::announce`]; without it readers and
//! the sender find the event by looking again, a second later.

mod described;
pub mod endpoints;
mod error;
mod event;
mod feed;
mod outbox;
mod sender;
pub mod signing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use headgate_access::Access;
use headgate_access::outbound::GuardedClient;
use headgate_database::Db;
use headgate_types::SharedClock;
use tokio::sync::watch;

pub use described::{Described, EventData, asyncapi};
pub use endpoints::{Attempt, Delivery, DeliveryState, Endpoint, EndpointPatch, EndpointState, NewEndpoint};
pub use error::EventsError;
pub use event::{CloudEvent, Event, EventType, NewEvent};
pub use outbox::{emit, get, head, list};
pub use sender::{EndpointDisabled, Sender, events};

/// Reads, watches and sends events. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Events {
    pub(crate) db: Db,
    pub(crate) clock: SharedClock,
    pub(crate) access: Access,
    pub(crate) outbound: GuardedClient,
    news: Arc<watch::Sender<u64>>,
}

impl Events {
    /// `db` is the control part; endpoints are reached through `outbound` only.
    #[must_use]
    pub fn new(db: Db, clock: SharedClock, access: Access, outbound: GuardedClient) -> Self {
        Self { db, clock, access, outbound, news: Arc::new(watch::Sender::new(0)) }
    }

    /// Wakes every feed and the sender. To be called after the commit, not before.
    pub fn announce(&self) {
        self.news.send_modify(|count| *count = count.wrapping_add(1));
    }
}
