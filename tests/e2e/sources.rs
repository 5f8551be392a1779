//! What a source meets: an address of its own, an answer at once, and nothing of who reads.

use serde_json::{Value, json};

use crate::harness::stage::{order_in, reading, send_to};
use crate::harness::world::{Channel, Organisation};
use crate::harness::{Database, Platform, Stage, eventually};

/// The streams of a business system.
const STREAMS: [&str; 9] = [
    "customers",
    "orders",
    "order_lines",
    "invoices",
    "invoice_lines",
    "shipments",
    "shipping_addresses",
    "virtual_requests",
    "estimates",
];

#[tokio::test]
async fn a_source_is_answered_before_anything_looks_at_its_records_and_meets_no_consumer() {
    let stage = Stage::start("events").await;
    let alone = answer(&stage.feed, &reading(1)).await;

    // Consumers come, and one of them is broken: the source's answer is the same.
    let api = stage.channel("api", json!({})).await;
    let nobody = json!({"url": "http://127.0.0.1:9/nobody"});
    let order = stage.order_out("webhook", &nobody);
    stage.consumer.api.post("/v1/data-out-channels", &order).await.unwrap();
    let followed = answer(&stage.feed, &reading(2)).await;
    assert_eq!(members(&alone), members(&followed));
    for answer in [&alone, &followed] {
        let text = answer.to_string();
        assert!(!text.contains(&stage.consumer.tenant) && !text.contains(&api.id), "{text}");
    }
    stage.settled(&api, 2).await;

    // Another source has an address and a key of its own, and the first one is not touched.
    let before = stage.provider.api.get(&stage.feed.path).await.unwrap();
    let mut hourly = order_in("events");
    hourly["name"] = json!("hourly");
    hourly["timing"] = json!({"mode": "interval", "every": "1h"});
    hourly["feeds"][0]["new_element"]["name"] = json!("hourly");
    let hourly = stage.provider.order("in", &hourly, |_| {}, async |_, _| {}).await.unwrap();
    let after = stage.provider.api.get(&stage.feed.path).await.unwrap();
    for member in ["generation", "spec", "state", "updated_at"] {
        assert_eq!(before[member], after[member], "{member}");
    }
    assert_ne!((stage.feed.url(), stage.feed.secret("channel_key")), (hourly.url(), hourly.secret("channel_key")));
    let stranger = Channel { secrets: hourly.secrets.clone(), ..stage.feed.clone() };
    assert_eq!(post(&stranger, &reading(3)).await.status(), 401);
    send_to(&stage.feed, &[reading(4)]).await;
    stage.settled(&api, 3).await;

    // Nothing looks at the hourly source's payloads for now, and each was answered all the same.
    for n in 0..5 {
        let landed = answer(&hourly, &reading(n)).await;
        let receipt = receipt(&hourly, landed["receipt"].as_str().unwrap()).await;
        assert_eq!((&receipt["state"], &receipt["records"]), (&json!("landed"), &json!(0)), "{receipt}");
    }
}

