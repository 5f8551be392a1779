//! Against a receiver on this machine.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use headgate_access::outbound::{GuardedClient, OutboundPolicy};
use headgate_events::signing;
use headgate_types::channel::{Binding, Lane};
use headgate_types::schema::ElementKind;
use headgate_types::{ChannelId, FakeClock, TenantId};
use parking_lot::Mutex;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::*;
use crate::delivery::limits::PLENTY;
use crate::shape::testing::{Element, sensors};
use crate::technology::{Delivery, FlowKey, OutputElement, Secrets, Sink, SinkError, Slice};

#[derive(Debug, Default)]
struct Receiver {
    /// Bodies accepted, in order of arrival.
    accepted: Mutex<Vec<Value>>,
    ids: Mutex<Vec<String>>,
    /// Sites answered with this status.
    answers: Mutex<HashMap<String, u16>>,
    problems: Mutex<Vec<String>>,
}

#[derive(Debug)]
struct OneSecret(SecretString);

#[async_trait]
impl Secrets for OneSecret {
    async fn signing_secrets(&self, _: ChannelId) -> Result<Vec<SecretString>, String> {
        Ok(vec![self.0.clone()])
    }
}

fn secret() -> SecretString {
    format!("whsec_{}", base64::prelude::BASE64_STANDARD.encode([5; 32])).into()
}

async fn receive(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: axum::body::Bytes) -> StatusCode {
    let now = "2026-05-01T10:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp();
    let id = headers["webhook-id"].to_str().unwrap();
    let signature = headers["webhook-signature"].to_str().unwrap();
    if let Err(error) = signing::verify_hmac(&secret(), id, now, &body, signature, now) {
        receiver.problems.lock().push(error.to_string());
        return StatusCode::UNAUTHORIZED;
    }
    let body: Value = serde_json::from_slice(&body).unwrap();
    for record in body["records"].as_array().unwrap() {
        if let Some(status) = receiver.answers.lock().get(record["site"].as_str().unwrap()) {
            return StatusCode::from_u16(*status).unwrap();
        }
    }
    receiver.ids.lock().push(id.to_owned());
    receiver.accepted.lock().push(body);
    StatusCode::NO_CONTENT
}

struct Bench {
    receiver: Arc<Receiver>,
    element: Element,
    sink: Arc<dyn Sink>,
}

async fn bench(options: Value, policy: OutboundPolicy) -> Bench {
    let receiver = Arc::new(Receiver::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/in", post(receive)).with_state(Arc::clone(&receiver));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let element = sensors(ElementKind::Events);
    let mut options: IndexMap<String, Value> = serde_json::from_value(options).unwrap();
    options.insert("url".to_owned(), json!(format!("http://{address}/in")));
    let output = OutputElement {
        element: element.id,
        name: "sensors".to_owned(),
        kind: element.kind,
        schema: element.schema.clone(),
        model_version: 1,
        options,
    };
    let opened = Webhook
        .open(OpenChannel {
            tenant: TenantId::new(),
            channel: ChannelId::new(),
            name: "hook".to_owned(),
            binding: Binding::plain("file:///nowhere"),
            elements: vec![output],
            limits: PLENTY,
            public_url: String::new(),
            clock: FakeClock::at("2026-05-01T10:00:00Z".parse().unwrap()),
            secrets: Arc::new(OneSecret(secret())),
            outbound: GuardedClient::new(policy).unwrap(),
            cloud: crate::cloud::Cloud::default(),
        })
        .await
        .unwrap();
    Bench { receiver, element, sink: opened.sink }
}

impl Bench {
    /// A delivery of the records `(after, after + sites]`, one per site; the key is `offset % 5`.
    fn delivery(&self, after: u64, sites: &[&str]) -> Delivery {
        let rows: Vec<Value> = sites
            .iter()
            .enumerate()
            .map(|(at, site)| json!({"id": (after + at as u64) % 5, "site": site, "count": after + at as u64 + 1}))
            .collect();
        let range = self.element.rows(after + 1, &rows);
        let plan = self.element.compile(&self.element.scope()).unwrap();
        let encoded = Arc::new(plan.encode(&range).unwrap());
        let rows = 0..encoded.len();
        let flow = FlowKey { element: self.element.id, lane: Lane::Live };
        let parts = vec![Slice { encoded, rows }];
        Delivery { flow, after, to: after + sites.len() as u64, parts, repeated: false }
    }

    /// The counts of the accepted records by key, in order of arrival.
    fn by_key(&self) -> HashMap<u64, Vec<u64>> {
        let mut keys: HashMap<u64, Vec<u64>> = HashMap::new();
        for body in self.receiver.accepted.lock().iter() {
            for record in body["records"].as_array().unwrap() {
                keys.entry(record["id"].as_u64().unwrap()).or_default().push(record["count"].as_u64().unwrap());
            }
        }
        keys
    }
}

#[tokio::test]
async fn records_arrive_signed_and_in_order_per_key() {
    let bench = bench(json!({"batch_records": 3, "lanes": 4}), OutboundPolicy::development()).await;
    let written = bench.sink.write(&bench.delivery(0, &["a"; 40])).await.unwrap();
    assert_eq!(written.through, 40);
    assert_eq!(*bench.receiver.problems.lock(), [] as [String; 0]);
    for (key, counts) in bench.by_key() {
        let expected: Vec<u64> = (0..40).filter(|at| at % 5 == key).map(|at| at + 1).collect();
        assert_eq!(counts, expected, "key {key}");
    }
    let bodies = bench.receiver.accepted.lock();
    assert!(bodies.iter().all(|body| body["records"].as_array().unwrap().len() <= 3));
    assert!(bodies.iter().all(|body| body["element"] == "sensors" && body["lane"] == "live"));
}

#[tokio::test]
async fn a_repetition_sends_only_what_is_missing_under_the_same_id() {
    let bench = bench(json!({"batch_records": 2, "lanes": 3}), OutboundPolicy::development()).await;
    let mut sites = ["a"; 20];
    sites[7] = "down";
    bench.receiver.answers.lock().insert("down".to_owned(), 503);
    let delivery = bench.delivery(0, &sites);
    assert!(matches!(bench.sink.write(&delivery).await, Err(SinkError::Retry { .. })));
    let before = bench.receiver.ids.lock().len();
    assert!(before > 0, "the other lanes go on");
    bench.receiver.answers.lock().clear();
    assert_eq!(bench.sink.write(&delivery).await.unwrap().through, 20);
    let ids = bench.receiver.ids.lock();
    let distinct: std::collections::HashSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len(), "nothing accepted is sent again");
    let mut counts: Vec<u64> = bench.by_key().into_values().flatten().collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_refusal_names_the_request_that_was_refused() {
    let bench = bench(json!({"batch_records": 1, "lanes": 1}), OutboundPolicy::development()).await;
    bench.receiver.answers.lock().insert("bad".to_owned(), 422);
    let refused = bench.sink.write(&bench.delivery(0, &["a", "a", "bad", "a"])).await;
    assert!(matches!(refused, Err(SinkError::Reject { records, .. }) if records == [3]));
}

#[tokio::test]
async fn an_address_inside_the_platform_is_never_reached() {
    let strict = OutboundPolicy::default();
    let bench = bench(json!({}), strict).await;
    let Err(SinkError::Retry { after, reason }) = bench.sink.write(&bench.delivery(0, &["a"])).await else {
        panic!("refused")
    };
    assert!(after.is_some() && reason.contains("refused"), "{reason}");
    assert_eq!(bench.receiver.accepted.lock().len(), 0);
}
