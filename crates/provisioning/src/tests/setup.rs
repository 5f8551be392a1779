//! What the other crates' tables hold before an order is placed.

use headgate_access::outbound::{GuardedClient, OutboundPolicy};
use headgate_access::tenants::{self, Quotas};
use headgate_access::{Access, AccessConfig, MasterKey};
use headgate_catalog::channels::{self, ChannelSpec, FeedSpec, InSpec, NewChannel, OutSpec};
use headgate_catalog::elements::{self, ElementSpec, Metadata, NewElement};
use headgate_catalog::feeds::{self, NewFeed};
use headgate_database::{Db, Tx, args};
use headgate_events::Events;
use headgate_types::channel::Direction;
use headgate_types::schema::{DataType, ElementKind, Field, Schema};
use headgate_types::selection::SelectionItem;
use headgate_types::{ChannelId, Clock, ElementId, SharedClock, TenantId};

use crate::orders::PinnedSize;
use crate::profiles::Profiles;

pub(super) async fn access(control: &Db, clock: &SharedClock) -> Access {
    let issuer = "https://headgate.example.org".parse().unwrap();
    let config = AccessConfig::new(issuer, "headgate", MasterKey::from_bytes([7; 32]));
    Access::open(control.clone(), clock.clone(), config).await.unwrap()
}

pub(super) fn events(control: &Db, clock: &SharedClock, access: &Access) -> Events {
    let outbound = GuardedClient::new(OutboundPolicy::default()).unwrap();
    Events::new(control.clone(), clock.clone(), access.clone(), outbound)
}

pub(super) async fn tenant(tx: &mut Tx, clock: &SharedClock) -> TenantId {
    tenants::create(tx, "Ditch & Sons", Quotas::default(), clock).await.unwrap().id
}

pub(super) async fn suspend(tx: &mut Tx, tenant: TenantId, clock: &SharedClock) {
    tenants::suspend(tx, tenant, clock).await.unwrap();
}

pub(super) async fn release(tx: &mut Tx, tenant: TenantId, clock: &SharedClock) {
    tenants::resume(tx, tenant, clock).await.unwrap();
}

/// A new channel: `http` with a new element, or another profile over somebody's element; with a principal
/// of the client's own.
pub(super) async fn channel_of(
    tx: &mut Tx,
    tenant: TenantId,
    (direction, profile): (Direction, &str),
    client_principal: Option<String>,
    clock: &dyn Clock,
) -> ChannelId {
    let now = clock.now();
    let (id, element) = (ChannelId::new(), ElementId::new());
    let spec = match direction {
        Direction::In => {
            let feed = FeedSpec {
                name: "readings".to_owned(),
                new_element: Some(element_spec(element)),
                ..FeedSpec::default()
            };
            ChannelSpec::In(InSpec { feeds: vec![feed], client_principal, ..InSpec::default() })
        }
        Direction::Out => {
            let data = vec![SelectionItem { element: Some(element), ..SelectionItem::default() }];
            ChannelSpec::Out(OutSpec { data, client_principal, ..OutSpec::default() })
        }
    };
    let size = PinnedSize::of(&Profiles::embedded().unwrap(), direction, profile, "Small").unwrap().into();
    let new = NewChannel { id, tenant, profile: profile.to_owned(), size, name: "gate".to_owned(), spec };
    channels::insert(tx, &new, now).await.unwrap();
    if direction == Direction::In {
        let new = NewElement { id: element, tenant, spec: element_spec(element) };
        elements::insert(tx, &new, now).await.unwrap();
        let feed = NewFeed {
            tenant,
            channel: id,
            name: "readings".to_owned(),
            element,
            input_model: headgate_types::model::InputModel::default(),
        };
        feeds::insert(tx, &feed, now).await.unwrap();
    }
    id
}

fn element_spec(id: ElementId) -> ElementSpec {
    ElementSpec {
        name: format!("levels/{}", id.uuid().simple()),
        kind: ElementKind::Events,
        metadata: Metadata {
            context: "gauges along the main ditch".to_owned(),
            source: "test".to_owned(),
            format: "JSON".to_owned(),
            what: "one water level".to_owned(),
            identified_by: "gauge and time".to_owned(),
            ..Metadata::default()
        },
        schema: Schema { fields: vec![Field::new("level", DataType::Float64)] },
        facets: Default::default(),
        nodes: Vec::new(),
    }
}

/// The elements a channel's feeds write into, with their states.
pub(super) async fn element_states(tx: &mut Tx, tenant: TenantId) -> Vec<String> {
    let rows: Vec<(String,)> =
        tx.fetch_all("SELECT state FROM elements WHERE tenant_id = $1", args![tenant]).await.unwrap();
    rows.into_iter().map(|(state,)| state).collect()
}

/// The types of a tenant's events, in order.
pub(super) async fn event_types(tx: &mut Tx, tenant: TenantId) -> Vec<String> {
    let rows: Vec<(String,)> =
        tx.fetch_all("SELECT type FROM outbox WHERE tenant_id = $1 ORDER BY sequence", args![tenant]).await.unwrap();
    let short = |(name,): (String,)| name.trim_start_matches("io.headgate.").trim_end_matches(".v1").to_owned();
    rows.into_iter().map(short).collect()
}
