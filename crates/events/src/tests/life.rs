//! Every state of an endpoint and of an event on its way to it, and what becomes of the two.

use std::fmt::Write;

use headgate_types::{EventId, TenantId};

use super::receiver::Receiver;
use super::{World, worlds};
use crate::{DeliveryState, Endpoint, EndpointPatch, EndpointState, EventType, EventsError, endpoints};

/// One endpoint and one event.
struct Case<'a> {
    world: &'a World,
    tenant: TenantId,
    receiver: Receiver,
    endpoint: Endpoint,
    event: EventId,
}

impl<'a> Case<'a> {
    async fn new(world: &'a World) -> Self {
        let (tenant, receiver) = (TenantId::new(), Receiver::start().await);
        let (endpoint, _) = world.endpoint(tenant, &receiver.url, Vec::new()).await;
        let event = world.emit(tenant, EventType::ChannelReady, "1").await;
        Self { world, tenant, receiver, endpoint, event }
    }

    /// The sender takes up what is due, and hears `status`.
    async fn hears(&self, status: u16) -> Result<(), EventsError> {
        self.receiver.answer(&[(status, None)]);
        self.world.sender().run_once().await.map(drop)
    }

    async fn set(&self, state: EndpointState) -> Result<(), EventsError> {
        let mut tx = self.world.db.control.tenant(self.tenant).await?;
        let patch = EndpointPatch { state: Some(state), ..EndpointPatch::default() };
        self.world.events.update_endpoint(&mut tx, self.tenant, self.endpoint.id, patch, None).await?;
        Ok(tx.commit().await?)
    }

    async fn act(&self, operation: &str) -> Result<(), EventsError> {
        let (tenant, id, clock) = (self.tenant, self.endpoint.id, self.world.clock());
        match operation {
            "hears 204" => self.hears(204).await,
            "hears 503" => self.hears(503).await,
            "hears 410" => self.hears(410).await,
            "is disabled" => self.set(EndpointState::Disabled).await,
            "is enabled" => self.set(EndpointState::Active).await,
            "is asked to resend" => {
                let mut tx = self.world.db.control.tenant(tenant).await?;
                endpoints::resend(&mut tx, tenant, id, self.event, &clock).await?;
                Ok(tx.commit().await?)
            }
            _ => {
                let mut tx = self.world.db.control.tenant(tenant).await?;
                endpoints::recover(&mut tx, tenant, id, clock.now() - chrono::TimeDelta::days(1), &clock).await?;
                Ok(tx.commit().await?)
            }
        }
    }

    async fn states(&self) -> (EndpointState, Option<DeliveryState>) {
        let endpoint = self.world.read(self.tenant, &self.endpoint).await.state;
        let mut tx = self.world.db.control.read_tenant(self.tenant).await.unwrap();
        let deliveries = endpoints::deliveries(&mut tx, self.tenant, self.endpoint.id, None, 10).await.unwrap();
        (endpoint, deliveries.iter().find(|delivery| delivery.event == self.event).map(|delivery| delivery.state))
    }
}

#[tokio::test]
async fn what_becomes_of_an_endpoint_and_an_event_is_what_was_reviewed() {
    let operations = [
        "hears 204",
        "hears 503",
        "hears 410",
        "is disabled",
        "is enabled",
        "is asked to resend",
        "is asked to recover",
    ];
    let ways: [&[&str]; 8] = [
        &[],
        &["hears 503"],
        &["hears 503", "is disabled"],
        &["hears 204"],
        &["hears 410", "is enabled"],
        &["is disabled"],
        &["hears 204", "is disabled"],
        &["hears 410"],
    ];
    for world in worlds().await {
        let mut table = String::new();
        for way in ways {
            for operation in operations {
                let case = Case::new(&world).await;
                for step in way {
                    case.act(step).await.unwrap();
                }
                let (endpoint, event) = case.states().await;
                let done = case.act(operation).await;
                let (endpoint_then, event_then) = case.states().await;
                let refused = done.map_or_else(|error| format!(" ({error})"), |()| String::new());
                writeln!(table, "{endpoint:?}, {event:?}, {operation}: {endpoint_then:?}, {event_then:?}{refused}")
                    .unwrap();
            }
        }
        assert_eq!(table, include_str!("life.txt"), "{}\n{table}", world.db.name);
    }
}
