//! The conformance suite: what every technology in the registry has to hold to.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use base64::Engine as _;
use headgate_access::outbound::{GuardedClient, OutboundPolicy};
use headgate_types::channel::{Binding, Direction, Lane};
use headgate_types::schema::ElementKind;
use headgate_types::{ChannelId, FakeClock, TenantId};
use indexmap::IndexMap;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::*;
use crate::delivery::limits::PLENTY;
use crate::shape::testing::{Element, sensors};

#[derive(Debug)]
struct OneSecret;

#[async_trait]
impl Secrets for OneSecret {
    async fn signing_secrets(&self, _: ChannelId) -> Result<Vec<SecretString>, String> {
        Ok(vec![format!("whsec_{}", base64::prelude::BASE64_STANDARD.encode([5; 32])).into()])
    }
}

/// The options a technology cannot do without.
async fn options(technology: &dyn Technology) -> IndexMap<String, Value> {
    let required = technology.descriptor().settings["required"].as_array().cloned().unwrap_or_default();
    let mut options = IndexMap::new();
    for name in required {
        assert_eq!(name, "url", "the suite knows how to make a url only");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", post(|| async { StatusCode::NO_CONTENT }));
        tokio::spawn(async move { axum::serve(listener, router).await });
        options.insert("url".to_owned(), json!(format!("http://{address}/")));
    }
    options
}

fn open_channel(element: &Element, directory: &Path, options: IndexMap<String, Value>) -> OpenChannel {
    let output = OutputElement {
        element: element.id,
        name: "sensors".to_owned(),
        kind: element.kind,
        schema: element.compile(&element.scope()).unwrap().output_schema().clone(),
        model_version: 1,
        options,
    };
    OpenChannel {
        tenant: TenantId::new(),
        channel: ChannelId::new(),
        name: "channel".to_owned(),
        binding: Binding::plain(url::Url::from_directory_path(directory).unwrap()),
        elements: vec![output],
        limits: PLENTY,
        public_url: "http://127.0.0.1:7081/v1/out/x".to_owned(),
        clock: FakeClock::at("2026-05-01T10:00:00Z".parse().unwrap()),
        secrets: Arc::new(OneSecret),
        outbound: GuardedClient::new(OutboundPolicy::development()).unwrap(),
        cloud: crate::cloud::Cloud::default(),
    }
}

fn delivery(element: &Element, lane: Lane, after: u64, to: u64) -> Delivery {
    let rows: Vec<Value> = (after + 1..=to).map(|id| json!({"id": id, "site": "a"})).collect();
    let plan = element.compile(&element.scope()).unwrap();
    let encoded = Arc::new(plan.encode(&element.rows(after + 1, &rows)).unwrap());
    let rows = 0..encoded.len();
    let flow = FlowKey { element: element.id, lane };
    Delivery { flow, after, to, parts: vec![Slice { encoded, rows }], repeated: false }
}

/// What the target holds for certain; without a cursor of its own, what it answered.
async fn held(sink: &dyn Sink, flow: FlowKey, answered: Written) -> u64 {
    sink.cursor(flow).await.unwrap().map_or(answered.through, |committed| committed.offset)
}

#[tokio::test]
async fn every_sink_takes_ranges_again_and_empty_ones_and_remembers_across_a_restart() {
    for technology in REGISTRY.iter().filter(|found| found.descriptor().directions.contains(&Direction::Out)) {
        let name = technology.descriptor().key;
        for kind in [ElementKind::Events, ElementKind::Entity] {
            let directory = tempfile::tempdir().unwrap();
            let element = sensors(kind);
            let channel = open_channel(&element, directory.path(), options(*technology).await);
            let opened = technology.open(channel.clone()).await.unwrap();
            let flow = FlowKey { element: element.id, lane: Lane::Live };
            let answered = opened.router.map(|router| router.list().to_vec()).unwrap_or_default();
            assert_eq!(answered, technology.addresses(), "{name}: what a channel answers is what is listed");
            let sink = opened.sink;

            for range in [(0, 5), (0, 5), (5, 8)] {
                let written = sink.write(&delivery(&element, Lane::Live, range.0, range.1)).await.unwrap();
                assert!(written.through <= 8, "{name}: nothing beyond the range is held");
            }
            let empty = Delivery { parts: Vec::new(), ..delivery(&element, Lane::Live, 8, 12) };
            let written = sink.write(&empty).await.unwrap();
            let flushed = sink.flush(flow, Flush::Now).await.unwrap();
            assert!(flushed.through >= 12, "{name}: a flush publishes everything written");
            assert!(held(sink.as_ref(), flow, written).await >= 12, "{name}: an empty range moves the cursor");
            let keeps_cursor = sink.cursor(flow).await.unwrap().is_some();
            let other = FlowKey { element: element.id, lane: Lane::Backfill };
            if keeps_cursor {
                let cursor = sink.cursor(other).await.unwrap().map(|committed| committed.offset);
                assert_eq!(cursor, Some(0), "{name}: lanes keep places of their own");
            }
            sink.close().await;
            drop(sink);

            let opened = technology.open(channel).await.unwrap();
            if keeps_cursor {
                let cursor = opened.sink.cursor(flow).await.unwrap().map(|committed| committed.offset);
                assert_eq!(cursor, Some(12), "{name}: the place survives a restart");
            }
            opened.sink.write(&delivery(&element, Lane::Live, 12, 14)).await.unwrap();
            assert!(opened.sink.flush(flow, Flush::Now).await.unwrap().through >= 14, "{name}");
            opened.sink.close().await;
        }
    }
}

#[tokio::test]
async fn a_technology_without_a_way_out_opens_no_sink() {
    for technology in REGISTRY.iter().filter(|found| !found.descriptor().directions.contains(&Direction::Out)) {
        let directory = tempfile::tempdir().unwrap();
        let channel = open_channel(&sensors(ElementKind::Events), directory.path(), IndexMap::new());
        assert!(matches!(technology.open(channel).await, Err(SinkError::Reject { .. })));
    }
}

#[test]
fn every_technology_describes_itself_and_refuses_options_it_does_not_have() {
    let mut names = HashSet::new();
    for technology in REGISTRY {
        let descriptor = technology.descriptor();
        for name in descriptor.aliases.iter().chain([&descriptor.key]) {
            assert!(names.insert(name.clone()), "{name} is taken");
            assert_eq!(by_key(name).map(|found| found.descriptor().key), Some(descriptor.key.clone()));
        }
        assert!(!descriptor.title.is_empty() && !descriptor.directions.is_empty());
        assert_eq!(descriptor.settings["type"], "object", "{}", descriptor.key);
        assert_eq!(descriptor.settings["additionalProperties"], false, "{}", descriptor.key);
        let wrong = IndexMap::from([("no_such_option".to_owned(), json!(1))]);
        let errors = technology.check_options(&wrong);
        let pointers: Vec<&str> = errors.iter().map(|error| error.pointer.as_str()).collect();
        assert!(pointers.contains(&"/no_such_option"), "{}: {pointers:?}", descriptor.key);
    }
}
