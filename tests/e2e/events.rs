//! What tenants are told fits the document that says what they are told.

use std::collections::BTreeSet;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use reqwest::Method;
use serde_json::{Value, json};

use crate::clients::python;
use crate::harness::stage::{carried_out, reading};
use crate::harness::world::{Organisation, send_to};
use crate::harness::{Stage, eventually};

/// Holds every event of a tenant against the AsyncAPI document that the platform serves; returns the types
/// it found.
pub async fn validated(control: &str, tenant: &Organisation) -> BTreeSet<String> {
    let document: Value = reqwest::get(format!("{control}/asyncapi.json")).await.unwrap().json().await.unwrap();
    let page = tenant.api.get("/v1/events?page_size=1000").await.unwrap();
    let events = page["items"].as_array().unwrap();
    let mut types = BTreeSet::new();
    for event in events {
        let event_type = event["type"].as_str().unwrap();
        let messages = document["components"]["messages"].as_object().unwrap();
        let message = messages.values().find(|message| message["name"] == event_type).unwrap();
        // Without a member that the document knows nothing of.
        let payload = message["payload"]["allOf"][1]["properties"]["data"]["$ref"].as_str().unwrap();
        let known = members(&document, document.pointer(payload.trim_start_matches('#')).unwrap());
        for member in event["data"].as_object().unwrap().keys() {
            assert!(known.contains(member), "{event_type} has {member:?} and says nothing of it");
        }
        types.insert(event_type.trim_start_matches("io.headgate.").to_owned());
    }
    let folder = tempfile::tempdir().unwrap();
    let [schema, told] = ["asyncapi.json", "events.json"].map(|name| folder.path().join(name));
    std::fs::write(&schema, document.to_string()).unwrap();
    std::fs::write(&told, page["items"].to_string()).unwrap();
    if let Some(wrong) = python(VALIDATE, &[&schema, &told]) {
        assert_eq!(wrong, json!([]), "{wrong:#}");
    }
    types
}

/// Prints what of the events does not fit the payload of its message.
const VALIDATE: &str = r#"
import json, sys
from jsonschema import Draft202012Validator
document, events = [json.load(open(name)) for name in sys.argv[1:]]
messages = {message["name"]: message["payload"] for message in document["components"]["messages"].values()}
wrong = []
for event in events:
    schema = {**messages[event["type"]], "components": document["components"]}
    wrong += [f"{event['type']} {error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(event)]
print(json.dumps(wrong))
"#;

/// The members of an object schema, through `allOf` and references.
fn members(document: &Value, schema: &Value) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    if let Some(reference) = schema["$ref"].as_str() {
        all.extend(members(document, document.pointer(reference.trim_start_matches('#')).unwrap()));
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        all.extend(members(document, part));
    }
    all.extend(schema["properties"].as_object().into_iter().flat_map(|found| found.keys().cloned()));
    all
}

#[tokio::test]
async fn every_event_fits_the_asyncapi_document() {
    let stage = Stage::start("events").await;
    let (provider, consumer) = (&stage.provider, &stage.consumer);
    let gone = Router::new().route("/", post(|| async { StatusCode::GONE }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, gone).await });
    consumer.api.post("/v1/event-endpoints", &json!({"url": address})).await.unwrap();

    send_to(&stage.feed, "readings", "application/x-ndjson", "{\"id\": 7}\nnot json\n").await.unwrap();
    stage.send(&[reading(1)]).await;
    let channel = stage.channel("api", json!({})).await;
    for action in ["rotate-credentials", "pause", "resume"] {
        carried_out(consumer, &channel, action).await;
    }
    let dead = stage.order_out("webhook", &json!({"url": "http://127.0.0.1:9/nobody"}));
    consumer.api.post("/v1/data-out-channels", &dead).await.unwrap();
    let deleted = consumer.api.send(Method::DELETE, &channel.path, None, &[("if-match", "*")]).await.unwrap();
    assert_eq!(deleted.status, 202, "{}", deleted.body);

    let expected = ["channel.ready.v1", "catalog.element.published.v1", "order.succeeded.v1", "schema.mismatch.v1"];
    eventually("what the provider is told", async || {
        let found = validated(&stage.platform.control, provider).await;
        expected.iter().all(|wanted| found.contains(*wanted)).then_some(())
    })
    .await;
    let expected = [
        "channel.ready.v1",
        "channel.updated.v1",
        "credential.rotated.v1",
        "delivery.degraded.v1",
        "endpoint.disabled.v1",
        "channel.deleted.v1",
    ];
    eventually("what the consumer is told", async || {
        let found = validated(&stage.platform.control, consumer).await;
        expected.iter().all(|wanted| found.contains(*wanted)).then_some(())
    })
    .await;
}
