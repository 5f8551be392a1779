//! The power is cut while a file channel publishes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::DateTime;
use headgate_types::channel::Lane;
use headgate_types::checksum::Checksum;
use headgate_types::{ChannelId, ElementId};
use serde_json::Value;
use uuid::Uuid;

use super::settings::Format;
use super::store::{NewFile, Store};
use crate::delivery::limits::PLENTY;
use crate::power_cut::{DIRECTORY, Recording};
use crate::technology::FlowKey;

const CHILD: &str = "technology::file::power::child";
const FILES: u64 = 30;

fn flow() -> FlowKey {
    FlowKey { element: ElementId::from_uuid(Uuid::from_u128(1)), lane: Lane::Live }
}

fn content(to: u64) -> Vec<u8> {
    format!("{{\"n\": {to}}}\n").repeat(600).into_bytes()
}

/// The directory of the channel, as the driver made it: durable.
fn directory(root: &Path) -> PathBuf {
    root.join(ChannelId::from_uuid(Uuid::from_u128(2)).to_string())
}

async fn open(root: &Path) -> Result<Arc<Store>, String> {
    let store = Store::open(directory(root), &PLENTY, DateTime::UNIX_EPOCH).await;
    store.map(Arc::new).map_err(|error| format!("cannot be opened: {error:?}"))
}

async fn publish(store: &Arc<Store>, to: u64) -> Result<(), String> {
    let (table, content) = ("t".to_owned(), content(to));
    let (format, checksum) = (Format::Ndjson, Checksum::EMPTY);
    let file = NewFile { flow: flow(), to, table, format, model_version: 1, records: 1, checksum, content };
    let published = store.publish(file, DateTime::UNIX_EPOCH).await;
    published.map_err(|error| format!("cannot be published: {error:?}"))
}

/// The process that is recorded: publishes and deletes, and says what it was told is done.
#[tokio::test]
#[ignore = "the child of the tests below"]
async fn child() {
    let Ok(root) = std::env::var(DIRECTORY) else { return };
    let root = Path::new(&root);
    fs::create_dir(directory(root)).unwrap();
    fs::File::open(root).unwrap().sync_all().unwrap();
    println!("made 0");
    for to in 1..=FILES {
        // A restart in order now and then writes the state's log back.
        let store = open(root).await.unwrap();
        for to in to * 10..to * 10 + 2 {
            publish(&store, to).await.unwrap();
            println!("published {to}");
        }
        if to % 5 == 0 {
            let name = store.list(0, 1).await.unwrap().remove(0).name;
            assert!(store.delete(name.clone(), DateTime::UNIX_EPOCH).await.unwrap());
            println!("deleted {name}");
        }
    }
    println!("done");
}

async fn check(root: PathBuf, said: Vec<String>) -> Result<(), String> {
    let find = |word: &str| -> Vec<String> {
        said.iter().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' ').map(str::to_owned)).collect()
    };
    if find("made").is_empty() {
        return Ok(());
    }
    let published = find("published").last().and_then(|to| to.parse().ok()).unwrap_or(0);
    let deleted: BTreeSet<String> = find("deleted").into_iter().collect();
    let mut last = published;
    // What must have been published by now.
    let mut all: Vec<u64> = Vec::new();
    for _ in 0..2 {
        let store = open(&root).await?;
        let cursor = store.cursor(flow()).await.map_err(|error| format!("{error:?}"))?;
        if cursor < last {
            return Err(format!("{last} was published, the cursor is at {cursor}"));
        }
        let listed = store.list(0, 1_000).await.map_err(|error| format!("{error:?}"))?;
        let mut held = BTreeMap::new();
        for file in &listed {
            let bytes = fs::read(directory(&root).join("files").join(&file.name));
            held.insert(file.name.clone(), bytes.map_err(|error| format!("{} cannot be read: {error}", file.name))?);
        }
        // Each was published with its own content; what was deleted was the oldest.
        if all.is_empty() {
            all = (1..=FILES).flat_map(|n| [n * 10, n * 10 + 1]).filter(|to| *to <= cursor).collect();
        }
        let reached = all.len();
        let gone = reached.saturating_sub(held.len());
        if gone < deleted.len() || gone > deleted.len() + 1 || deleted.iter().any(|name| held.contains_key(name)) {
            return Err(format!("{} of {reached} files are listed, deleted were {deleted:?}", held.len()));
        }
        if !all.iter().skip(gone).map(|to| content(*to)).eq(held.values().cloned()) {
            return Err("files have other bytes".to_owned());
        }
        let names = fs::read_dir(directory(&root).join("files")).map_err(|error| error.to_string())?;
        let names: BTreeSet<String> = names.flatten().map(|file| file.file_name().into_string().unwrap()).collect();
        if !names.iter().eq(held.keys()) {
            return Err(format!("there are {names:?}, listed are {:?}", held.keys()));
        }
        let manifest = fs::read(directory(&root).join("manifest.json")).map_err(|error| error.to_string())?;
        let manifest: Value = serde_json::from_slice(&manifest).map_err(|error| format!("the manifest: {error}"))?;
        if manifest["files"].as_array().map_or(0, Vec::len) != listed.len() {
            return Err("the manifest lists others".to_owned());
        }
        last = if last < 5_000 { 5_000 } else { 5_001 };
        publish(&store, last).await?;
        all.push(last);
    }
    Ok(())
}

/// As `check` for a reader of the directory alone, which is told nothing of `state.db`: the manifest
/// that it finds is whole, and so is every file that it names.
async fn check_manifest(root: PathBuf, said: Vec<String>) -> Result<(), String> {
    if said.iter().any(|line| line.starts_with("published")) {
        let file = directory(&root).join("manifest.json");
        let manifest = fs::read(file).map_err(|error| format!("the manifest: {error}"))?;
        serde_json::from_slice::<Value>(&manifest).map_err(|error| format!("the manifest: {error}"))?;
    }
    check(root, said).await
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_were_published_survive_a_power_cut_and_what_was_deleted_does_not() {
    Recording::of(CHILD, 0).survives(40, check_manifest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_kind_of_sync_can_be_left_out() {
    assert_eq!(Recording::of(CHILD, 0).not_needed(&[], check_manifest).await, [""; 0]);
}
