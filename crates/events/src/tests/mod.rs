//! The promises of this crate, on both databases.

mod endpoints;
mod life;
mod outbox;
mod receiver;
mod sending;

use std::sync::Arc;

use headgate_access::outbound::{GuardedClient, OutboundPolicy};
use headgate_access::{Access, AccessConfig, MasterKey};
use headgate_database::testing::{TestDb, databases};
use headgate_types::{EventId, FakeClock, SharedClock, TenantId};
use secrecy::SecretString;
use serde_json::json;
use url::Url;

use crate::{Endpoint, Event, EventType, Events, NewEndpoint, NewEvent, Sender};

/// A platform of a test's own.
struct World {
    db: TestDb,
    clock: Arc<FakeClock>,
    events: Events,
}

async fn worlds() -> Vec<World> {
    let mut worlds = Vec::new();
    for db in databases().await.unwrap() {
        let clock = FakeClock::at("2026-01-02T03:04:05Z".parse().unwrap());
        let config = AccessConfig::new(Url::parse("https://issuer.example/").unwrap(), "x", MasterKey::generate());
        let access = Access::open(db.control.clone(), clock.clone(), config).await.unwrap();
        let outbound = GuardedClient::new(OutboundPolicy::development()).unwrap();
        let events = Events::new(db.control.clone(), clock.clone(), access, outbound);
        worlds.push(World { db, clock, events });
    }
    worlds
}

impl World {
    fn clock(&self) -> SharedClock {
        self.clock.clone()
    }

    fn sender(&self) -> Sender {
        Sender::new(self.events.clone())
    }

    async fn emit(&self, tenant: TenantId, event_type: EventType, subject: &str) -> EventId {
        let mut tx = self.db.control.tenant(tenant).await.unwrap();
        let new = raw(tenant, event_type, subject, json!({ "subject": subject }));
        let id = crate::emit(&mut tx, &self.clock(), new).await.unwrap();
        tx.commit().await.unwrap();
        self.events.announce();
        id
    }

    async fn log(&self, tenant: TenantId, after: u64) -> Vec<Event> {
        let mut tx = self.db.control.read_tenant(tenant).await.unwrap();
        crate::list(&mut tx, tenant, after, 1_000, &[]).await.unwrap()
    }

    async fn endpoint(&self, tenant: TenantId, url: &str, types: Vec<EventType>) -> (Endpoint, SecretString) {
        let mut tx = self.db.control.tenant(tenant).await.unwrap();
        let new = NewEndpoint { url: url.to_owned(), description: "a test".to_owned(), types };
        let made = self.events.create_endpoint(&mut tx, tenant, new).await.unwrap();
        tx.commit().await.unwrap();
        made
    }

    async fn read(&self, tenant: TenantId, endpoint: &Endpoint) -> Endpoint {
        let mut tx = self.db.control.read_tenant(tenant).await.unwrap();
        crate::endpoints::get(&mut tx, tenant, endpoint.id).await.unwrap()
    }
}

/// An event with any payload.
pub(super) fn raw(
    tenant: TenantId,
    event_type: EventType,
    subject: impl ToString,
    data: serde_json::Value,
) -> NewEvent {
    NewEvent { tenant, event_type, subject: subject.to_string(), data, id: None }
}
