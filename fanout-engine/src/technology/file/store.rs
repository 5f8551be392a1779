//! The directory of a file channel: which files are visible, and how far each flow is in them.
//!
//! ```text
//! state.db        cursors, files, intents; synced
//! tmp/            files being written; emptied at open
//! files/          visible files, each complete
//! manifest.json   what is visible, for readers of the directory; derived from state.db
//! ```
//! Publishing a range: the bytes go to `tmp/` and are synced; an intent with name, range, size and
//! digest becomes durable; a hard link makes the file visible, which fails if the name exists; the
//! directory is synced; file row, cursor and the intent's end are one transaction. After a crash
//! an intent whose file is visible is adopted, any other is forgotten together with its bytes, and
//! the cursor says what to deliver again.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use headgate_types::checksum::Checksum;
use headgate_types::limits::Limits;
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::settings::Format;
use crate::sqlite::{Database, connect, heed};
use crate::technology::{FlowKey, SinkError};

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS cursors (
        element TEXT NOT NULL, lane TEXT NOT NULL, last_offset INTEGER NOT NULL, PRIMARY KEY (element, lane)
    );
    CREATE TABLE IF NOT EXISTS files (
        sequence INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, table_name TEXT NOT NULL, format TEXT NOT NULL,
        lane TEXT NOT NULL, model_version INTEGER NOT NULL, records INTEGER NOT NULL, bytes INTEGER NOT NULL,
        checksum TEXT NOT NULL, sha256 TEXT NOT NULL, created_at TEXT NOT NULL, deleted_at TEXT
    );
    CREATE TABLE IF NOT EXISTS intents (
        sequence INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, table_name TEXT NOT NULL, format TEXT NOT NULL,
        lane TEXT NOT NULL, model_version INTEGER NOT NULL, records INTEGER NOT NULL, bytes INTEGER NOT NULL,
        checksum TEXT NOT NULL, sha256 TEXT NOT NULL, created_at TEXT NOT NULL, deleted_at TEXT,
        element TEXT NOT NULL, last_offset INTEGER NOT NULL
    );";
const FILE_COLUMNS: &str =
    "sequence, name, table_name, format, lane, model_version, records, bytes, checksum, sha256, created_at";

/// One visible file, as the manifest lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The channel's own sequence; files are complete in this order.
    pub sequence: u64,
    /// The name below `files/`.
    pub name: String,
    /// The element's name in this channel.
    pub table: String,
    /// `ndjson`, `csv` or `parquet`.
    pub format: String,
    /// `live`, `backfill` or `replay`.
    pub lane: String,
    /// Revision of the output model that shaped it.
    pub model_version: u32,
    /// Records in it.
    pub records: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// Delivery checksum over its records.
    pub checksum: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// When it became visible.
    pub created_at: String,
}

/// A range that becomes a file.
#[derive(Debug)]
pub struct NewFile {
    /// The flow it belongs to.
    pub flow: FlowKey,
    /// The last offset it holds.
    pub to: u64,
    /// The element's name in this channel.
    pub table: String,
    /// The format of `content`.
    pub format: Format,
    /// Revision of the output model.
    pub model_version: u32,
    /// Records in it.
    pub records: u64,
    /// Delivery checksum over them.
    pub checksum: Checksum,
    /// The bytes.
    pub content: Vec<u8>,
}

/// An open directory.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    database: Mutex<Database>,
    capacity: u64,
}

impl Store {
    /// Opens the directory, making what is missing in it and ending what a crash interrupted.
    pub async fn open(directory: PathBuf, limits: &Limits, now: DateTime<Utc>) -> Result<Self, SinkError> {
        let capacity = limits.retention_bytes;
        blocking(move || Self::open_directory(directory, capacity, now)).await
    }

    fn open_directory(directory: PathBuf, capacity: u64, now: DateTime<Utc>) -> Result<Self, StoreError> {
        fs::create_dir_all(directory.join("files"))?;
        fs::create_dir_all(directory.join("tmp"))?;
        sync(&directory)?;
        let database = connect(&directory.join("state.db"))?;
        // What it lists is published, and not delivered again.
        database.pragma_update(None, "synchronous", "FULL")?;
        database.execute_batch(TABLES)?;
        let store = Self { directory, database: Mutex::new(database), capacity };
        store.recover(now)?;
        Ok(store)
    }

