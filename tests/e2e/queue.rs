//! A customer works on a queue: receives, acknowledges, fails, and is there again after a crash.

use std::collections::BTreeMap;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::stage::PATIENCE;
use crate::harness::world::Channel;
use crate::harness::{Stage, eventually};

const KEYS: usize = 20;
const VERSIONS: usize = 15;

/// Version `count` of the row of a key.
fn change(key: usize, count: usize) -> Value {
    json!({"id": format!("k{key:02}"), "site": "north", "value": 0.5, "count": count, "note": null,
           "at": "2024-05-01T00:00:00Z"})
}

async fn ask(channel: &Channel, key: &str, path: &str, body: &Value) -> (StatusCode, Value) {
    let url = format!("{}/{path}", channel.url());
    let response = reqwest::Client::new().post(url).bearer_auth(key).json(body).send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

/// As its customer, until there is an answer: the product may be away.
async fn worked(channel: &Channel, path: &str, body: &Value) -> Value {
    let http = reqwest::Client::new();
    eventually(path, async || {
        let url = format!("{}/{path}", channel.url());
        let response = http.post(url).bearer_auth(channel.secret("channel_key")).json(body).send().await.ok()?;
        if !response.status().is_success() {
            return None;
        }
        response.json().await.ok()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_gives_every_change_in_order_per_key_until_it_is_acknowledged() {
    let mut stage = Stage::start("entity").await;
    let channel = stage.channel("queue", json!({"visibility_seconds": 2, "max_receives": 1000})).await;
    let changes: Vec<Value> = (0..VERSIONS).flat_map(|count| (0..KEYS).map(move |key| change(key, count))).collect();
    for some in changes.chunks(KEYS * 5) {
        stage.send(some).await;
    }
    let begun = std::time::Instant::now();
    let (mut seen, mut acknowledged) = (BTreeMap::<String, Vec<u64>>::new(), 0);
    let mut contents = BTreeMap::<String, Value>::new();
    let mut killed = false;
    for round in 0.. {
        assert!(begun.elapsed() < PATIENCE, "{acknowledged} of {} were acknowledged", changes.len());
        let answer = worked(&channel, "receive?max=7&wait=1", &json!({})).await;
        let messages = answer["messages"].as_array().unwrap();
        let mut done = Vec::new();
        for (place, message) in messages.iter().enumerate() {
            let data = &message["data"];
            let id = data["_id"].as_str().unwrap().to_owned();
            let before = contents.insert(id, data.clone());
            assert!(before.is_none_or(|before| before == *data), "a repeat is the same record: {data}");
            seen.entry(data["id"].as_str().unwrap().to_owned()).or_default().push(data["count"].as_u64().unwrap());
            // One in seven is left to come again.
            if (round + place) % 7 != 0 {
                done.push(message["receipt"].clone());
            }
        }
        let answer = worked(&channel, "ack", &json!({"receipts": done})).await;
        acknowledged += answer["decided"].as_u64().unwrap();
        if acknowledged >= changes.len() as u64 / 2 && !killed {
            killed = true;
            stage.platform.kill_and_restart().unwrap();
        }
        if acknowledged == changes.len() as u64 {
            break;
        }
    }
    assert_eq!(seen.len(), KEYS);
    for (key, mut counts) in seen {
        assert!(counts.is_sorted(), "{key} was given out of order: {counts:?}");
        counts.dedup();
        assert!(counts.iter().copied().eq(0..VERSIONS as u64), "{key}: {counts:?}");
    }
    let depth = reqwest::Client::new().get(channel.url()).bearer_auth(channel.secret("channel_key")).send().await;
    let depth: Value = depth.unwrap().json().await.unwrap();
    assert_eq!((&depth["messages"], &depth["bytes"], &depth["dead"]), (&json!(0), &json!(0), &json!(0)), "{depth}");
    stage.settled(&channel, changes.len()).await;
    assert!(stage.platform.stop().unwrap().success());
    stage.platform.run(&["usage", "reconcile"]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_cannot_do_becomes_a_dead_letter_of_its_queue_and_strangers_get_nothing() {
    let stage = Stage::start("events").await;
    let channel = stage.channel("queue", json!({"visibility_seconds": 1, "max_receives": 2})).await;
    let other = stage.channel("queue", json!({})).await;
    stage.send(&[change(1, 1), change(2, 2)]).await;
    for path in ["receive", "ack", "nack", "extend", "redrive", "discard"] {
        for key in ["", other.secret("channel_key")] {
            let (status, answer) = ask(&channel, key, path, &json!({})).await;
            assert!(status == StatusCode::UNAUTHORIZED || status == StatusCode::NOT_FOUND, "{path}: {status} {answer}");
        }
    }
    let key = channel.secret("channel_key");
    let dead = eventually("a dead letter", async || {
        let (_, answer) = ask(&channel, key, "receive?max=10", &json!({})).await;
        let fine = answer["messages"].as_array()?.iter().filter(|message| message["data"]["count"] == 2);
        let fine: Vec<_> = fine.map(|message| message["receipt"].clone()).collect();
        ask(&channel, key, "ack", &json!({"receipts": fine})).await;
        let url = format!("{}/dead", channel.url());
        let dead: Value = reqwest::Client::new().get(url).bearer_auth(key).send().await.ok()?.json().await.ok()?;
        dead["items"].as_array().filter(|items| !items.is_empty()).cloned()
    })
    .await;
    assert_eq!((dead.len(), &dead[0]["data"]["count"], &dead[0]["receives"]), (1, &json!(1), &json!(2)));
    assert_eq!(ask(&channel, key, "redrive", &json!({"ids": [dead[0]["id"]]})).await.1, json!({"redriven": 1}));
    let (_, again) = ask(&channel, key, "receive", &json!({})).await;
    assert_eq!(again["messages"][0]["data"], dead[0]["data"]);
    let receipts = json!({"receipts": [again["messages"][0]["receipt"]]});
    assert_eq!(ask(&channel, key, "ack", &receipts).await.1["decided"], 1);
}
