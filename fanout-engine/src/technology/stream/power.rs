//! The power is cut while a stream channel is written and read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::DateTime;
use headgate_types::ElementId;
use headgate_types::channel::Lane;
use uuid::Uuid;

use super::block::NewRecords;
use super::ring::Ring;
use crate::delivery::limits::PLENTY;
use crate::power_cut::{Recording, recorded};
use crate::technology::FlowKey;

const CHILD: &str = "technology::stream::power::child";
const BATCHES: u64 = 90;
/// Large enough that the log is written back to the file now and then.
const PADDING: usize = 60_000;

fn flow() -> FlowKey {
    FlowKey { element: ElementId::from_uuid(Uuid::from_u128(1)), lane: Lane::Live }
}

async fn open(channel: &Path) -> Result<Arc<Ring>, String> {
    let ring = Ring::open(channel, &PLENTY, DateTime::UNIX_EPOCH).await;
    ring.map(Arc::new).map_err(|error| format!("cannot be opened: {error:?}"))
}

async fn append(ring: &Arc<Ring>, offset: u64) -> Result<(), String> {
    let json = format!("{{\"n\": {offset}, \"pad\": \"{}\"}}", "x".repeat(PADDING));
    let mut records = NewRecords::default();
    records.push(offset, json.as_bytes());
    let written = ring.append(flow(), offset, "e".into(), records, DateTime::UNIX_EPOCH).await;
    written.map(drop).map_err(|error| format!("cannot be written: {error:?}"))
}

/// Offsets by position.
async fn read(ring: &Arc<Ring>) -> Result<BTreeMap<u64, u64>, String> {
    let kept = ring.read(0, 10_000, usize::MAX).await.map_err(|error| format!("cannot be read: {error:?}"))?;
    let number = |json: &[u8]| serde_json::from_slice::<serde_json::Value>(json).ok()?["n"].as_u64();
    kept.iter().map(|kept| Ok((kept.position, number(&kept.json).ok_or("a torn record")?))).collect()
}

/// The process that is recorded: appends, and says what it handed out where.
#[tokio::test]
#[ignore = "the child of the tests below"]
async fn child() {
    let Some(channel) = recorded("channel") else { return };
    let mut ring = open(&channel).await.unwrap();
    for offset in 1..=BATCHES {
        append(&ring, offset).await.unwrap();
        println!("read {} {offset}", ring.ends().borrow().last);
        if offset % 40 == 0 {
            ring.close().await;
            println!("closed {offset}");
            ring = open(&channel).await.unwrap();
        }
    }
    println!("done");
}

async fn check(root: PathBuf, said: Vec<String>) -> Result<(), String> {
    let mut handed_out = BTreeMap::new();
    let (mut made, mut closed) = (false, 0);
    for line in &said {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["made", _] => made = true,
            ["closed", offset] => closed = offset.parse().unwrap(),
            ["read", position, offset] => {
                handed_out.insert(position.parse::<u64>().unwrap(), offset.parse::<u64>().unwrap());
            }
            _ => {}
        }
    }
    if !made {
        return Ok(());
    }
    // Closed in order before anything else comes, as by a customer who pauses the channel.
    let ring = open(&root.join("channel")).await?;
    ring.close().await;
    drop(ring);
    let ring = open(&root.join("channel")).await?;
    let cursor = ring.cursor(flow()).await.map_err(|error| format!("{error:?}"))?.unwrap_or(0);
    // Records and cursor go together (rule 26).
    let held = read(&ring).await?;
    if !held.values().copied().eq(1..=cursor) || cursor < closed {
        return Err(format!("the cursor is at {cursor}, {closed} was closed in order, held are {:?}", held.values()));
    }
    // They come again behind something else, and nothing that was handed out turns into another.
    let other = FlowKey { element: ElementId::from_uuid(Uuid::from_u128(2)), lane: Lane::Live };
    let mut records = NewRecords::default();
    records.push(1, b"{\"n\": 0}");
    let written = ring.append(other, 1, "other".into(), records, DateTime::UNIX_EPOCH).await;
    written.map_err(|error| format!("cannot be written: {error:?}"))?;
    let to = handed_out.values().copied().max().unwrap_or(0).max(cursor) + 2;
    for offset in cursor + 1..=to {
        append(&ring, offset).await?;
    }
    let held = read(&ring).await?;
    if !held.values().copied().filter(|offset| *offset > 0).eq(1..=to) {
        return Err(format!("after delivering again: {held:?}"));
    }
    let last = handed_out.keys().next_back().copied().unwrap_or(0);
    for (position, offset) in &held {
        match handed_out.get(position) {
            Some(was) if was != offset => return Err(format!("position {position} was {was} and is {offset}")),
            None if *position <= last => return Err(format!("{position} lies behind a reader at {last}")),
            _ => {}
        }
    }
    drop(ring);
    open(&root.join("channel")).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_takes_records_and_cursor_together_and_gives_no_position_twice() {
    Recording::of(CHILD, 0).survives(40, check).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_kind_of_sync_can_be_left_out() {
    assert_eq!(Recording::of(CHILD, 0).not_needed(&[], check).await, [""; 0]);
}