    /// Adopts or forgets what was being published.
    fn recover(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let mut database = self.database.lock();
        self.end_intents(&mut database)?;
        for left_over in fs::read_dir(self.directory.join("tmp"))? {
            fs::remove_file(left_over?.path())?;
        }
        // A deletion that was answered may have been undone in the directory, or not begun there.
        let mut kept = database.prepare("SELECT 1 FROM files WHERE name = $1 AND deleted_at IS NULL")?;
        for file in fs::read_dir(self.directory.join("files"))? {
            let file = file?;
            if !kept.exists(params![file.file_name().to_string_lossy()])? {
                fs::remove_file(file.path())?;
            }
        }
        drop(kept);
        self.write_manifest(&database, now)
    }

    /// Adopts what was published but for its end, and forgets what was not. An intent outlives its publishing when
    /// that fails, in a crash or on a full disk: the range must not be published again beside it.
    fn end_intents(&self, database: &mut Connection) -> Result<(), StoreError> {
        let names: Vec<(String, u64)> = database
            .prepare_cached("SELECT name, bytes FROM intents ORDER BY sequence")?
            .query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?
            .collect::<Result<_, _>>()?;
        for (name, bytes) in names {
            // The link is made only after the bytes are synced, so a visible file is complete; that of a publishing
            // which failed may not have been synced.
            match fs::metadata(self.directory.join("files").join(&name)) {
                Ok(file) if file.len() == bytes => {
                    sync(&self.directory.join("files"))?;
                    settle(database, &name)?;
                }
                _ => drop(database.execute("DELETE FROM intents WHERE name = $1", params![name])?),
            }
        }
        Ok(())
    }

    /// The last offset of a flow that is in a visible file.
    pub async fn cursor(self: &Arc<Self>, flow: FlowKey) -> Result<u64, SinkError> {
        let store = Arc::clone(self);
        blocking(move || Ok(cursor(&store.database.lock(), flow)?)).await
    }

    /// Moves a flow's cursor over a range without records.
    pub async fn skip(self: &Arc<Self>, flow: FlowKey, to: u64) -> Result<(), SinkError> {
        let store = Arc::clone(self);
        blocking(move || Ok(advance(&store.database.lock(), flow, to)?)).await
    }

    /// Makes a range visible as one file.
    pub async fn publish(self: &Arc<Self>, file: NewFile, now: DateTime<Utc>) -> Result<(), SinkError> {
        let store = Arc::clone(self);
        blocking(move || store.publish_file(&file, now)).await
    }

    fn publish_file(&self, file: &NewFile, now: DateTime<Utc>) -> Result<(), StoreError> {
        let mut database = self.database.lock();
        self.end_intents(&mut database)?;
        if cursor(&database, file.flow)? >= file.to {
            return Ok(());
        }
        let size = file.content.len() as u64;
        let used = used(&database)?;
        if used + size > self.capacity {
            return Err(StoreError::Full { used, capacity: self.capacity });
        }
        let sequence: i64 = database.query_row(
            "SELECT 1 + max(coalesce((SELECT max(sequence) FROM files), 0), coalesce((SELECT max(sequence) FROM intents), 0))",
            [],
            |row| row.get(0),
        )?;
        let name = format!("{}-{sequence:08}.{}", file.table, file.format.as_str());
        let temporary = self.directory.join("tmp").join(&name);
        write_synced(&temporary, &file.content)?;
        headgate_types::reach(headgate_types::Failpoint::FileStaged);
        database.execute(
            "INSERT INTO intents VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, NULL, $12, $13)",
            params![
                sequence,
                name,
                file.table,
                file.format.as_str(),
                file.flow.lane.as_str(),
                file.model_version,
                signed(file.records),
                signed(size),
                file.checksum.to_string(),
                hex::encode(Sha256::digest(&file.content)),
                now.to_rfc3339(),
                file.flow.element.to_string(),
                signed(file.to),
            ],
        )?;
        headgate_types::reach(headgate_types::Failpoint::FileIntended);
        let files = self.directory.join("files");
        // A link fails where the name exists, a rename would replace it.
        fs::hard_link(&temporary, files.join(&name))?;
        sync(&files)?;
        headgate_types::reach(headgate_types::Failpoint::FileVisible);
        settle(&mut database, &name)?;
        headgate_types::reach(headgate_types::Failpoint::FileListed);
        fs::remove_file(&temporary)?;
        self.write_manifest(&database, now)
    }

