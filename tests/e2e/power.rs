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
async fn a_payload_alone_is_synced_once_before_its_202_and_once_where_it_goes() {
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
    for payload in 1..=5 {
        // Nothing of the one before is still under way: it was conformed, and freed.
        let mut before = (0, 0);
        eventually("the disk is quiet", async || {
            let last = std::mem::replace(&mut before, (syncs(LANDED), syncs(APPENDED)));
            (last == before).then_some(())
        })
        .await;
        land(&stage.feed, &[reading(payload)]).await;
        let landed = syncs(LANDED) - before.0;
        assert!((1..=2).contains(&landed), "its own, and perhaps that of what was freed by now: {landed}");
        eventually("it is in the log", async || (syncs(APPENDED) > before.1).then_some(())).await;
        eventually("it is freed", async || (syncs(LANDED) == before.0 + 2).then_some(())).await;
        assert_eq!(syncs(APPENDED), before.1 + 1, "one batch, one sync");
    }
    let (files, names) = ("data/lake/landing/*/*.payload", "data/lake/landing/*/");
    assert_eq!((syncs(files), syncs(names)), (0, 0));
    let large: Vec<Value> = (10..9_000).map(reading).collect();
    land(&stage.feed, &large).await;
    assert_eq!((syncs(files), syncs(names)), (1, 1), "a large payload: its file and its name");
}
