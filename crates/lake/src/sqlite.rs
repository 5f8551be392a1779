//! How the lake's own SQLite files are opened, read and judged when they fail.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::error::{LakeError, Result};

/// `SQLITE_IOERR_SHMSIZE`: the index of a log could not grow.
const SQLITE_IOERR_SHMSIZE: i32 = 10 | (19 << 8);

/// Opens a store for its one writer: WAL, a sync per commit, space given back on demand.
pub(crate) fn open_writer(path: &Path, schema: &str) -> Result<Connection> {
    let connection = Connection::open(path)?;
    // Both must come before the first table is made.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 2_000)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    connection.pragma_update(None, "cache_size", -16_000)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.execute_batch(schema)?;
    Ok(connection)
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

/// Gives long-unused space back to the file system, a piece at a time. Some free pages are kept:
/// the next rows will want them.
pub(crate) fn give_back(connection: &Connection) {
    let free = connection.query_row("PRAGMA freelist_count", [], |row| row.get::<_, i64>(0));
    if free.is_ok_and(|pages| pages > 16_384)
        && let Err(error) = connection.execute_batch("PRAGMA incremental_vacuum(4096)")
    {
        tracing::warn!(%error, "failed to give space back");
    }
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
