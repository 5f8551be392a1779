//! The store's file: tables that follow the scopes, one writer, a few readers.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use headgate_access::Seal;
use headgate_types::SharedClock;
use headgate_types::limits::Limits;
use parking_lot::Mutex;
use rand::RngCore;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};

use super::table::Table;
use crate::sqlite::{Database, connect, heed};
use crate::technology::{OutputElement, SinkError};

const FILE: &str = "api.sqlite";
const PAGE_BYTES: u64 = 4_096;
/// Readers kept open; more are opened when needed and closed afterwards.
const IDLE_READERS: usize = 4;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS channel (id INTEGER PRIMARY KEY CHECK (id = 1), seal_key BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS elements (
        element TEXT PRIMARY KEY, shape TEXT NOT NULL, changes INTEGER NOT NULL
    );
    CREATE TABLE IF NOT EXISTS cursors (
        element TEXT NOT NULL, lane TEXT NOT NULL, start_offset INTEGER NOT NULL, last_offset INTEGER NOT NULL,
        epoch INTEGER NOT NULL, moved_at INTEGER NOT NULL, PRIMARY KEY (element, lane)
    );";

/// The store of one channel.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    tables: Vec<Arc<Table>>,
    writer: Mutex<Option<Database>>,
    readers: Mutex<Option<Vec<Connection>>>,
    seal: Seal,
    instance: u64,
    answer_bytes: usize,
    clock: SharedClock,
}

impl Store {
    /// Opens the store, making what is missing. A table whose shape changed begins anew and is filled
    /// again; elements out of scope are removed.
    pub async fn open(
        directory: PathBuf,
        elements: &[OutputElement],
        limits: Limits,
        clock: SharedClock,
    ) -> Result<Self, SinkError> {
        let mut tables = Vec::with_capacity(elements.len());
        for output in elements {
            let table = Table::new(output).map_err(|errors| {
                let detail = errors.into_iter().map(|error| error.detail).collect::<Vec<_>>().join("; ");
                SinkError::reject(format!("the options of {:?} are wrong: {detail}", output.name))
            })?;
            tables.push(Arc::new(table));
        }
        blocking(move || Self::open_in(&directory, tables, &limits, clock)).await
    }

    fn open_in(
        directory: &Path,
        tables: Vec<Arc<Table>>,
        limits: &Limits,
        clock: SharedClock,
    ) -> Result<Self, SinkError> {
        fs::create_dir_all(directory).map_err(|error| SinkError::retry(format!("failed to use the store: {error}")))?;
        let path = directory.join(FILE);
        let mut connection = connect(&path).map_err(failed)?;
        connection.pragma_update(None, "journal_size_limit", 16 << 20).map_err(failed)?;
        if limits.retention_bytes > 0 {
            connection
                .pragma_update(None, "max_page_count", (limits.retention_bytes / PAGE_BYTES).max(64))
                .map_err(failed)?;
        }
        let tx = connection.transaction().map_err(failed)?;
        tx.execute_batch(TABLES).map_err(failed)?;
        let mut key = [0; 32];
        rand::thread_rng().fill_bytes(&mut key);
        tx.execute("INSERT INTO channel (id, seal_key) VALUES (1, ?1) ON CONFLICT DO NOTHING", [key])
            .map_err(failed)?;
        let key: [u8; 32] = tx.query_row("SELECT seal_key FROM channel", [], |row| row.get(0)).map_err(failed)?;
        follow(&tx, &tables, clock.now().timestamp_millis()).map_err(failed)?;
        tx.commit().map_err(failed)?;
        Ok(Self {
            path,
            tables,
            writer: Mutex::new(Some(connection)),
            readers: Mutex::new(Some(Vec::new())),
            seal: Seal::new(&key),
            instance: rand::thread_rng().next_u64(),
            answer_bytes: usize::try_from(limits.payload_bytes).unwrap_or(usize::MAX),
            clock,
        })
    }

    /// The tables, in the order of the scopes.
    pub fn tables(&self) -> &[Arc<Table>] {
        &self.tables
    }

    /// The seal of page tokens; it outlives restarts, so that tokens do.
    pub fn seal(&self) -> &Seal {
        &self.seal
    }

    /// Bytes of rows with which an answer ends.
    pub const fn answer_bytes(&self) -> usize {
        self.answer_bytes
    }

