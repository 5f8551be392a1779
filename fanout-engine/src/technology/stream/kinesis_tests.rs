//! A stream of Kinesis against an account that fails, throttles and takes parts of batches.

use std::collections::HashMap;
use std::sync::Arc;

use headgate_types::channel::Lane;
use headgate_types::schema::ElementKind;
use serde_json::{Value, json};

use crate::shape::testing::{Element, sensors};
use crate::technology::testing::{World, of_rows};
use crate::technology::{Delivery, OpenChannel, Sink, SinkError, by_key};

async fn open(channel: &OpenChannel) -> Arc<dyn Sink> {
    by_key("stream").unwrap().open(channel.clone()).await.unwrap().sink
}

/// `count` records of thirty keys, numbered by `count`.
fn changes(element: &Element, after: u64, count: u64) -> Delivery {
    let rows = (after + 1..=after + count).map(|n| json!({"id": n % 30, "count": n})).collect();
    of_rows(element, Lane::Live, after, rows)
}

/// What each shard holds, in order.
async fn records(world: &World, url: &str) -> Vec<(String, Value)> {
    let found = world.read(url).await;
    let record = |found: &Value| {
        let body: Value = serde_json::from_str(found["body"].as_str().unwrap()).unwrap();
        assert_eq!((&body["element"], &body["lane"]), (&json!("sensors"), &json!("live")));
        (found["shard"].as_str().unwrap().to_owned(), body["data"].clone())
    };
    found.as_array().unwrap().iter().map(record).collect()
}

fn some(entries: &[usize], times: u64, code: &str) -> Value {
    json!({"service": "kinesis", "action": "PutRecords", "effect": "some", "entries": entries, "times": times, "code": code})
}

#[tokio::test]
async fn records_of_a_key_are_in_one_shard_in_order_whatever_part_of_a_request_fails() {
    let Some(world) = World::start().await else { return };
    let element = sensors(ElementKind::Entity);
    let url = world.make("stream").await.remove(0);
    let channel = world.channel(&element, &url, json!({}));
    let sink = open(&channel).await;
    world.account.fault(some(&[0, 3, 4, 17], 6, "InternalFailure")).await;
    world.account.fault(some(&(0..30).collect::<Vec<_>>(), 9, "ProvisionedThroughputExceededException")).await;
    world.account.fault(some(&[1, 2], 3, "InternalFailure")).await;
    let whole = changes(&element, 0, 300);
    let mut pauses = 0;
    loop {
        match sink.write(&whole).await {
            Ok(_) => break,
            Err(SinkError::Retry { after, .. }) => assert!(after.is_some() && pauses < 20),
            Err(error) => panic!("{error:?}"),
        }
        pauses += 1;
    }
    assert!(pauses > 0, "it paused for a stream that takes nothing");
    world.account.no_faults().await;
    sink.write(&changes(&element, 300, 30)).await.unwrap();

    let found = records(&world, &url).await;
    let (mut last, mut shards): (HashMap<u64, u64>, HashMap<u64, String>) = (HashMap::new(), HashMap::new());
    for (shard, data) in &found {
        let (key, count) = (data["id"].as_u64().unwrap(), data["count"].as_u64().unwrap());
        assert!(last.insert(key, count).is_none_or(|last| last < count), "key {key} in order, each once");
        assert_eq!(shards.entry(key).or_insert_with(|| shard.clone()), shard);
    }
    assert_eq!((found.len(), last.len()), (330, 30));
    let used: std::collections::HashSet<&String> = shards.values().collect();
    assert!(used.len() > 1, "keys are spread over the shards");
}

#[tokio::test]
async fn an_answer_that_is_lost_repeats_records_under_their_ids_and_loses_none() {
    let Some(world) = World::start().await else { return };
    let element = sensors(ElementKind::Events);
    let url = world.make("stream").await.remove(0);
    let channel = world.channel(&element, &url, json!({}));
    for effect in ["lose_answer", "lose_request", "throttle"] {
        world.account.fault(json!({"service": "kinesis", "action": "PutRecords", "effect": effect, "times": 4})).await;
    }
    let sink = open(&channel).await;
    let whole = changes(&element, 0, 50);
    while let Err(error) = sink.write(&whole).await {
        assert!(matches!(error, SinkError::Retry { .. }), "{error:?}");
    }
    // A process that ended before its cursor moved.
    drop(sink);
    open(&channel).await.write(&whole).await.unwrap();
    let mut ids: HashMap<String, u64> = HashMap::new();
    for (_, data) in records(&world, &url).await {
        let (id, count) = (data["_id"].as_str().unwrap().to_owned(), data["count"].as_u64().unwrap());
        assert_eq!(*ids.entry(id).or_insert(count), count);
    }
    assert_eq!(ids.len(), 50);
}

#[tokio::test]
async fn a_record_too_large_for_kinesis_is_refused_by_name_and_few_requests_carry_the_rest() {
    let Some(world) = World::start().await else { return };
    let element = sensors(ElementKind::Events);
    let url = world.make("stream").await.remove(0);
    let sink = open(&world.channel(&element, &url, json!({}))).await;
    let mut rows: Vec<Value> = (1..=1_000).map(|n| json!({"id": n, "count": n})).collect();
    rows[700]["site"] = json!("x".repeat(1 << 20));
    let whole = of_rows(&element, Lane::Live, 0, rows);
    let refused = sink.write(&whole).await;
    let Err(SinkError::Reject { records: named, reason }) = refused else { panic!("{refused:?}") };
    assert_eq!(named, [701]);
    assert!(reason.contains("1048576"), "{reason}");
    for (after, to, rows) in [(0, 700, 0..700), (701, 1_000, 701..1_000)] {
        let parts = whole.parts.iter().map(|part| crate::technology::Slice { rows: rows.clone(), ..part.clone() });
        sink.write(&Delivery { after, to, parts: parts.collect(), ..whole.clone() }).await.unwrap();
    }
    assert_eq!(world.account.asked("kinesis:PutRecords").await, 3);
    assert_eq!(records(&world, &url).await.len(), 999);
}