    /// The visible files after a sequence, oldest first.
    pub async fn list(self: &Arc<Self>, after: u64, limit: usize) -> Result<Vec<Listed>, SinkError> {
        let store = Arc::clone(self);
        blocking(move || Ok(list(&store.database.lock(), after, limit)?)).await
    }

    /// A visible file and where it is.
    pub async fn find(self: &Arc<Self>, name: String) -> Result<Option<(Listed, PathBuf)>, SinkError> {
        let store = Arc::clone(self);
        blocking(move || {
            let sql = format!("SELECT {FILE_COLUMNS} FROM files WHERE name = $1 AND deleted_at IS NULL");
            let listed = store.database.lock().query_row(&sql, params![name], listed).optional()?;
            Ok(listed.map(|listed| {
                let path = store.directory.join("files").join(&listed.name);
                (listed, path)
            }))
        })
        .await
    }

    /// Deletes a visible file; `false` when there is none of this name.
    pub async fn delete(self: &Arc<Self>, name: String, now: DateTime<Utc>) -> Result<bool, SinkError> {
        let store = Arc::clone(self);
        blocking(move || {
            let database = store.database.lock();
            // SQLite counts `$1` as a name, by where it first stands.
            let sql = "UPDATE files SET deleted_at = $1 WHERE name = $2 AND deleted_at IS NULL";
            if database.execute(sql, params![now.to_rfc3339(), name])? == 0 {
                return Ok(false);
            }
            fs::remove_file(store.directory.join("files").join(&name))?;
            store.write_manifest(&database, now)?;
            Ok(true)
        })
        .await
    }

    /// Bytes of the visible files.
    pub async fn stored_bytes(self: &Arc<Self>) -> Result<u64, SinkError> {
        let store = Arc::clone(self);
        blocking(move || Ok(used(&store.database.lock())?)).await
    }

    fn write_manifest(&self, database: &Connection, now: DateTime<Utc>) -> Result<(), StoreError> {
        let manifest = serde_json::json!({
            "generated_at": now.to_rfc3339(),
            "files": list(database, 0, usize::MAX)?,
        });
        let temporary = self.directory.join("tmp").join("manifest.json");
        write_synced(&temporary, &serde_json::to_vec_pretty(&manifest).map_err(io::Error::other)?)?;
        fs::rename(&temporary, self.directory.join("manifest.json"))?;
        sync(&self.directory)?;
        Ok(())
    }
}

/// What can go wrong in the directory.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the channel's directory failed: {0}")]
    Io(#[from] io::Error),
    #[error("the channel's state failed: {0}")]
    Database(#[from] rusqlite::Error),
    #[error(
        "the channel's storage of {capacity} bytes is full ({used} in use): delete files that were fetched, or order a \
         larger size"
    )]
    Full { used: u64, capacity: u64 },
}

/// Runs on a thread that may block. Every failure of the directory is one to try again: nothing
/// here depends on the records.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, SinkError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            if let StoreError::Database(error) = &error {
                heed(error);
            }
            Err(SinkError::retry(error.to_string()))
        }
        Err(error) => Err(SinkError::retry(format!("the channel's work ended early: {error}"))),
    }
}

fn settle(database: &mut Connection, name: &str) -> rusqlite::Result<()> {
    let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute(
        &format!(
            "INSERT INTO files ({FILE_COLUMNS}, deleted_at) SELECT {FILE_COLUMNS}, NULL FROM intents WHERE name = $1"
        ),
        params![name],
    )?;
    transaction.execute(
        "INSERT INTO cursors SELECT element, lane, last_offset FROM intents WHERE name = $1
         ON CONFLICT (element, lane) DO UPDATE SET last_offset = max(last_offset, excluded.last_offset)",
        params![name],
    )?;
    transaction.execute("DELETE FROM intents WHERE name = $1", params![name])?;
    transaction.commit()
}

fn cursor(database: &Connection, flow: FlowKey) -> rusqlite::Result<u64> {
    let sql = "SELECT last_offset FROM cursors WHERE element = $1 AND lane = $2";
    let key = params![flow.element.to_string(), flow.lane.as_str()];
    let offset: Option<i64> = database.query_row(sql, key, |row| row.get(0)).optional()?;
    Ok(offset.map_or(0, i64::unsigned_abs))
}

fn advance(database: &Connection, flow: FlowKey, to: u64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO cursors VALUES ($1, $2, $3)
               ON CONFLICT (element, lane) DO UPDATE SET last_offset = max(last_offset, excluded.last_offset)";
    database.execute(sql, params![flow.element.to_string(), flow.lane.as_str(), signed(to)]).map(drop)
}

