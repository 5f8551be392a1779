//! The power is cut at any moment of a recorded run: what was acknowledged is there, each offset
//! once, and the lake goes on. With the syncs of any one kind of file taken for nothing it is not.

mod counts;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use futures::TryStreamExt;
use headgate_types::schema::ElementKind;
use headgate_types::{ChannelId, ElementId, FeedId, SchemaId, SystemClock};
use uuid::Uuid;

use crate::fixtures::{append_events, assert_tiles, changes, commit, ints, layout, texts};
use crate::power_cut::{DIRECTORY, Recording};
use crate::{Body, ElementLayout, Lake, LakeConfig, NewPayload, OFFSET};

const CHILD: &str = "power::child";
/// Rounds of the recorded run.
const ROUNDS: u64 = 48;
/// Keys of the entity.
const KEYS: u64 = 12;

/// Whose loss is made good: where a reader of a Delta log looks first. Lost or torn, it reads the
/// directory.
const HINT: &str = "_last_checkpoint";

fn element(number: u128, kind: ElementKind) -> ElementLayout {
    ElementLayout {
        element: ElementId::from_uuid(Uuid::from_u128(number)),
        schema_id: SchemaId::from_uuid(Uuid::from_u128(number + 100)),
        ..layout(kind)
    }
}

/// Events, an entity, and events so large that the log's file is written to.
fn elements() -> [ElementLayout; 3] {
    [element(1, ElementKind::Events), element(2, ElementKind::Entity), element(3, ElementKind::Events)]
}

fn feed() -> (ChannelId, FeedId) {
    (ChannelId::from_uuid(Uuid::from_u128(7)), FeedId::from_uuid(Uuid::from_u128(8)))
}

async fn open(root: &Path) -> crate::Result<Lake> {
    let mut config = LakeConfig::new(root.join("lake"));
    config.compact_files = 3;
    config.checkpoint_every = 5;
    let lake = Lake::open(config, SystemClock::shared()).await?;
    for layout in elements() {
        lake.register(layout).await?;
    }
    Ok(lake)
}

async fn land(lake: &Lake, number: u64, size: usize) -> u64 {
    let (channel, feed) = feed();
    let payload = NewPayload {
        channel,
        feed,
        idempotency_key: Some(number.to_string()),
        content_type: "text/csv".to_owned(),
        encoding: None,
        max_bytes: 2_000_000,
        body: Body::from(vec![(number % 251) as u8; size]),
    };
    lake.landing().append(payload).await.unwrap().sequence
}

/// The entity's change number `offset`, from 1: its keys in turn, each with a name that counts.
fn change(offset: u64) -> (&'static str, i64, String, Option<String>) {
    let (key, turn) = ((offset - 1) % KEYS, (offset - 1) / KEYS);
    let name = |turn: u64| format!("{key}-{turn}");
    if turn == 0 {
        ("insert", key as i64, name(0), None)
    } else {
        ("update", key as i64, name(turn), Some(name(turn - 1)))
    }
}

/// Nothing makes it smaller.
fn noise(length: usize, seed: u64) -> String {
    let mut state = seed + 1;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + ((state >> 33) % 90) as u8)
    };
    (0..length).map(|_| next()).collect()
}

/// The process that is recorded: lands, appends, rolls, frees, and says what it was told is durable.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the child of the tests below"]
async fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let lake = open(Path::new(&directory)).await.unwrap();
    println!("open");
    let [events, entity, bulk] = elements();
    for round in 0..ROUNDS {
        println!("head 0 {}", append_events(&lake, &events, 1 + (round % 7) as i64).await.last);
        let head = lake.log().head(entity.element);
        let (op, key, name, before) = change(head + 1);
        let batch = changes(&entity, &[(op, key, &name, before.as_deref())]);
        println!("head 1 {}", lake.log().append(commit(&entity, head, batch)).await.unwrap().last);
        if round % 5 == 1 {
            let head = lake.log().head(bulk.element);
            let columns: Vec<ArrayRef> = vec![
                Arc::new(Int64Array::from(vec![head as i64 + 1])),
                Arc::new(StringArray::from(vec![noise(1_300_000, round)])),
                Arc::new(Float64Array::from(vec![0.5])),
                Arc::new(StringArray::from(vec!["insert"])),
            ];
            let batch = RecordBatch::try_new(bulk.log_schema(), columns).unwrap();
            println!("head 2 {}", lake.log().append(commit(&bulk, head, batch)).await.unwrap().last);
        }
        let size = match round % 4 {
            0 => 900_000,
            1 => 1_100_000,
            _ => 100,
        };
        println!("landed {} {round} {size}", land(&lake, round, size).await);
        if round % 3 == 2 {
            lake.roll(events.element).await.unwrap();
            println!("rolled 0 {}", lake.log().head(events.element));
        }
        if round % 6 == 5 {
            lake.publish_tables(entity.element).await.unwrap();
            lake.roll(entity.element).await.unwrap();
            println!("rolled 1 {}", lake.log().head(entity.element));
        }
        if round == ROUNDS / 2 {
            println!("freeing 9");
            let (channel, feed) = feed();
            lake.landing().free(channel, feed, 9).await.unwrap();
            println!("freed 9");
        }
    }
    println!("done");
}

