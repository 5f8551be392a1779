//! Nobody reaches the lake, and the platform sees who reads what.

use reqwest::Client;
use serde_json::{Value, json};

use crate::harness::receiver::Receiver;
use crate::harness::stage::{order_in, reading, send_to};
use crate::harness::world::{Channel, Organisation};
use crate::harness::{Options, Platform, Stage, eventually, settled};

fn at(channel: &Channel, path: &str) -> String {
    format!("{}{path}", channel.url())
}

#[tokio::test]
async fn no_client_is_told_or_can_reach_where_the_lake_is() {
    let stage = Stage::start("events").await;
    stage.send(&[reading(1)]).await;
    let receiver = Receiver::start().await.unwrap();
    let mut channels = Vec::new();
    for profile in ["api", "file", "stream"] {
        channels.push(stage.channel(profile, json!({})).await);
    }
    let order = stage.order_out("webhook", &json!({"url": receiver.url}));
    let secrets = async |_: &str, secret: &str| {
        receiver.with(|received| received.secrets.push(secret.to_owned())).await;
    };
    channels.push(stage.consumer.order("out", &order, |_| {}, secrets).await.unwrap());
    let data = stage.platform.directory().join("data").canonicalize().unwrap();
    let hidden = [data.to_str().unwrap(), "file:", "sqlite:", "log.db", "_delta_log"];
    let mut documents = vec![
        "/v1/elements".to_owned(),
        format!("/v1/elements/{}", stage.feed.element()),
        format!("/v1/elements/{}/statistics", stage.feed.element()),
        "/v1/orders".to_owned(),
        "/v1/events".to_owned(),
        "/v1/data-out-channels".to_owned(),
        "/v1/channel-profiles".to_owned(),
    ];
    for channel in &channels {
        stage.settled(channel, 1).await;
        documents
            .extend(["", "/snippets", "/statistics", "/dead-letters"].map(|part| format!("{}{part}", channel.path)));
    }
    for document in &documents {
        let text = stage.consumer.api.get(document).await.unwrap().to_string();
        assert!(text.len() > 10, "{document}: {text}");
        for place in hidden {
            assert!(!text.contains(place), "{document} tells of {place}: {text}");
        }
    }
    // With a key that is good, out of the channel's own directory.
    let http = Client::new();
    for channel in &channels[..3] {
        for path in [
            "/files/..%2F..%2F..%2Flake%2Flog%2Flog.db",
            "/files/%2e%2e%2f%2e%2e%2fmaster.key",
            "/files/..%5c..%5cmaster.key",
            "/files/%2Fetc%2Fpasswd",
            "/..%2F..%2Fmaster.key",
            "/readings%2F..%2F..%2F..%2Fmaster.key",
        ] {
            let answer = http.get(at(channel, path)).bearer_auth(channel.secret("channel_key")).send().await.unwrap();
            let (status, body) = (answer.status().as_u16(), answer.text().await.unwrap());
            assert!((400..500).contains(&status), "{path}: {status} {body}");
            assert!(hidden.iter().all(|place| !body.contains(place)), "{path}: {body}");
        }
    }
}

#[tokio::test]
async fn the_platform_sees_who_consumed_which_data_and_what_is_slowed_down() {
    let platform = Platform::start_with(Options::arguments(&["--usage-span", "1s"])).unwrap();
    let admin = platform.admin().await.unwrap();
    let provider = Organisation::create(&admin, &platform.control, "Provider").await.unwrap();
    let feed = provider.order("in", &order_in("events"), |_| {}, async |_, _| {}).await.unwrap();
    let grants = format!("/v1/elements/{}/grants", feed.element());
    let mut consumers = Vec::new();
    for (name, size, filter) in [("All", "L", "count >= 0"), ("Some", "S", "count < 28000")] {
        let consumer = Organisation::create(&admin, &platform.control, name).await.unwrap();
        provider.api.post(&grants, &json!({"tenant": consumer.tenant})).await.unwrap();
        let order = json!({
            "name": name, "channel_profile": "stream", "performance_profile": size,
            "data": [{"element": feed.element(), "filter": filter}],
        });
        let channel = consumer.order("out", &order, |_| {}, async |_, _| {}).await.unwrap();
        consumers.push((consumer, channel));
    }
    let sent: Vec<Value> = (0..30_000).map(reading).collect();
    send_to(&feed, &sent).await;
    settled(&consumers[0].0, &consumers[0].1.path, 30_000).await;
    // The small channel takes more than ten seconds' worth of its rate, and its owner sees why.
    let slow = settled(&consumers[1].0, &consumers[1].1.path, 28_000).await;
    assert!(slow["throttled_ms"].as_u64().unwrap() > 0, "{slow:#}");

    let path = format!("/v1/admin/usage?element={}&meter=deliver.records&group_by=tenant,channel", feed.element());
    for ((consumer, channel), records) in consumers.iter().zip([30_000, 28_000]) {
        eventually("the platform sees what was delivered", async || {
            let usage = admin.get(&path).await.unwrap();
            let sums = usage["items"].as_array().unwrap();
            let sum = sums.iter().find(|sum| sum["tenant"] == consumer.tenant)?;
            (sum["channel"] == channel.id && sum["quantity"] == records).then_some(())
        })
        .await;
        // Each tenant sees its own, by element, and nobody else's.
        let own = consumer.api.get("/v1/usage?meter=deliver.records&group_by=channel,element").await.unwrap();
        let sums = own["items"].as_array().unwrap();
        assert_eq!((sums.len(), &sums[0]["channel"], &sums[0]["quantity"]), (1, &json!(channel.id), &json!(records)));
        assert_eq!(sums[0]["element"], feed.element());
        assert!(sums[0]["tenant"].is_null());
    }
    let refused = consumers[0].0.api.get(&path).await.unwrap_err().to_string();
    assert!(refused.starts_with("403"), "{refused}");
    let unknown = consumers[0].0.api.get("/v1/usage?group_by=tenant").await.unwrap_err().to_string();
    assert!(unknown.contains("unknown_group") || unknown.contains("is not one of"), "{unknown}");
}