fn used(database: &Connection) -> rusqlite::Result<u64> {
    let sql = "SELECT coalesce(sum(bytes), 0) FROM files WHERE deleted_at IS NULL";
    database.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
}

fn list(database: &Connection, after: u64, limit: usize) -> rusqlite::Result<Vec<Listed>> {
    let sql = format!(
        "SELECT {FILE_COLUMNS} FROM files WHERE sequence > $1 AND deleted_at IS NULL ORDER BY sequence LIMIT $2"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    database.prepare(&sql)?.query_map(params![signed(after), limit], listed)?.collect()
}

fn listed(row: &Row<'_>) -> rusqlite::Result<Listed> {
    let uint = |index: usize| row.get::<_, i64>(index).map(i64::unsigned_abs);
    Ok(Listed {
        sequence: uint(0)?,
        name: row.get(1)?,
        table: row.get(2)?,
        format: row.get(3)?,
        lane: row.get(4)?,
        model_version: row.get(5)?,
        records: uint(6)?,
        bytes: uint(7)?,
        checksum: row.get(8)?,
        sha256: row.get(9)?,
        created_at: row.get(10)?,
    })
}

/// Offsets, sizes and counts stay below 2^63.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn write_synced(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(content)?;
    synced(&file)
}

fn sync(directory: &Path) -> io::Result<()> {
    synced(&File::open(directory)?)
}

/// A file whose sync failed is not tried again: it would succeed without the bytes.
fn synced(file: &File) -> io::Result<()> {
    file.sync_all().inspect_err(|error| headgate_database::report_failed_sync("a file channel", error))
}

#[cfg(test)]
mod tests {
    use headgate_types::ElementId;
    use headgate_types::channel::Lane;

    use super::*;

    fn new_file(flow: FlowKey, to: u64) -> NewFile {
        let (table, content) = ("t".to_owned(), b"{}".to_vec());
        let (format, checksum) = (Format::Ndjson, Checksum::EMPTY);
        NewFile { flow, to, table, format, model_version: 1, records: 1, checksum, content }
    }

    #[tokio::test]
    async fn a_publishing_that_failed_at_its_last_step_is_not_repeated_beside_itself() {
        let folder = tempfile::tempdir().unwrap();
        let limits = crate::delivery::limits::PLENTY;
        let open =
            async || Arc::new(Store::open(folder.path().to_owned(), &limits, DateTime::UNIX_EPOCH).await.unwrap());
        let store = open().await;
        let flow = FlowKey { element: ElementId::new(), lane: Lane::Live };
        // The disk has no room for the row of the file that is visible already.
        let fail = "CREATE TEMP TRIGGER full BEFORE INSERT ON files BEGIN SELECT RAISE(ABORT, 'full'); END";
        store.database.lock().execute_batch(fail).unwrap();
        store.publish(new_file(flow, 1), DateTime::UNIX_EPOCH).await.unwrap_err();
        store.database.lock().execute_batch("DROP TRIGGER full").unwrap();
        store.publish(new_file(flow, 1), DateTime::UNIX_EPOCH).await.unwrap();
        assert_eq!(store.list(0, 9).await.unwrap().len(), 1);
        assert_eq!(fs::read_dir(folder.path().join("files")).unwrap().count(), 1);
        drop(store);
        assert_eq!(open().await.list(0, 9).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_file_whose_deletion_did_not_reach_the_disk_is_gone_after_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let limits = crate::delivery::limits::PLENTY;
        let open =
            async || Arc::new(Store::open(folder.path().to_owned(), &limits, DateTime::UNIX_EPOCH).await.unwrap());
        let store = open().await;
        let flow = FlowKey { element: ElementId::new(), lane: Lane::Live };
        for to in [1, 2] {
            store.publish(new_file(flow, to), DateTime::UNIX_EPOCH).await.unwrap();
        }
        let files = folder.path().join("files");
        let names: Vec<String> = store.list(0, 9).await.unwrap().into_iter().map(|file| file.name).collect();
        assert!(store.delete(names[0].clone(), DateTime::UNIX_EPOCH).await.unwrap());
        drop(store);
        // The power went before the directory was written.
        fs::write(files.join(&names[0]), b"{}").unwrap();
        let store = open().await;
        assert!(!files.join(&names[0]).exists() && files.join(&names[1]).exists());
        assert_eq!(store.list(0, 9).await.unwrap().len(), 1);
    }
}
