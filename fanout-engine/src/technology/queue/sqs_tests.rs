//! A queue of SQS against an account that fails, throttles and takes parts of batches.

use std::collections::HashMap;
use std::sync::Arc;

use headgate_types::channel::Lane;
use headgate_types::schema::ElementKind;
use serde_json::{Value, json};

use crate::shape::testing::{Element, sensors};
use crate::technology::testing::{World, of_rows};
use crate::technology::{Delivery, FlowKey, OpenChannel, Sink, SinkError, by_key};

async fn open(channel: &OpenChannel) -> Arc<dyn Sink> {
    by_key("queue").unwrap().open(channel.clone()).await.unwrap().sink
}

/// `count` records of seven keys, numbered by `count`.
fn changes(element: &Element, after: u64, count: u64) -> Delivery {
    let rows = (after + 1..=after + count).map(|n| json!({"id": n % 7, "count": n})).collect();
    of_rows(element, Lane::Live, after, rows)
}

async fn messages(world: &World, url: &str) -> Vec<(Value, String)> {
    let found = world.read(url).await;
    let message = |found: &Value| {
        let body: Value = serde_json::from_str(found["body"].as_str().unwrap()).unwrap();
        assert_eq!((&body["element"], &body["lane"]), (&json!("sensors"), &json!("live")));
        (body["data"].clone(), found["group"].as_str().unwrap_or_default().to_owned())
    };
    found.as_array().unwrap().iter().map(message).collect()
}

