//! How the lake's own SQLite files are opened, read and judged when they fail.

use std::os::raw::c_int;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::hooks::Wal;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::error::{LakeError, Result};

/// `SQLITE_IOERR_SHMSIZE`: the index of a log could not grow.
const SQLITE_IOERR_SHMSIZE: i32 = 10 | (19 << 8);

/// The log is written back when it has so many pages.
const LOG_PAGES: c_int = 2_000;
/// Free pages that a store keeps: 64 MiB.
const KEPT_PAGES: u32 = 16_384;
/// Pages given back at once.
const PIECE_PAGES: u32 = 1_024;

/// Opens a store for its one writer: WAL, a sync per commit, space given back on demand.
pub(crate) fn open_writer(path: &Path, schema: &str) -> Result<Connection> {
    let connection = Connection::open(path)?;
    // Both must come before the first table is made.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.wal_hook(Some(write_back));
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    connection.pragma_update(None, "cache_size", -16_000)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.execute_batch(schema)?;
    Ok(connection)
}

/// Writes the log back into the file. SQLite would do the same and keep to itself that the file could not be synced: its
/// log would be begun anew over pages that are not durable. The commit that comes upon it fails instead, and with it the
/// store. A reader in the way or a full disk only puts it off.
fn write_back(log: &Wal, pages: c_int) -> rusqlite::Result<()> {
    if pages < LOG_PAGES {
        return Ok(());
    }
    log.checkpoint().or_else(|error| if is_fatal(&error) { Err(error) } else { Ok(()) })
}

/// Whether a failure leaves it unknown what the disk holds: then nothing may be written any more
/// (DATA-PLANE rule 36), because a retried sync may succeed without the pages that were dropped.
pub(crate) fn is_fatal(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    !is_full(error)
        && matches!(
            code,
            Some(
                ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::ReadOnly
            )
        )
}

/// Whether the disk had no room. What was written of the transaction is not part of the file, and the next one may
/// find room. SQLite tells it apart, but for the index of its log, which is no part of what is synced.
fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
        || error.sqlite_error().is_some_and(|error| error.extended_code == SQLITE_IOERR_SHMSIZE)
}

/// What a caller hears about a failed group.
pub(crate) fn group_error(error: &rusqlite::Error) -> LakeError {
    match error {
        error if is_full(error) => LakeError::NoRoom,
        error if is_fatal(error) => LakeError::Poisoned,
        other => LakeError::NotWritten(other.to_string()),
    }
}

/// Gives long-unused space of a store back to the file system, a piece at a time.
pub(crate) fn shrink(connection: &Connection) {
    if let Err(error) = give_back(connection, KEPT_PAGES) {
        tracing::warn!(%error, "failed to give space back");
    }
}

/// Gives a piece of a file back to the file system where most of it is free, and more than `kept` pages are: the next
/// rows will want them, and what lies behind a free page has to be moved.
///
/// # Errors
/// When the file cannot be written.
pub fn give_back(connection: &Connection, kept: u32) -> rusqlite::Result<()> {
    let count = |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, i64>(0));
    let free = count("PRAGMA freelist_count")?;
    if free <= i64::from(kept) || free * 2 < count("PRAGMA page_count")? {
        return Ok(());
    }
    // It answers with a row for each page, and goes on only as long as it is asked.
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({PIECE_PAGES})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

/// Read connections, made as needed and kept. Each read is one statement: a reader that held a
/// transaction open would keep the WAL from being reused.
#[derive(Debug, Clone)]
pub(crate) struct Readers {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
}

const IDLE_READERS: usize = 8;

impl Readers {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), idle: Arc::new(Mutex::new(Vec::new())) }
    }

    /// Runs `body` on the blocking pool.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        body: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let readers = self.clone();
        tokio::task::spawn_blocking(move || {
            let taken = readers.idle.lock().pop();
            let connection = match taken {
                Some(connection) => connection,
                None => readers.connect()?,
            };
            let result = body(&connection);
            let mut idle = readers.idle.lock();
            if idle.len() < IDLE_READERS {
                idle.push(connection);
            }
            result
        })
        .await?
    }

    fn connect(&self) -> Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(std::time::Duration::from_secs(10))?;
        connection.set_prepared_statement_cache_capacity(16);
        Ok(connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_given_back_in_pieces_once_most_of_a_file_is_free() {
        let directory = tempfile::tempdir().unwrap();
        let store = open_writer(&directory.path().join("a.db"), "CREATE TABLE a (x BLOB)").unwrap();
        let pages = |pragma: &str| store.query_row(pragma, [], |row| row.get::<_, u32>(0)).unwrap();
        // A row of about a hundred pages each.
        for _ in 0..30 {
            store.execute("INSERT INTO a VALUES (zeroblob(400000))", []).unwrap();
        }
        let all = pages("PRAGMA page_count");
        store.execute("DELETE FROM a WHERE rowid % 3 = 0", []).unwrap();
        give_back(&store, 10).unwrap();
        assert_eq!(pages("PRAGMA page_count"), all, "most of it is in use");
        store.execute("DELETE FROM a", []).unwrap();
        give_back(&store, all).unwrap();
        assert_eq!(pages("PRAGMA page_count"), all, "so much is kept");
        give_back(&store, 10).unwrap();
        // And a page that says of others where they belong.
        assert!((all - PIECE_PAGES - 5..=all - PIECE_PAGES).contains(&pages("PRAGMA page_count")));
        for _ in 0..5 {
            give_back(&store, 10).unwrap();
        }
        assert!(pages("PRAGMA page_count") < 250, "{} of {all}", pages("PRAGMA page_count"));
        assert_eq!(pages("SELECT count(*) FROM a"), 0);
    }
}
