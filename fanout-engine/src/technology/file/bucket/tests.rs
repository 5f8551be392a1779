//! A bucket against an account that fails at every request, and against another process.

use std::sync::Arc;

use headgate_types::channel::Lane;
use headgate_types::schema::ElementKind;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::shape::testing::{Element, sensors};
use crate::technology::testing::{World, delivery, of_rows};
use crate::technology::{FlowKey, Flush, OpenChannel, Sink, SinkError, by_key};

async fn open(channel: &OpenChannel) -> Result<Arc<dyn Sink>, SinkError> {
    by_key("file").unwrap().open(channel.clone()).await.map(|opened| opened.sink)
}

fn flow(element: &Element) -> FlowKey {
    FlowKey { element: element.id, lane: Lane::Live }
}

/// What the worker does after any failure: goes on where the target stands.
async fn catch_up(sink: &dyn Sink, element: &Element, to: u64) -> Result<(), SinkError> {
    let held = sink.cursor(flow(element)).await?.unwrap().offset;
    if held < to {
        sink.write(&delivery(element, Lane::Live, held, to)).await?;
    }
    sink.flush(flow(element), Flush::Now).await.map(drop)
}

/// The ids in all visible files, by the manifest; the files listed in the bucket are the same, and each is
/// what the manifest says.
async fn ids(world: &World, url: &str) -> Vec<u64> {
    let (s3, bucket) = (world.s3(), url.trim_start_matches("s3://"));
    let object = async |key: &str| {
        let got = s3.get_object().bucket(bucket).key(key).send().await.unwrap();
        got.body.collect().await.unwrap().into_bytes()
    };
    let listed = s3.list_objects_v2().bucket(bucket).prefix("files/").send().await.unwrap();
    let mut listed: Vec<String> =
        listed.contents().iter().filter_map(|object| object.key().map(str::to_owned)).collect();
    let manifest: Value = serde_json::from_slice(&object("manifest.json").await).unwrap();
    let (mut named, mut ids) = (Vec::new(), Vec::new());
    for file in manifest["files"].as_array().unwrap() {
        let key = format!("files/{}", file["name"].as_str().unwrap());
        let content = object(&key).await;
        assert_eq!(
            (&file["bytes"], &file["sha256"]),
            (&json!(content.len()), &json!(hex::encode(Sha256::digest(&content))))
        );
        let lines = std::str::from_utf8(&content).unwrap().lines();
        ids.extend(lines.map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_u64().unwrap()));
        named.push(key);
    }
    named.sort_unstable();
    listed.sort_unstable();
    assert_eq!(named, listed, "the manifest names what is visible, each once");
    ids.sort_unstable();
    ids
}

fn through(to: u64) -> Vec<u64> {
    (1..=to).collect()
}

#[tokio::test]
async fn a_bucket_holds_the_files_and_the_manifest_that_a_directory_holds() {
    let Some(world) = World::start().await else { return };
    let element = sensors(ElementKind::Entity);
    let mut manifests = Vec::new();
    for format in ["ndjson", "csv", "parquet"] {
        let url = world.make("file").await.remove(0);
        let folder = tempfile::tempdir().unwrap();
        let there = world.channel(&element, &url, json!({"format": format}));
        let mut here = there.clone();
        here.binding = headgate_types::channel::Binding::plain(url::Url::from_directory_path(folder.path()).unwrap());
        let delivered = delivery(&element, Lane::Live, 0, 9);
        for channel in [&here, &there] {
            let sink = open(channel).await.unwrap();
            sink.write(&delivered).await.unwrap();
            sink.flush(flow(&element), Flush::Now).await.unwrap();
        }
        let bucket = url.trim_start_matches("s3://");
        let object = async |key: &str| {
            let got = world.s3().get_object().bucket(bucket).key(key).send().await.unwrap();
            (got.content_type().unwrap_or_default().to_owned(), got.body.collect().await.unwrap().into_bytes())
        };
        let name = format!("sensors-00000001.{format}");
        for file in [format!("files/{name}"), "manifest.json".to_owned()] {
            let (kind, bytes) = object(&file).await;
            assert_eq!(bytes, std::fs::read(folder.path().join(&file)).unwrap(), "{file}");
            manifests.push(kind);
        }
        assert_eq!(
            open(&there).await.unwrap().stored_bytes().await,
            object(&format!("files/{name}")).await.1.len() as u64
        );
    }
    let kinds = ["application/x-ndjson", "text/csv; charset=utf-8", "application/vnd.apache.parquet"];
    assert_eq!(manifests.iter().step_by(2).map(String::as_str).collect::<Vec<_>>(), kinds);
}

