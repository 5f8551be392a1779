//! The process ends right behind everything that it does to resources of AWS, in turn.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use headgate_types::Failpoint;
use headgate_types::failpoint::VARIABLE;
use serde_json::json;

use super::cloud::{CloudChannel, CloudStage};
use crate::harness::stage::reading;
use crate::harness::{PATIENCE, eventually};

/// Sends record number `n` and answers whether it was acknowledged.
async fn sent(cloud: &CloudStage, n: usize) -> bool {
    let feed = &cloud.stage.feed;
    let request = reqwest::Client::new()
        .post(format!("{}/{}", feed.url(), feed.stream()))
        .bearer_auth(feed.secret("channel_key"))
        .header("content-type", "application/json")
        .header("idempotency-key", n.to_string())
        .timeout(Duration::from_secs(5));
    request.body(json!([reading(n)]).to_string()).send().await.is_ok_and(|answer| answer.status() == 202)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_behind_any_effect_on_a_resource_of_aws_loses_nothing_and_doubles_no_file() {
    let Some(mut cloud) = CloudStage::start("events").await else { return };
    let ordered = [
        ("files", "file", json!({"format": "ndjson", "roll_seconds": 1})),
        ("stream", "stream", json!({})),
        ("queue", "queue", json!({})),
    ];
    let channels: Vec<CloudChannel> = futures::future::join_all(
        ordered.map(|(name, profile, options)| cloud.order(name, profile, options)).into_iter(),
    )
    .await;
    let (mut next, mut acknowledged) = (0, Vec::new());
    for place in Failpoint::OF_CLOUD {
        cloud.stage.platform.kill().unwrap();
        cloud.stage.platform.set_variable(VARIABLE, place.name());
        let begun = Instant::now();
        // It may come there while it starts, and finishes what the crash before left.
        let started = tokio::task::block_in_place(|| cloud.stage.platform.start_again());
        while started.is_ok() && cloud.stage.platform.is_running() {
            assert!(begun.elapsed() < PATIENCE, "{} was not reached", place.name());
            if sent(&cloud, next).await {
                acknowledged.push(next as u64);
            }
            next += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let last = format!("ended at the failpoint {}", place.name());
        assert!(cloud.stage.platform.log().lines().any(|line| line == last), "{last}: {:?}", started.err());
    }
    cloud.stage.platform.set_variable(VARIABLE, "");
    tokio::task::block_in_place(|| cloud.stage.platform.start_again()).unwrap();
    for channel in &channels {
        let mut seen: HashMap<u64, usize> = HashMap::new();
        eventually("every acknowledged record", async || {
            if !channel.url.starts_with("sqs") {
                seen.clear();
            }
            for record in cloud.records(channel).await {
                *seen.entry(record["count"].as_u64().unwrap()).or_default() += 1;
            }
            acknowledged.iter().all(|n| seen.contains_key(n)).then_some(())
        })
        .await;
        if channel.url.starts_with("s3") {
            assert!(seen.values().all(|times| *times == 1), "{seen:?}");
        }
    }
    assert!(acknowledged.len() > Failpoint::OF_CLOUD.len());
    assert!(cloud.stage.platform.stop().unwrap().success());
    cloud.stage.platform.run(&["usage", "reconcile"]).unwrap();
}
