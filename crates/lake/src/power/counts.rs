//! What durability costs: syncs are counted, time is not looked at.

use std::collections::BTreeMap;
use std::path::Path;

use headgate_types::schema::ElementKind;

use super::{CHILD, element, land, open};
use crate::fixtures::append_events;
use crate::power_cut::{DIRECTORY, Entry, Recording, entries};

/// The syncs before each thing that was said, since the one before.
fn steps(child: &Recording) -> Vec<(String, BTreeMap<String, u64>)> {
    let mut disk = child.disk.clone();
    let mut steps = Vec::new();
    for entry in entries(&child.journal) {
        disk.take(entry);
        if let Entry::Mark(text) = entry
            && !text.trim().is_empty()
        {
            steps.push((text.trim().to_owned(), std::mem::take(&mut disk.syncs)));
        }
    }
    steps
}

fn costs(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
    pairs.iter().map(|(class, count)| ((*class).to_owned(), *count)).collect()
}

/// Whether a store's log began again from its start, after its content had gone to the file: every
/// 2,000 pages, for two more syncs and one of the new start.
fn is_turned(syncs: &BTreeMap<String, u64>, store: &str) -> bool {
    syncs.contains_key(store) || syncs.get(&format!("{store}-wal")).is_some_and(|count| *count > 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_costs_the_syncs_it_needs_and_no_more() {
    const LANDING: &str = "lake/landing/landing.db";
    const LOG: &str = "lake/log/log.db";
    let (inline, appended) = (costs(&[("lake/landing/landing.db-wal", 1)]), costs(&[("lake/log/log.db-wal", 1)]));
    let mut large = inline.clone();
    large.extend(costs(&[("lake/landing/*/", 1), ("lake/landing/*/*.payload", 1)]));
    let (mut seen, mut turned, mut first) = (BTreeMap::<&str, u32>::new(), 0, true);
    for (said, mut syncs) in steps(&Recording::of(CHILD, 0)) {
        let words: Vec<&str> = said.split(' ').collect();
        match words.as_slice() {
            ["landed", .., size] => {
                if is_turned(&syncs, LANDING) {
                    turned += 1;
                    continue;
                }
                let size: u64 = size.parse().unwrap();
                let is_large = size > 1 << 20;
                if is_large && std::mem::take(&mut first) {
                    assert_eq!(syncs.remove("lake/landing/"), Some(1), "the channel's directory gets its name");
                }
                assert_eq!(syncs, if is_large { large.clone() } else { inline.clone() }, "{said}");
                *seen.entry(if is_large { "large" } else { "inline" }).or_default() += 1;
            }
            ["head", ..] => {
                if is_turned(&syncs, LOG) {
                    turned += 1;
                    continue;
                }
                assert_eq!(syncs, appended, "{said}");
                *seen.entry("appended").or_default() += 1;
            }
            ["rolled", ..] => {
                let count = |class: &str| -> u64 {
                    ["changes", "current"]
                        .iter()
                        .filter_map(|table| syncs.get(&format!("lake/tables/*/{table}/{class}")))
                        .sum()
                };
                let (commits, checkpoints) = (count("_delta_log/*.json"), count("_delta_log/*.checkpoint.parquet"));
                assert!(commits > 0, "{said}: {syncs:?}");
                assert_eq!((count("*.parquet"), count("")), (commits, commits), "{said}: a file and its name");
                assert_eq!(count("_delta_log/_last_checkpoint"), checkpoints);
                assert_eq!(count("_delta_log/"), commits + 2 * checkpoints, "{said}: entries and their names");
                *seen.entry("rolled").or_default() += 1;
            }
            _ => {}
        }
    }
    assert!(seen["inline"] > 20 && seen["large"] > 10 && seen["appended"] > 80 && seen["rolled"] > 20, "{seen:?}");
    assert!(turned < 30, "{turned}");
}

const SENDERS: u64 = 64;
const EACH: u64 = 8;

/// The process that is counted: many at once land, then many at once append.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the child of the test below"]
async fn crowd() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let lake = open(Path::new(&directory)).await.unwrap();
    println!("open");
    let senders = (0..SENDERS).map(|sender| {
        let lake = lake.clone();
        tokio::spawn(async move {
            for payload in 0..EACH {
                land(&lake, sender * 100 + payload, 100).await;
            }
        })
    });
    futures::future::try_join_all(senders.collect::<Vec<_>>()).await.unwrap();
    println!("landed");
    let elements: Vec<_> = (0..16).map(|number| element(1_000 + number, ElementKind::Events)).collect();
    for layout in &elements {
        lake.register(layout.clone()).await.unwrap();
    }
    println!("registered");
    let writers = elements.into_iter().map(|layout| {
        let lake = lake.clone();
        tokio::spawn(async move {
            for _ in 0..EACH {
                append_events(&lake, &layout, 1).await;
            }
        })
    });
    futures::future::try_join_all(writers.collect::<Vec<_>>()).await.unwrap();
    println!("appended");
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_come_at_once_share_their_syncs() {
    // A sync that takes its time, as a disk's does, so that others come while it is under way.
    let steps = steps(&Recording::of("power::counts::crowd", 3_000));
    let syncs = |said: &str, class: &str| {
        let (_, syncs) = steps.iter().find(|(found, _)| found == said).unwrap();
        syncs.get(class).copied().unwrap_or(0)
    };
    let (landed, appended) = (syncs("landed", "lake/landing/landing.db-wal"), syncs("appended", "lake/log/log.db-wal"));
    assert!(landed > 0 && landed * 8 <= SENDERS * EACH, "{landed} syncs for {} payloads", SENDERS * EACH);
    assert!(appended > 0 && appended * 3 <= 16 * EACH, "{appended} syncs for {} batches", 16 * EACH);
}