/// What was said up to a cut.
#[derive(Debug, Default)]
struct Promised {
    heads: [u64; 3],
    landed: Vec<(u64, u64, u64)>,
    freeing: u64,
    freed: u64,
}

impl Promised {
    fn of(said: &[String]) -> Self {
        let mut promised = Self::default();
        for line in said {
            let mut words = line.split(' ');
            let word = words.next().unwrap_or_default();
            let numbers: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
            match (word, numbers.as_slice()) {
                ("head", [element, head]) => promised.heads[*element as usize] = *head,
                ("landed", [sequence, number, size]) => promised.landed.push((*sequence, *number, *size)),
                ("freeing", [to]) => promised.freeing = *to,
                ("freed", [to]) => promised.freed = *to,
                _ => {}
            }
        }
        promised
    }
}

/// Opens what a cut left and looks at everything that was promised; then goes on with it.
async fn check(root: PathBuf, said: Vec<String>) -> Result<(), String> {
    let promised = Promised::of(&said);
    let lake = open(&root).await.map_err(|error| format!("cannot be opened: {error}"))?;
    let fenced = lake.take_fenced();
    if !fenced.is_empty() {
        return Err(format!("fenced: {fenced:?}"));
    }
    let elements = elements();
    for (layout, promised) in elements.iter().zip(promised.heads) {
        let head = lake.log().head(layout.element);
        if head < promised {
            return Err(format!("offset {promised} of {} was acknowledged, the head is {head}", layout.element));
        }
    }
    let look = async |count: usize| {
        for (number, layout) in elements[..count].iter().enumerate() {
            let head = lake.log().head(layout.element);
            let scanned: Result<Vec<_>, _> = lake.scan(layout.element, 0, head).try_collect().await;
            let batches = scanned.map_err(|error| format!("cannot be read: {error}"))?;
            if number == 0 {
                assert_tiles(&batches, 0, head);
            }
            let offsets: Vec<i64> = batches.iter().flat_map(|batch| ints(&batch.batch, OFFSET)).collect();
            assert_eq!(offsets, (1..=head as i64).collect::<Vec<_>>(), "element {number}");
            if number == 1 {
                let names: Vec<String> = batches.iter().flat_map(|batch| texts(&batch.batch, "name")).collect();
                assert_eq!(names, (1..=head).map(|offset| change(offset).2).collect::<Vec<_>>());
                let live: Result<Vec<_>, _> = lake.snapshot(layout.element, head, 0).try_collect().await;
                let live = live.map_err(|error| format!("live rows cannot be read: {error}"))?;
                let names: Vec<String> = live.iter().flat_map(|batch| texts(&batch.batch, "name")).collect();
                let expected = (1 + head.saturating_sub(KEYS)..=head).map(|offset| change(offset).2);
                assert_eq!(names, expected.collect::<Vec<_>>(), "live rows");
            }
        }
        Ok::<(), String>(())
    };
    look(3).await?;
    let (channel, feed) = feed();
    let payloads = lake.landing().read(channel, feed, 0, u64::MAX).await.map_err(|error| error.to_string())?;
    for (sequence, number, size) in &promised.landed {
        let found = payloads.iter().find(|payload| payload.sequence == *sequence);
        match found {
            None if *sequence <= promised.freeing => {}
            None => return Err(format!("payload {sequence} was acknowledged and is not there")),
            Some(_) if *sequence <= promised.freed => return Err(format!("payload {sequence} came back")),
            Some(payload) => {
                let mut bytes = Vec::new();
                let read = payload.body.open().and_then(|mut body| std::io::copy(&mut body, &mut bytes));
                read.map_err(|error| format!("payload {sequence} cannot be read: {error}"))?;
                if bytes != vec![(number % 251) as u8; *size as usize] {
                    return Err(format!("payload {sequence} has other bytes"));
                }
            }
        }
    }
    // A key that was acknowledged is known, and its place is nobody else's.
    if let Some((sequence, number, size)) = promised.landed.last() {
        let again = land(&lake, *number, *size as usize).await;
        assert_eq!(again, *sequence, "sent again and not recognised");
    }
    let next = land(&lake, 1_000_000, 1_100_000).await;
    assert!(promised.landed.iter().all(|(sequence, ..)| *sequence < next), "a place was given twice");
    append_events(&lake, &elements[0], 2).await;
    // The large one stays in the log: what is rolled is small, and quickly written.
    for layout in &elements[..2] {
        lake.roll(layout.element).await.map_err(|error| format!("cannot be rolled: {error}"))?;
    }
    lake.publish_tables(elements[1].element).await.map_err(|error| format!("cannot be published: {error}"))?;
    look(2).await?;
    // Nothing that the tables hold may depend on what memory still knows.
    drop(lake);
    drop(open(&root).await.map_err(|error| format!("cannot be opened again: {error}"))?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_power_cut_at_any_moment() {
    let cuts = std::env::var("HEADGATE_POWER_CUTS").map_or(20, |cuts| cuts.parse().unwrap());
    Recording::of(CHILD, 0).survives(cuts, check).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_kind_of_sync_can_be_left_out() {
    assert_eq!(Recording::of(CHILD, 0).not_needed(&[HINT], check).await, [""; 0]);
}