/// Writes as the worker does: again after every pause.
async fn write(sink: &dyn Sink, delivery: &Delivery) {
    for _ in 0..50 {
        match sink.write(delivery).await {
            Ok(_) => return,
            Err(SinkError::Retry { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("it takes nothing");
}

#[tokio::test]
async fn a_fifo_queue_has_each_record_once_and_each_key_in_order_whatever_part_of_a_batch_fails() {
    let Some(world) = World::start().await else { return };
    let element = sensors(ElementKind::Entity);
    let url = world.make("queue").await.remove(1);
    let channel = world.channel(&element, &url, json!({}));
    let some = |entries: Value, times: u64, code: &str| json!({"service": "sqs", "action": "SendMessageBatch", "effect": "some", "entries": entries, "times": times, "code": code});
    world.account.fault(some(json!([0, 2, 3]), 4, "InternalFailure")).await;
    world.account.fault(some(json!([0, 1, 2, 3, 4, 5, 6]), 8, "RequestThrottled")).await;
    world.account.fault(json!({"service": "sqs", "effect": "throttle", "times": 7})).await;
    world.account.fault(json!({"service": "sqs", "effect": "lose_answer", "times": 7})).await;
    world.account.fault(json!({"service": "sqs", "effect": "lose_request", "times": 4})).await;
    let sink = loop {
        // Where the queue is is asked at the opening, which fails too.
        if let Ok(opened) = by_key("queue").unwrap().open(channel.clone()).await {
            break opened.sink;
        }
    };
    write(sink.as_ref(), &changes(&element, 0, 60)).await;
    world.account.no_faults().await;
    // The process ends before its cursor moves, and the next sends all of it again.
    drop(sink);
    write(open(&channel).await.as_ref(), &changes(&element, 0, 80)).await;

    let found = messages(&world, &url).await;
    let mut counts: Vec<u64> = found.iter().map(|(data, _)| data["count"].as_u64().unwrap()).collect();
    let mut last: HashMap<u64, u64> = HashMap::new();
    for (data, group) in &found {
        let (key, count) = (data["id"].as_u64().unwrap(), data["count"].as_u64().unwrap());
        assert!(last.insert(key, count).is_none_or(|last| last < count), "key {key} in order");
        assert!(!group.is_empty() && data["_id"].is_string() && data["_op"] == "upsert");
    }
    counts.sort_unstable();
    assert_eq!(counts, (1..=80).collect::<Vec<_>>(), "repetitions were recognised by their ids");
    let groups: std::collections::HashSet<&String> = found.iter().map(|(_, group)| group).collect();
    assert_eq!(groups.len(), 7);
}

#[tokio::test]
async fn a_standard_queue_loses_nothing_and_a_batch_that_fails_in_part_is_not_sent_twice() {
    let Some(world) = World::start().await else { return };
    let element = sensors(ElementKind::Events);
    let url = world.make("queue").await.remove(0);
    let sink = open(&world.channel(&element, &url, json!({}))).await;
    let fault = json!({"service": "sqs", "action": "SendMessageBatch", "effect": "some", "entries": [1, 9], "times": 5,
        "code": "InternalFailure"});
    world.account.fault(fault).await;
    sink.write(&changes(&element, 0, 100)).await.unwrap();
    let asked = world.account.asked("sqs:SendMessageBatch").await;
    assert!((11..=15).contains(&asked), "ten of ten, and some of what failed: {asked}");
    let mut counts: Vec<u64> =
        messages(&world, &url).await.iter().map(|(data, _)| data["count"].as_u64().unwrap()).collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=100).collect::<Vec<_>>(), "each once");
}

#[tokio::test]
async fn a_record_too_large_for_a_message_is_refused_by_name_and_the_others_go() {
    let Some(world) = World::start().await else { return };
    let element = sensors(ElementKind::Entity);
    let url = world.make("queue").await.remove(1);
    let sink = open(&world.channel(&element, &url, json!({}))).await;
    let mut rows: Vec<Value> = (1..=9).map(|n| json!({"id": n, "count": n, "site": "\u{ffff}"})).collect();
    rows[4]["site"] = json!("x".repeat(270_000));
    let whole = of_rows(&element, Lane::Live, 0, rows);
    let refused = sink.write(&whole).await;
    let Err(SinkError::Reject { records, reason }) = refused else { panic!("{refused:?}") };
    assert_eq!(records, [5]);
    assert!(reason.contains("27") && reason.contains("262144"), "{reason}");
    for (after, to, rows) in [(0, 4, 0..4), (4, 5, 0..0), (5, 9, 5..9)] {
        let parts = whole.parts.iter().map(|part| crate::technology::Slice { rows: rows.clone(), ..part.clone() });
        sink.write(&Delivery { after, to, parts: parts.collect(), ..whole.clone() }).await.unwrap();
    }
    let counts: Vec<u64> =
        messages(&world, &url).await.iter().map(|(data, _)| data["count"].as_u64().unwrap()).collect();
    assert_eq!(counts.len(), 8);
    assert!(!counts.contains(&5));
}

#[tokio::test]
async fn a_queue_that_is_not_there_or_not_open_to_the_platform_says_so() {
    let Some(world) = World::start().await else { return };
    let element = sensors(ElementKind::Events);
    let url = world.make("queue").await.remove(0);
    let gone = world.channel(&element, &format!("{url}-gone"), json!({}));
    let missing = by_key("queue").unwrap().open(gone).await.unwrap_err().to_string();
    assert!(missing.contains("the queue is not there"), "{missing}");
    let channel = world.channel(&element, &url, json!({}));
    let sink = open(&channel).await;
    world.account.fault(json!({"service": "sqs", "effect": "refuse", "code": "AccessDenied"})).await;
    let refused = sink.write(&changes(&element, 0, 1)).await.unwrap_err().to_string();
    assert!(refused.contains("lets the platform not in"), "{refused}");
    world.account.no_faults().await;
    world.account.fault(json!({"service": "sqs", "effect": "throttle"})).await;
    let throttled = sink.write(&changes(&element, 0, 1)).await;
    assert!(matches!(throttled, Err(SinkError::Retry { after: Some(_), .. })), "{throttled:?}");
    let flow = FlowKey { element: element.id, lane: Lane::Live };
    assert!(sink.cursor(flow).await.unwrap().is_none(), "the platform's row decides");
}