#[tokio::test]
async fn nine_streams_of_a_business_system_arrive_over_https_each_in_an_element_of_its_own() {
    let mut platform = Platform::start(Database::Sqlite).await.unwrap();
    let admin = platform.admin().await.unwrap();
    let company = Organisation::create(&admin, &platform.control, "Company").await.unwrap();
    let feed = |name: &str| {
        json!({
            "name": name,
            "new_element": {
                "name": name, "kind": "entity",
                "schema": {"fields": [
                    {"name": "id", "type": "int64", "key": true, "required": true},
                    {"name": "stream", "type": "string"},
                ]},
                "metadata": {"context": "sales", "source": "ERP", "format": "json", "what": name, "identified_by": "id"},
            },
        })
    };
    let feeds: Vec<Value> = STREAMS.into_iter().map(feed).collect();
    let source = json!({"name": "erp", "channel_profile": "http", "performance_profile": "S", "feeds": feeds});
    let source = company.order("in", &source, |_| {}, async |_, _| {}).await.unwrap();
    let elements = source.endpoint["streams"].as_array().unwrap();
    let mut names = STREAMS;
    names.sort_unstable();
    assert_eq!(elements.iter().map(|stream| stream["name"].as_str().unwrap()).collect::<Vec<_>>(), names);
    let data: Vec<Value> = elements.iter().map(|stream| json!({"element": stream["element"]})).collect();
    let all = json!({"name": "all", "channel_profile": "api", "performance_profile": "L", "data": data});
    let all = company.order("out", &all, |_| {}, async |_, _| {}).await.unwrap();

    // The same service behind TLS: the business system calls it on each of its events.
    let pair = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| platform.directory().join(name));
    std::fs::write(&certificate, pair.cert.pem()).unwrap();
    std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
    assert!(platform.stop().unwrap().success());
    platform.add_arguments(&["--tls-cert", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()]);
    platform.start_again().unwrap();
    let trusted = reqwest::Certificate::from_pem(pair.cert.pem().as_bytes()).unwrap();
    let https = reqwest::Client::builder().add_root_certificate(trusted).build().unwrap();
    assert!(platform.data.starts_with("https://"));
    let secure = |channel: &Channel| channel.url().replacen("http://", "https://", 1);
    for (place, stream) in STREAMS.into_iter().enumerate() {
        for id in 0..=place {
            let call = https.post(format!("{}/{stream}", secure(&source))).bearer_auth(source.secret("channel_key"));
            let answer = call.json(&json!({"id": id, "stream": stream})).send().await.unwrap();
            assert_eq!(answer.status(), 202, "{stream}");
        }
    }
    let unknown = https.post(format!("{}/returns", secure(&source))).bearer_auth(source.secret("channel_key"));
    let unknown = unknown.json(&json!({"id": 1})).send().await.unwrap();
    assert_eq!(unknown.status(), 404);
    assert_eq!(unknown.json::<Value>().await.unwrap()["code"], "feed_not_found");

    for (place, stream) in STREAMS.into_iter().enumerate() {
        let rows = eventually("the rows of the stream", async || {
            let call =
                https.get(format!("{}/{stream}?order_by=id", secure(&all))).bearer_auth(all.secret("channel_key"));
            let page: Value = call.send().await.ok()?.json().await.ok()?;
            let rows = page["items"].as_array()?.clone();
            (rows.len() == place + 1).then_some(rows)
        })
        .await;
        for (id, row) in rows.iter().enumerate() {
            assert_eq!((&row["id"], &row["stream"]), (&json!(id), &json!(stream)));
        }
    }
    // The control API is behind the same certificate, and nobody is served without it.
    assert_eq!(https.get(format!("{}/readyz", platform.control)).send().await.unwrap().status(), 200);
    let plain = reqwest::Client::new().get(platform.control.replacen("https://", "http://", 1)).send().await;
    assert!(plain.is_err() || plain.unwrap().status() == 400);
}

async fn post(channel: &Channel, record: &Value) -> reqwest::Response {
    let call = reqwest::Client::new().post(format!("{}/{}", channel.url(), channel.stream()));
    call.bearer_auth(channel.secret("channel_key")).json(record).send().await.unwrap()
}

/// The answer to a payload that is taken.
async fn answer(channel: &Channel, record: &Value) -> Value {
    let response = post(channel, record).await;
    assert_eq!(response.status(), 202);
    response.json().await.unwrap()
}

async fn receipt(channel: &Channel, id: &str) -> Value {
    let call = reqwest::Client::new().get(format!("{}/receipts/{id}", channel.url()));
    call.bearer_auth(channel.secret("channel_key")).send().await.unwrap().json().await.unwrap()
}

fn members(answer: &Value) -> Vec<String> {
    answer.as_object().unwrap().keys().cloned().collect()
}
