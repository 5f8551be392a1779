//! The power is cut while a queue is filled and worked on.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use headgate_types::ElementId;
use headgate_types::channel::Lane;
use uuid::Uuid;

use super::settings::Settings;
use super::store::{NewMessage, Queue, Verdict};
use crate::power_cut::{Recording, recorded};
use crate::technology::FlowKey;

const CHILD: &str = "technology::queue::power::child";
const BATCHES: u64 = 90;
/// Large enough that the log is written back to the file now and then.
const PADDING: usize = 60_000;

fn flow() -> FlowKey {
    FlowKey { element: ElementId::from_uuid(Uuid::from_u128(1)), lane: Lane::Live }
}

async fn open(channel: &Path) -> Result<Arc<Queue>, String> {
    let settings = Settings { max_receives: 5, visibility: Duration::from_secs(30) };
    Queue::open(channel, settings, 0).await.map_err(|error| format!("cannot be opened: {error:?}"))
}

/// The process that is recorded: puts in, takes out, and says what it acknowledged.
#[tokio::test]
#[ignore = "the child of the test below"]
async fn child() {
    let Some(channel) = recorded("channel") else { return };
    let queue = open(&channel).await.unwrap();
    let now = DateTime::UNIX_EPOCH;
    for offset in 1..=BATCHES {
        let json = format!("{{\"n\": {offset}, \"pad\": \"{}\"}}", "x".repeat(PADDING)).into_bytes();
        let message = NewMessage { offset, key: Some(offset % 3), json };
        queue.append(flow(), offset, "e".into(), vec![message], now).await.unwrap();
        if offset % 2 == 0 {
            let received = queue.receive(1, usize::MAX, Duration::from_secs(30), now).await.unwrap();
            for message in received {
                println!("acknowledges {}", number(&message.json).unwrap());
                queue.decide(vec![message.receipt], Verdict::Done, now).await.unwrap();
            }
        }
    }
    println!("done");
}

fn number(json: &[u8]) -> Option<u64> {
    serde_json::from_slice::<serde_json::Value>(json).ok()?["n"].as_u64()
}

async fn check(root: PathBuf, said: Vec<String>) -> Result<(), String> {
    if !said.iter().any(|line| line.starts_with("made")) {
        return Ok(());
    }
    let acknowledged: BTreeSet<u64> =
        said.iter().filter_map(|line| line.strip_prefix("acknowledges ")?.parse().ok()).collect();
    let failed = |error| format!("cannot be read: {error:?}");
    let queue = open(&root.join("channel")).await?;
    let cursor = queue.cursor(flow()).await.map_err(failed)?;
    // One of each key at a time: what is given out is acknowledged at once, so that all comes.
    let (mut held, later) = (BTreeSet::new(), DateTime::UNIX_EPOCH + Duration::from_secs(3_600));
    loop {
        let received = queue.receive(10, usize::MAX, Duration::from_secs(30), later).await.map_err(failed)?;
        if received.is_empty() {
            break;
        }
        for message in received {
            let number = number(&message.json).ok_or("a torn record")?;
            if !held.insert(number) {
                return Err(format!("{number} is there twice"));
            }
            queue.decide(vec![message.receipt], Verdict::Done, later).await.map_err(failed)?;
        }
    }
    let lost: Vec<u64> =
        (1..=cursor).filter(|number| !held.contains(number) && !acknowledged.contains(number)).collect();
    if !lost.is_empty() || held.last().is_some_and(|last| *last > cursor) {
        return Err(format!("the cursor is at {cursor}, held are {held:?}, nobody acknowledged {lost:?}"));
    }
    let depth = queue.depth(later).await.map_err(failed)?;
    if depth != super::store::Depth::default() {
        return Err(format!("the emptied queue says that it holds {depth:?}"));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_takes_messages_and_cursor_together() {
    Recording::of(CHILD, 0).survives(40, check).await;
}