    /// A number that is new whenever the store is opened. Part of entity tags: what was lost in a
    /// power failure may come back in other batches under the same count of changes.
    pub fn instance(&self) -> u64 {
        self.instance
    }

    /// Milliseconds since 1970.
    pub fn now(&self) -> i64 {
        self.clock.now().timestamp_millis()
    }

    /// Runs `work` on the one connection that writes.
    pub async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Connection) -> Result<T, SinkError> + Send + 'static,
    ) -> Result<T, SinkError> {
        let store = Arc::clone(self);
        blocking(move || match store.writer.lock().as_mut() {
            Some(connection) => work(connection),
            None => Err(closed()),
        })
        .await
    }

    /// Runs `work` on a connection that only reads.
    pub async fn read<T: Send + 'static, E: From<SinkError> + Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let store = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || {
            let idle = store.readers.lock().as_mut().ok_or_else(closed)?.pop();
            let mut connection = match idle {
                Some(connection) => connection,
                None => store.reader().map_err(failed)?,
            };
            let result = work(&mut connection);
            if let Some(idle) = store.readers.lock().as_mut().filter(|idle| idle.len() < IDLE_READERS) {
                idle.push(connection);
            }
            result
        });
        task.await.unwrap_or_else(|_| Err(SinkError::retry("reading the store was interrupted").into()))
    }

    fn reader(&self) -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(connection)
    }

    /// Bytes of the file and its journal.
    pub fn bytes(&self) -> u64 {
        let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        size(&self.path) + size(&self.path.with_extension("sqlite-wal"))
    }

    /// Lets go of the files; what is in flight ends first.
    pub async fn close(self: &Arc<Self>) {
        let store = Arc::clone(self);
        let closing = blocking(move || {
            store.readers.lock().take();
            store.writer.lock().take();
            Ok(())
        });
        if let Err(error) = closing.await {
            tracing::error!(%error, "failed to close the store of an api channel");
        }
    }
}

/// Makes the tables what the scopes ask for. The cursors of a table that goes stay, at 0: a file that was lost or
/// restored has none there.
fn follow(tx: &Connection, tables: &[Arc<Table>], now: i64) -> rusqlite::Result<()> {
    let mut statement = tx.prepare("SELECT element, shape FROM elements")?;
    let held: Vec<(String, String)> =
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    for (element, shape) in &held {
        let wanted = tables.iter().any(|table| table.element.to_string() == *element && table.shape() == *shape);
        if !wanted {
            let uuid = element.trim_start_matches("el_");
            tx.execute_batch(&format!("DROP TABLE IF EXISTS r_{uuid};"))?;
            tx.execute("DELETE FROM elements WHERE element = ?1", [element])?;
            tx.execute(
                "UPDATE cursors SET start_offset = 0, last_offset = 0, moved_at = ?2 WHERE element = ?1",
                params![element, now],
            )?;
        }
    }
    let mut statement = tx.prepare("SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = ?1")?;
    for table in tables {
        let element = table.element.to_string();
        let known: Option<i64> =
            tx.query_row("SELECT changes FROM elements WHERE element = ?1", [&element], |row| row.get(0)).optional()?;
        if known.is_none() {
            tx.execute_batch(&table.create())?;
            tx.execute(
                "INSERT INTO elements (element, shape, changes) VALUES (?1, ?2, 0)",
                params![element, table.shape()],
            )?;
        }
        let indexes: Vec<String> =
            statement.query_map([table.sql_name()], |row| row.get(0))?.collect::<Result<_, _>>()?;
        tx.execute_batch(&table.index(&indexes))?;
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SinkError> + Send + 'static,
) -> Result<T, SinkError> {
    let task = tokio::task::spawn_blocking(work);
    task.await.unwrap_or_else(|_| Err(SinkError::retry("the store's work was interrupted")))
}

fn closed() -> SinkError {
    SinkError::retry("the channel is closed")
}

/// A failure of SQLite: nothing in a record can cause one, so trying again is always right.
pub fn failed(error: rusqlite::Error) -> SinkError {
    heed(&error);
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => SinkError::retry(
            "the store is full: order a larger size, or a narrower scope, to make room for more records",
        ),
        _ => SinkError::retry(format!("failed to use the store: {error}")),
    }
}