/// Whatever request fails, before or after it was carried out, once or until the process is another: what is
/// visible is each record once, and the manifest says the same.
#[tokio::test]
async fn a_process_that_ends_between_any_two_requests_leaves_each_record_in_one_file() {
    let Some(world) = World::start().await else { return };
    let element = sensors(ElementKind::Events);
    for effect in ["lose_request", "lose_answer", "throttle"] {
        let url = world.make("file").await.remove(0);
        let channel = world.channel(&element, &url, json!({}));
        let mut to = 0;
        let mut failed = 0;
        for after in 0.. {
            to += 3;
            world.account.fault(json!({"service": "s3", "effect": effect, "after": after})).await;
            let done = async { catch_up(open(&channel).await?.as_ref(), &element, to).await }.await;
            let faults_left = done.is_ok();
            world.account.no_faults().await;
            if !faults_left {
                failed += 1;
            }
            // Another process.
            let sink = open(&channel).await.unwrap();
            let seen = ids(&world, &url).await;
            assert_eq!(seen, through(seen.len() as u64), "{effect} after {after} requests");
            assert_eq!(sink.cursor(flow(&element)).await.unwrap().unwrap().offset, seen.len() as u64);
            catch_up(sink.as_ref(), &element, to).await.unwrap();
            assert_eq!(ids(&world, &url).await, through(to), "{effect} after {after} requests");
            if faults_left {
                break;
            }
        }
        assert!(failed >= 9, "{effect}: every request was failed in turn, {failed}");
        // The SDK repeats what failed once: that meets what it did itself and is no failure.
        let sink = open(&channel).await.unwrap();
        for after in 0..7 {
            to += 2;
            world.account.fault(json!({"service": "s3", "effect": effect, "after": after, "times": 1})).await;
            catch_up(sink.as_ref(), &element, to).await.unwrap();
            world.account.no_faults().await;
            assert_eq!(ids(&world, &url).await, through(to), "{effect} once after {after} requests");
        }
        // An upload whose answer was lost is known to nobody until the next process looks.
        drop(open(&channel).await.unwrap());
        let left = world.s3().list_multipart_uploads().bucket(url.trim_start_matches("s3://")).send().await.unwrap();
        assert!(left.uploads().is_empty(), "{effect}: {left:?}");
    }
}

#[tokio::test]
async fn two_processes_with_one_bucket_never_publish_a_range_twice() {
    let Some(world) = World::start().await else { return };
    let element = sensors(ElementKind::Events);
    let url = world.make("file").await.remove(0);
    let channel = world.channel(&element, &url, json!({}));
    // One is in the middle of making its file visible when the other comes.
    let former = open(&channel).await.unwrap();
    world.account.fault(json!({"service": "s3", "action": "POST", "effect": "hold", "after": 1})).await;
    let publishing = catch_up(former.as_ref(), &element, 5);
    let taking_over = async {
        while world.account.asked("s3:POST").await < 2 {
            tokio::task::yield_now().await;
        }
        let next = open(&channel).await.unwrap();
        assert_eq!(next.cursor(flow(&element)).await.unwrap().unwrap().offset, 0, "it cannot become visible any more");
        world.account.no_faults().await;
        next
    };
    let (published, next) = tokio::join!(publishing, taking_over);
    assert!(matches!(published, Err(SinkError::Retry { .. })), "{published:?}");
    catch_up(next.as_ref(), &element, 4).await.unwrap();
    assert_eq!(ids(&world, &url).await, through(4));
    // Both go on as if they were alone.
    let mut to = 4;
    while to < 40 {
        to += 4;
        let (one, other) = tokio::join!(catch_up(former.as_ref(), &element, to), catch_up(next.as_ref(), &element, to));
        for outcome in [one, other] {
            assert!(matches!(outcome, Ok(()) | Err(SinkError::Retry { .. })), "{outcome:?}");
        }
        let seen = ids(&world, &url).await;
        assert_eq!(seen, through(seen.len() as u64));
    }
    catch_up(former.as_ref(), &element, to).await.unwrap();
    catch_up(next.as_ref(), &element, to).await.unwrap();
    assert_eq!(ids(&world, &url).await, through(to));
}

#[tokio::test]
async fn a_full_bucket_waits_until_its_client_has_deleted_files_or_ordered_more() {
    let Some(world) = World::start().await else { return };
    let element = sensors(ElementKind::Events);
    let url = world.make("file").await.remove(0);
    let mut channel = world.channel(&element, &url, json!({}));
    channel.limits.retention_bytes = 2_000;
    let sink = open(&channel).await.unwrap();
    let (mut to, mut full) = (0, None);
    while full.is_none() {
        assert!(to < 1_000);
        to += 5;
        full = catch_up(sink.as_ref(), &element, to).await.err();
    }
    let full = full.unwrap().to_string();
    assert!(full.contains("is full") && full.contains("2000 bytes"), "{full}");
    assert_eq!(ids(&world, &url).await, through(to - 5), "nothing was dropped");
    let bucket = url.trim_start_matches("s3://");
    world.s3().delete_object().bucket(bucket).key("files/sensors-00000001.ndjson").send().await.unwrap();
    catch_up(sink.as_ref(), &element, to).await.unwrap();
    assert_eq!(ids(&world, &url).await, (6..=to).collect::<Vec<_>>(), "the manifest knows what is gone");
    channel.limits.retention_bytes = 1 << 20;
    sink.close().await;
    catch_up(open(&channel).await.unwrap().as_ref(), &element, to + 100).await.unwrap();
}

#[tokio::test]
async fn a_large_file_goes_up_in_parts_and_comes_back_whole() {
    let Some(world) = World::start().await else { return };
    let element = sensors(ElementKind::Events);
    let url = world.make("file").await.remove(0);
    let channel = world.channel(&element, &url, json!({"roll_bytes": 1 << 29}));
    let sink = open(&channel).await.unwrap();
    let text = "x".repeat(1 << 20);
    let rows: Vec<Value> = (1..=20).map(|id| json!({"id": id, "site": text})).collect();
    let before = world.account.asked("s3:PUT").await;
    sink.write(&of_rows(&element, Lane::Live, 0, rows)).await.unwrap();
    sink.flush(flow(&element), Flush::Now).await.unwrap();
    // Reading compares size and digest.
    assert_eq!(ids(&world, &url).await, through(20));
    // Three parts; state before and after, and the manifest.
    assert_eq!(world.account.asked("s3:PUT").await - before, 6);
}
