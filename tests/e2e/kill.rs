//! `kill -9` in the middle of ingestion and fan-out: what was answered 202 arrives as promised.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::harness::read::ChannelReader;
use crate::harness::receiver::Receiver;
use crate::harness::records::Records;
use crate::harness::stage::reading;
use crate::harness::world::Channel;
use crate::harness::{Stage, eventually};

const BATCHES: usize = 60;
const BATCH: usize = 100;
/// Batches answered when the process is killed.
const KILLS: [usize; 2] = [15, 35];

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_202_survives_kill_9_and_reaches_every_kind_of_channel() {
    let mut stage = Stage::start("events").await;
    let receiver = Receiver::start().await.unwrap();
    let api = stage.channel("api", json!({})).await;
    let file = stage.channel("file", json!({"format": "ndjson", "roll_seconds": 1})).await;
    let stream = stage.channel("stream", json!({})).await;
    let order = stage.order_out("webhook", &json!({"url": receiver.url, "batch_records": 50}));
    let secrets = async |kind: &str, secret: &str| {
        if kind == "signing_secret" {
            receiver.with(|received| received.secrets.push(secret.to_owned())).await;
        }
    };
    let webhook = stage.consumer.order("out", &order, |_| {}, secrets).await.unwrap();

    let answered = AtomicUsize::new(0);
    let feed = stage.feed.clone();
    let kills = async {
        for kill in KILLS {
            let far = async || (answered.load(Ordering::SeqCst) >= kill).then_some(());
            eventually("the source is far enough", far).await;
            stage.platform.kill_and_restart().unwrap();
        }
    };
    futures::join!(source(&feed, &answered), kills);

    let total = BATCHES * BATCH;
    let sent: Vec<Value> = (0..total).map(reading).collect();
    let expected = Records::of(&sent);
    for channel in [&api, &file, &stream, &webhook] {
        let statistics = stage.settled(channel, total).await;
        let flows = statistics["flows"].as_array().unwrap();
        let booked: u64 = flows.iter().filter_map(|flow| flow["records"].as_u64()).sum();
        assert_eq!(booked, total as u64, "every record is booked once: {statistics:#}");
    }
    let reader = |channel: &Channel| ChannelReader::new(channel.url(), channel.secret("channel_key"));
    expected.assert_equals(&Records::of(&reader(&api).api("readings").await.unwrap()), "api");
    let files = reader(&file).files().await.unwrap();
    expected.assert_equals(&Records::of(&files), "file");
    assert_eq!(by_id(&files).len(), total, "file: every record once");
    // Repeats carry the id of the record they repeat, and its content.
    let streamed = by_id(&reader(&stream).stream().await.unwrap());
    expected.assert_equals(&Records::of(streamed.values()), "stream");
    let pushed = by_id(&receiver.with(|received| received.records()).await);
    expected.assert_equals(&Records::of(pushed.values()), "webhook");

    assert!(stage.platform.stop().unwrap().success());
    stage.platform.run(&["usage", "reconcile"]).unwrap();
}

/// Sends every batch until it is answered 202, as a source must that wants nothing lost.
async fn source(feed: &Channel, answered: &AtomicUsize) {
    let http = reqwest::Client::new();
    let url = format!("{}/{}", feed.url(), feed.stream());
    for batch in 0..BATCHES {
        let lines: String =
            (batch * BATCH..(batch + 1) * BATCH).map(|number| format!("{}\n", reading(number))).collect();
        eventually("a batch is answered", async || {
            let request = http
                .post(&url)
                .bearer_auth(feed.secret("channel_key"))
                .header("content-type", "application/x-ndjson")
                .header("idempotency-key", format!("batch-{batch}"))
                .body(lines.clone());
            // A broken connection leaves open whether the batch arrived: its key decides.
            let response = request.send().await.ok()?;
            (response.status() == 202).then_some(())
        })
        .await;
        answered.fetch_add(1, Ordering::SeqCst);
    }
}

/// Records by their `_id`; fails when one id stands for two contents.
fn by_id(records: &[Value]) -> BTreeMap<String, Value> {
    let mut seen: HashMap<String, Value> = HashMap::new();
    for record in records {
        let id = record["_id"].as_str().unwrap().to_owned();
        let first = seen.entry(id).or_insert_with(|| record.clone());
        assert_eq!(first, record, "a repeat is the same record");
    }
    seen.into_iter().collect()
}
