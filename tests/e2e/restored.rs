//! Files that come from an older copy: what was given out is not given out again, nothing is doubled, and it goes on
//! (DATA-PLANE rules 5, 31).

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::read::ChannelReader;
use crate::harness::receiver::Receiver;
use crate::harness::records::Records;
use crate::harness::stage::reading;
use crate::harness::world::Channel;
use crate::harness::{Stage, eventually};

const PART: usize = 100;
/// Those that are read; the fifth channel pushes.
const PROFILES: [&str; 4] = ["api", "file", "stream", "queue"];

/// A stage with a channel of each kind.
struct Scene {
    stage: Stage,
    receiver: Receiver,
    /// `api`, `file`, `stream`, `queue`, `webhook`.
    channels: [Channel; 5],
}

impl Scene {
    async fn start() -> Self {
        let stage = Stage::start("events").await;
        let receiver = Receiver::start().await.unwrap();
        let api = stage.channel("api", json!({})).await;
        let file = stage.channel("file", json!({"format": "ndjson", "roll_seconds": 1})).await;
        let stream = stage.channel("stream", json!({})).await;
        // Nothing is acknowledged: every message comes again.
        let queue = stage.channel("queue", json!({"visibility_seconds": 1, "max_receives": 1000})).await;
        let order = stage.order_out("webhook", &json!({"url": receiver.url, "batch_records": 50}));
        let secrets = async |kind: &str, secret: &str| {
            if kind == "signing_secret" {
                receiver.with(|received| received.secrets.push(secret.to_owned())).await;
            }
        };
        let webhook = stage.consumer.order("out", &order, |_| {}, secrets).await.unwrap();
        Self { stage, receiver, channels: [api, file, stream, queue, webhook] }
    }

    /// Sends part `number` of the readings and waits until all channels have everything through it.
    async fn part(&self, number: usize) {
        let records: Vec<Value> = (number * PART..(number + 1) * PART).map(reading).collect();
        self.stage.send(&records).await;
        for (channel, profile) in self.channels.iter().zip(PROFILES) {
            eventually("a channel has the last record", async || {
                let found = read(channel, profile).await;
                let last = format!("r{:06}", (number + 1) * PART - 1);
                found.iter().any(|record| record["id"] == last.as_str()).then_some(())
            })
            .await;
        }
        eventually("the receiver has the last record", async || {
            let found = self.receiver.with(|received| received.records()).await;
            let last = format!("r{:06}", (number + 1) * PART - 1);
            found.iter().any(|record| record["id"] == last.as_str()).then_some(())
        })
        .await;
    }

    /// Sends a part, keeps `path` as it then is, sends another, and puts the old copy back.
    async fn restore(&mut self, path: &str) {
        self.part(0).await;
        assert!(self.stage.platform.stop().unwrap().success());
        let (path, kept) = (self.stage.platform.directory().join("data").join(path), tempfile::tempdir().unwrap());
        copy(&path, &kept.path().join("copy"));
        self.stage.platform.start_again().unwrap();
        self.part(1).await;
        assert!(self.stage.platform.stop().unwrap().success());
        copy(&kept.path().join("copy"), &path);
        self.stage.platform.start_again().unwrap();
        self.part(2).await;
    }

    /// Every kind of channel has each of `parts` parts, once or as a recognisable repeat.
    async fn holds(&self, parts: usize) {
        let sent: Vec<Value> = (0..parts * PART).map(reading).collect();
        let expected = Records::of(&sent);
        let [api, file, stream, queue, _] = &self.channels;
        expected.assert_equals(&Records::of(&read(api, "api").await), "api");
        expected.assert_equals(&Records::of(&read(file, "file").await), "file");
        expected.assert_equals(&Records::of(by_id(read(stream, "stream").await).values()), "stream");
        let mut received = BTreeMap::new();
        eventually("the queue gives everything", async || {
            received.extend(by_id(read(queue, "queue").await));
            (received.len() == parts * PART).then_some(())
        })
        .await;
        expected.assert_equals(&Records::of(received.values()), "queue");
        let pushed = self.receiver.with(|received| received.records()).await;
        expected.assert_equals(&Records::of(by_id(pushed).values()), "webhook");
    }
}

async fn read(channel: &Channel, profile: &str) -> Vec<Value> {
    let reader = ChannelReader::new(channel.url(), channel.secret("channel_key"));
    match profile {
        "api" => reader.api("readings").await.unwrap(),
        "file" => reader.files().await.unwrap(),
        "queue" => messages(channel).await,
        _ => reader.stream().await.unwrap(),
    }
}

/// What a queue gives now: what it gave in the second before comes later.
async fn messages(channel: &Channel) -> Vec<Value> {
    let request = reqwest::Client::new().post(format!("{}/receive?max=1000", channel.url()));
    let answer = request.bearer_auth(channel.secret("channel_key")).send().await.unwrap();
    let answer: Value = answer.error_for_status().unwrap().json().await.unwrap();
    answer["messages"].as_array().unwrap().iter().map(|message| message["data"].clone()).collect()
}

/// Records by their id, which stands for one content.
fn by_id(records: Vec<Value>) -> BTreeMap<String, Value> {
    let mut found: BTreeMap<String, Value> = BTreeMap::new();
    for record in records {
        let first = found.entry(record["_id"].as_str().unwrap().to_owned()).or_insert_with(|| record.clone());
        assert_eq!(*first, record);
    }
    found
}

/// Puts a file or a directory where another is; SQLite's files of the old one go.
fn copy(from: &Path, to: &Path) {
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", to.display()));
    }
    if !from.is_dir() {
        std::fs::copy(from, to).unwrap();
        return;
    }
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_an_old_data_db_nothing_is_doubled_and_what_targets_hold_is_booked_again() {
    let mut scene = Scene::start().await;
    scene.restore("data.db").await;
    scene.holds(3).await;
    assert!(scene.stage.platform.stop().unwrap().success());
    scene.stage.platform.run(&["usage", "reconcile"]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn over_an_old_log_no_offset_means_something_else_and_the_owner_hears_of_the_loss() {
    let mut scene = Scene::start().await;
    scene.restore("lake/log").await;
    // What the copy did not know is gone from the log; whoever had it keeps it, and what came since is not mixed up
    // with it.
    scene.holds(3).await;
    let late = scene.stage.channel("api", json!({})).await;
    scene.stage.settled(&late, 2 * PART).await;
    let kept: Vec<Value> = (0..PART).chain(2 * PART..3 * PART).map(reading).collect();
    Records::of(&kept).assert_equals(&Records::of(&read(&late, "api").await), "ordered later");
    let heard = async || {
        let events = scene.stage.provider.api.get("/v1/events?page_size=1000").await.ok()?;
        let events = events["items"].as_array()?.clone();
        events.into_iter().find(|event| event["type"].as_str().is_some_and(|name| name.contains("fenced")))
    };
    eventually("the owner hears of the loss", heard).await;
    assert!(scene.stage.platform.stop().unwrap().success());
    scene.stage.platform.run(&["usage", "reconcile"]).unwrap();
}
