//! The power is cut while the store of an `api` channel is written.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use headgate_types::SystemClock;
use rusqlite::params;

use super::store::{Store, failed};
use crate::delivery::limits::PLENTY;
use crate::power_cut::{Recording, recorded};

const CHILD: &str = "technology::api::power::child";
const RECORDS: i64 = 110;

async fn open(channel: &Path) -> Result<Arc<Store>, String> {
    let store = Store::open(channel.to_owned(), &[], PLENTY, SystemClock::shared()).await;
    let store = store.map(Arc::new).map_err(|error| format!("cannot be opened: {error:?}"))?;
    let made = store.write(|connection| {
        let table = "CREATE TABLE IF NOT EXISTS records (n INTEGER PRIMARY KEY, pad TEXT)";
        connection.execute_batch(table).map_err(failed)
    });
    made.await.map_err(|error| format!("cannot be written: {error:?}"))?;
    Ok(store)
}

/// A record and the cursor, as a delivery writes them.
async fn write(store: &Arc<Store>, n: i64) -> Result<(), String> {
    let written = store.write(move |connection| {
        let tx = connection.transaction().map_err(failed)?;
        tx.execute("INSERT INTO records VALUES (?1, ?2)", params![n, "x".repeat(60_000)]).map_err(failed)?;
        let cursor = "INSERT INTO cursors VALUES ('e', 'live', 0, ?1, 0, 0)
                      ON CONFLICT (element, lane) DO UPDATE SET last_offset = excluded.last_offset";
        tx.execute(cursor, [n]).map_err(failed)?;
        tx.commit().map_err(failed)
    });
    written.await.map_err(|error| format!("cannot be written: {error:?}"))
}

/// The process that is recorded.
#[tokio::test]
#[ignore = "the child of the tests below"]
async fn child() {
    let Some(channel) = recorded("channel") else { return };
    let mut store = open(&channel).await.unwrap();
    for n in 1..=RECORDS {
        write(&store, n).await.unwrap();
        println!("wrote {n}");
        if n % 50 == 0 {
            store.close().await;
            println!("closed {n}");
            store = open(&channel).await.unwrap();
        }
    }
    println!("done");
}

async fn check(root: PathBuf, said: Vec<String>) -> Result<(), String> {
    if !said.iter().any(|line| line == "made 0") {
        return Ok(());
    }
    let store = open(&root.join("channel")).await?;
    let look = async || -> Result<i64, String> {
        let found = store.read(|connection| {
            let cursor = "SELECT coalesce(max(last_offset), 0) FROM cursors";
            let rows = "SELECT count(*), coalesce(max(n), 0), coalesce(min(length(pad)), 60000) FROM records";
            let cursor: i64 = connection.query_row(cursor, [], |row| row.get(0)).map_err(failed)?;
            let rows = connection.query_row(rows, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
            let sound: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).map_err(failed)?;
            Ok::<_, crate::technology::SinkError>((cursor, rows.map_err(failed)?, sound))
        });
        let (cursor, rows, sound) = found.await.map_err(|error| format!("cannot be read: {error:?}"))?;
        if rows != (cursor, cursor, 60_000) || sound != "ok" {
            return Err(format!("the cursor is at {cursor}, rows are {rows:?}, {sound}"));
        }
        Ok(cursor)
    };
    let closed = said.iter().filter_map(|line| line.strip_prefix("closed ")?.parse().ok()).max().unwrap_or(0);
    let cursor = look().await?;
    if cursor < closed {
        return Err(format!("{closed} was closed in order, the cursor is at {cursor}"));
    }
    for n in cursor + 1..=cursor + 4 {
        write(&store, n).await?;
    }
    look().await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_takes_records_and_cursor_together() {
    Recording::of(CHILD, 0).survives(30, check).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_kind_of_sync_can_be_left_out() {
    assert_eq!(Recording::of(CHILD, 0).not_needed(&[], check).await, [""; 0]);
}
