//! The power is cut while a projection is written.

use std::path::{Path, PathBuf};

use super::Projection;
use crate::power_cut::{Recording, recorded};

const CHILD: &str = "projection::power::child";
const CHANGES: u64 = 110;

fn key(n: u64) -> Vec<u8> {
    format!("key {n:06}").into_bytes()
}

fn row(n: u64) -> Vec<u8> {
    vec![n as u8; 60_000]
}

fn open(root: &Path) -> Result<Projection, String> {
    Projection::open(&root.join("rows.db")).map_err(|error| format!("cannot be opened: {error}"))
}

fn apply(projection: &mut Projection, n: u64) -> Result<(), String> {
    projection.apply(&[(key(n), Some(row(n)))], n, 1).map_err(|error| format!("cannot be written: {error}"))
}

/// The process that is recorded.
#[test]
#[ignore = "the child of the tests below"]
fn child() {
    let Some(root) = recorded("projections") else { return };
    let mut projection = open(&root).unwrap();
    for n in 1..=CHANGES {
        apply(&mut projection, n).unwrap();
        println!("wrote {n}");
        if n % 50 == 0 {
            drop(projection);
            println!("closed {n}");
            projection = open(&root).unwrap();
        }
    }
    println!("done");
}

/// Its position and its rows agree, whatever it lost: then what is missing comes again from the lake.
async fn check(root: PathBuf, said: Vec<String>) -> Result<(), String> {
    if !said.iter().any(|line| line == "made 0") {
        return Ok(());
    }
    let root = root.join("projections");
    let mut projection = open(&root)?;
    for _ in 0..2 {
        let (position, _) = projection.position().map_err(|error| format!("cannot be read: {error}"))?;
        let keys: Vec<Vec<u8>> = (1..=CHANGES + 8).map(key).collect();
        let rows = projection.get(keys.iter().map(Vec::as_slice));
        let rows = rows.map_err(|error| format!("cannot be read: {error}"))?;
        let right = (1..=CHANGES + 8).all(|n| rows.get(&key(n)) == (n <= position).then(|| row(n)).as_ref());
        if !right {
            return Err(format!("it stands at {position} and has {} rows", rows.len()));
        }
        for n in position + 1..=position + 4 {
            apply(&mut projection, n)?;
        }
    }
    drop(projection);
    open(&root).map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_takes_rows_and_position_together() {
    Recording::of(CHILD, 0).survives(30, check).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_kind_of_sync_can_be_left_out() {
    // Without its directory there is no projection: it is made anew from the lake. When its first
    // tables are made nothing is in it yet.
    let known = ["projections/", "rows.db-journal"];
    assert_eq!(Recording::of(CHILD, 0).not_needed(&known, check).await, [""; 0]);
}
