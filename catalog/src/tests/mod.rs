//! The promises of the catalog, on both databases.

mod channel_life;
mod element_life;
mod finding;
mod granting;
mod isolation;
mod selections;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use headgate_database::Db;
use headgate_types::limits::Limits;
use headgate_types::model::OutputModel;
use headgate_types::schema::{DataType, ElementKind, Field, Schema};
use headgate_types::selection::{Policy, SelectionItem};
use headgate_types::{ChannelId, ElementId, TenantId};

use crate::channels::{self, ChannelSpec, InSpec, NewChannel, OutSpec, PinnedSize};
use crate::elements::{self, ElementSpec, Metadata, NewElement};
use crate::feeds::{self, NewFeed};
use crate::grants::{self, Grant, Grantee, NewGrant};
use crate::subscriptions;
use crate::{Channel, Element, FeedSpec};

fn now() -> DateTime<Utc> {
    "2026-01-02T03:04:05.678901Z".parse().unwrap()
}

fn later(seconds: i64) -> DateTime<Utc> {
    now() + chrono::TimeDelta::seconds(seconds)
}

fn element_spec(name: &str) -> ElementSpec {
    let schema = Schema {
        fields: vec![
            Field::new("station", DataType::String).as_key(),
            Field::new("temp", DataType::Float64),
            Field::new("secret_note", DataType::String),
        ],
    };
    let metadata = Metadata {
        context: "weather stations".into(),
        source: "NOAA".into(),
        format: "CSV, hourly".into(),
        what: "one observation".into(),
        identified_by: "station".into(),
        tags: vec!["Climate".into()],
        price_key: Some("premium".into()),
        ..Metadata::default()
    };
    let facets = BTreeMap::from([("region".to_owned(), "us-east".to_owned())]);
    ElementSpec { name: name.into(), kind: ElementKind::Entity, metadata, schema, facets, nodes: Vec::new() }
}

async fn published(db: &Db, owner: TenantId, spec: ElementSpec) -> Element {
    let mut tx = db.tenant(owner).await.unwrap();
    let new = NewElement { id: ElementId::new(), tenant: owner, spec };
    let element = elements::insert(&mut tx, &new, now()).await.unwrap();
    elements::publish(&mut tx, owner, element.id, now()).await.unwrap();
    tx.commit().await.unwrap();
    element
}

async fn granted(db: &Db, owner: TenantId, element: ElementId, grantee: Grantee, policy: Policy) -> Grant {
    let mut tx = db.tenant(owner).await.unwrap();
    let grant = grants::grant(&mut tx, &NewGrant { owner, element, grantee, policy }, now()).await.unwrap();
    tx.commit().await.unwrap();
    grant
}

fn size(key: &str) -> PinnedSize {
    let limits = Limits {
        records_per_second: 100,
        bytes_per_second: 1_000,
        connections: 4,
        retention_bytes: 1 << 20,
        retention_seconds: 0,
        memory_bytes: 1 << 20,
        payload_bytes: 1 << 16,
    };
    PinnedSize { size: key.into(), profile_revision: 1, limits }
}

fn new_out(tenant: TenantId, data: Vec<SelectionItem>) -> NewChannel {
    let spec = ChannelSpec::Out(OutSpec { data, ..OutSpec::default() });
    NewChannel { id: ChannelId::new(), tenant, profile: "api".into(), size: size("S"), name: "mine".into(), spec }
}

fn new_in(tenant: TenantId, element: ElementId) -> NewChannel {
    let feed = FeedSpec { name: "obs".into(), element: Some(element), ..FeedSpec::default() };
    let spec = ChannelSpec::In(InSpec { feeds: vec![feed], ..InSpec::default() });
    NewChannel { id: ChannelId::new(), tenant, profile: "http".into(), size: size("S"), name: "source".into(), spec }
}

fn item(element: ElementId) -> SelectionItem {
    SelectionItem { element: Some(element), ..SelectionItem::default() }
}

/// A data-out channel with its selection resolved.
async fn out_channel(db: &Db, tenant: TenantId, data: Vec<SelectionItem>) -> Channel {
    let mut tx = db.tenant(tenant).await.unwrap();
    let scopes = subscriptions::resolve_selection(&mut tx, tenant, &data, &OutputModel::default()).await.unwrap();
    let channel = channels::insert(&mut tx, &new_out(tenant, data), now()).await.unwrap();
    subscriptions::replace_scopes(&mut tx, tenant, channel.id, scopes, now()).await.unwrap();
    let channel = channels::get(&mut tx, tenant, channel.id).await.unwrap();
    tx.commit().await.unwrap();
    channel
}

/// A data-in channel with one feed.
async fn in_channel(db: &Db, tenant: TenantId, element: ElementId) -> Channel {
    let mut tx = db.tenant(tenant).await.unwrap();
    let channel = channels::insert(&mut tx, &new_in(tenant, element), now()).await.unwrap();
    let feed = NewFeed { tenant, channel: channel.id, name: "obs".into(), element, input_model: Default::default() };
    feeds::insert(&mut tx, &feed, now()).await.unwrap();
    tx.commit().await.unwrap();
    channel
}
