//! What an answer costs in syncs, counted on a disk that is recorded. Rounds with power cuts are in
//! `crash`, cuts of the lake alone in `crates/lake/src/power.rs`.

use serde_json::Value;

use crate::harness::stage::reading;
use crate::harness::world::{Channel, send};
use crate::harness::{Options, Platform, Stage, eventually};
use crate::power_cut::{Disk, Recorder, folder};

const LANDED: &str = "data/lake/landing/landing.db-wal";
const APPENDED: &str = "data/lake/log/log.db-wal";

/// Sends records and returns when the answer is there: they may not be conformed yet.
async fn land(feed: &Channel, records: &[Value]) {
    let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
    let response = reqwest::Client::new()
        .post(format!("{}/{}", feed.url(), feed.stream()))
        .bearer_auth(feed.secret("channel_key"))
        .header("content-type", "application/x-ndjson")
        .body(lines)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_alone_is_synced_before_its_202_and_costs_two_syncs_in_each_store() {
    let (directory, recorder) = (folder(), Recorder::new());
    let empty = Disk::of(directory.path());
    let options = Options { environment: recorder.environment(directory.path()), ..Options::default() };
    let stage = Stage::on(Platform::start_in(directory, options).unwrap(), "events").await;
    let syncs = |class: &str| {
        let mut disk = empty.clone();
        disk.follow(&recorder.read());
        disk.syncs.get(class).copied().unwrap_or(0)
    };
    send(&stage.feed, "application/x-ndjson", reading(0).to_string()).await.unwrap();
    let start = (syncs(LANDED), syncs(APPENDED));
    for payload in 1..=5 {
        let before = (syncs(LANDED), syncs(APPENDED));
        land(&stage.feed, &[reading(payload)]).await;
        assert!(syncs(LANDED) > before.0, "its 202 waited for a sync");
        // Landed and freed; appended, and freed of what is derived from it.
        eventually("it is through", async || {
            (syncs(LANDED) >= before.0 + 2 && syncs(APPENDED) >= before.1 + 2).then_some(())
        })
        .await;
    }
    // What was freed of the payload before these may be among them.
    let all = (syncs(LANDED) - start.0, syncs(APPENDED) - start.1);
    assert!((10..=11).contains(&all.0) && (10..=11).contains(&all.1), "two and two for each: {all:?}");
    let (files, names) = ("data/lake/landing/*/*.payload", "data/lake/landing/*/");
    assert_eq!((syncs(files), syncs(names)), (0, 0));
    let large: Vec<Value> = (10..20_000).map(reading).collect();
    land(&stage.feed, &large).await;
    assert_eq!((syncs(files), syncs(names)), (1, 1), "a large payload: its file and its name");
}
