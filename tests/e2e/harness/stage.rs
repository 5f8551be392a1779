//! One provider, one consumer and one element on a running Headgate: where most tests begin.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::world::{Channel, Organisation, send};
use super::{Database, Platform};

/// How long a state may take to come before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A provider with one feed, and a consumer that may read what it brings.
pub struct Stage {
    pub platform: Platform,
    pub provider: Organisation,
    pub consumer: Organisation,
    /// The data-in channel; its feed and element are named `readings`.
    pub feed: Channel,
}

impl Stage {
    /// On SQLite, with an element of this kind (`events`, `entity`) and the fields of [`fields`].
    pub async fn start(kind: &str) -> Self {
        Self::on(Platform::start(Database::Sqlite).await.unwrap(), kind).await
    }

    /// The same on a platform that runs already.
    pub async fn on(platform: Platform, kind: &str) -> Self {
        let admin = platform.admin().await.unwrap();
        let provider = Organisation::create(&admin, &platform.control, "Provider").await.unwrap();
        let consumer = Organisation::create(&admin, &platform.control, "Consumer").await.unwrap();
        let feed = provider.order("in", &order_in(kind), |_| {}, async |_, _| {}).await.unwrap();
        let grants = format!("/v1/elements/{}/grants", feed.element());
        provider.api.post(&grants, &json!({"tenant": consumer.tenant})).await.unwrap();
        Self { platform, provider, consumer, feed }
    }

    /// Sends records and waits until they are conformed.
    pub async fn send(&self, records: &[Value]) {
        send_to(&self.feed, records).await;
    }

    /// The body of an order of the consumer for the whole element.
    pub fn order_out(&self, profile: &str, options: &Value) -> Value {
        json!({
            "name": profile, "channel_profile": profile, "performance_profile": "L",
            "data": [{"element": self.feed.element()}], "output_data_model": {"options": options},
        })
    }

    /// Orders a channel of the consumer for the whole element.
    pub async fn channel(&self, profile: &str, options: Value) -> Channel {
        self.consumer.order("out", &self.order_out(profile, &options), |_| {}, async |_, _| {}).await.unwrap()
    }

    /// Waits until a channel of the consumer has delivered `records` and nothing is behind.
    pub async fn settled(&self, channel: &Channel, records: usize) -> Value {
        settled(&self.consumer, &channel.path, records).await
    }
}

/// Sends records to a feed and waits until they are conformed.
pub async fn send_to(feed: &Channel, records: &[Value]) {
    let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
    let receipt = send(feed, "application/x-ndjson", lines).await.unwrap();
    assert_eq!((&receipt["records"], &receipt["refused"]), (&json!(records.len()), &json!(0)), "{receipt}");
}

/// The order of the data-in channel; `kind` is `events` or `entity`.
pub fn order_in(kind: &str) -> Value {
    let keyed = kind == "entity";
    json!({
        "name": "readings", "channel_profile": "http", "performance_profile": "L",
        "feeds": [{
            "name": "readings",
            "new_element": {
                "name": "readings", "kind": kind,
                "schema": {"fields": [
                    {"name": "id", "type": "string", "key": keyed, "required": true},
                    {"name": "site", "type": "string"},
                    {"name": "value", "type": "float64"},
                    {"name": "count", "type": "int64"},
                    {"name": "at", "type": "timestamp"},
                    {"name": "note", "type": "string"},
                ]},
                "metadata": {"context": "test", "source": "test", "format": "json", "what": "readings",
                    "identified_by": "id"},
            },
        }],
    })
}

/// Record number `n` of the element: some values absent, some that formats must escape.
pub fn reading(n: usize) -> Value {
    let note = match n % 4 {
        0 => Value::Null,
        1 => json!("plain"),
        2 => json!("comma, \"quote\" and\nline"),
        _ => json!("Grüße 東京"),
    };
    let site = ["north", "south", "west"][n % 3];
    json!({
        "id": format!("r{n:06}"), "site": site, "value": n as f64 * 0.25,
        "count": n, "at": format!("2024-05-{:02}T{:02}:00:00Z", 1 + n / 24 % 28, n % 24), "note": note,
    })
}

/// Asks for something of a channel that is an order (`pause`, `rotate-credentials` …) and waits until it
/// has succeeded; returns the order.
pub async fn carried_out(owner: &Organisation, channel: &Channel, action: &str) -> Value {
    let accepted = owner.api.post(&format!("{}/{action}", channel.path), &json!({})).await.unwrap();
    let order = format!("/v1/orders/{}", accepted["order"]["id"].as_str().unwrap());
    eventually("the order's end", async || {
        let order = owner.api.get(&order).await.unwrap();
        (order["state"] == "SUCCEEDED").then_some(order)
    })
    .await
}

/// Asks again until there is an answer.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "it does not come: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The statistics of a channel once it has delivered `expected` records and nothing is behind.
pub async fn settled(consumer: &Organisation, channel: &str, expected: usize) -> Value {
    let start = Instant::now();
    loop {
        let statistics = consumer.api.get(&format!("{channel}/statistics")).await.unwrap();
        assert!(start.elapsed() < PATIENCE, "{channel} does not settle at {expected} records: {statistics:#}");
        let flows = statistics["flows"].as_array().unwrap();
        let records: u64 = flows.iter().filter_map(|flow| flow["records"].as_u64()).sum();
        let behind = flows.iter().any(|flow| flow["caught_up"] != true);
        if !flows.is_empty() && !behind && records >= expected as u64 {
            return statistics;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
