//! One Delta table: its file list in memory, commits through the log store, checkpoints.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arrow::datatypes::SchemaRef;
use deltalake::kernel::transaction::TransactionError;
use deltalake::logstore::{CommitOrBytes, LogStoreRef, StorageConfig, default_logstore};
use deltalake::table::state::DeltaTableState;
use deltalake::{DeltaTable, checkpoints};
use headgate_types::SharedClock;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, PutMode};
use parking_lot::Mutex;
use url::Url;
use uuid::Uuid;

use super::actions;
use super::data_file::{DataFile, Encoded, Stored};
use super::files::SyncedFiles;
use super::quarantine::quarantine;
use crate::config::LakeConfig;
use crate::durable::make_directory;
use crate::error::{LakeError, Result};

/// Earlier versions of the file list a snapshot may still ask for.
const KEPT_VERSIONS: usize = 8;

/// What a table holds at one version.
#[derive(Debug, Clone, Default)]
pub(crate) struct TableState {
    /// `None` before the first commit.
    pub(crate) version: Option<u64>,
    /// The offset up to which the table goes.
    pub(crate) txn: u64,
    /// In offset order, disjoint.
    pub(crate) files: Vec<DataFile>,
    id: String,
    schema: String,
    created_at: i64,
}

impl TableState {
    /// Records over all files.
    pub(crate) fn records(&self) -> u64 {
        self.files.iter().map(|file| file.records).sum()
    }

    /// The file that covers `offset`.
    pub(crate) fn covering(&self, offset: u64) -> Option<&DataFile> {
        let index = self.files.partition_point(|file| file.last < offset);
        self.files.get(index).filter(|file| file.first <= offset)
    }

    /// The first offset held.
    pub(crate) fn floor(&self) -> Option<u64> {
        self.files.first().map(|file| file.first)
    }
}

/// A change of a table.
pub(crate) struct Commit {
    pub(crate) operation: &'static str,
    pub(crate) mode: Option<&'static str>,
    pub(crate) add: Vec<Stored>,
    pub(crate) remove: Vec<DataFile>,
    /// The `txn` the change was computed on, and the one it leads to. `None` moves nothing.
    pub(crate) txn: Option<(u64, u64)>,
    /// False when the same records only move to other files.
    pub(crate) data_change: bool,
    /// The columns of the table from now on.
    pub(crate) schema: SchemaRef,
}

/// A table and the right to write it: there is one of these per table in the process, and one
/// process per directory.
#[derive(Debug)]
pub(crate) struct Table {
    directory: PathBuf,
    name: String,
    store: Arc<dyn ObjectStore>,
    log_store: LogStoreRef,
    clock: SharedClock,
    checkpoint_every: u64,
    log_retention: Duration,
    vacuum_age: Duration,
    versions: Mutex<VecDeque<Arc<TableState>>>,
}

impl Table {
    pub(crate) async fn open(directory: &Path, name: String, config: &LakeConfig, clock: SharedClock) -> Result<Self> {
        let path = directory.to_owned();
        tokio::task::spawn_blocking(move || -> Result<()> {
            make_table_directory(&path)?;
            quarantine(&path).map(drop)
        })
        .await??;
        let directory = std::fs::canonicalize(directory)?;
        let url = Url::from_directory_path(&directory)
            .map_err(|()| LakeError::Damaged(format!("{} is no absolute path", directory.display())))?;
        let root: Arc<dyn ObjectStore> = Arc::new(SyncedFiles::default());
        let prefix = object_store::path::Path::from_absolute_path(&directory)
            .map_err(|error| LakeError::Damaged(error.to_string()))?;
        let store: Arc<dyn ObjectStore> = Arc::new(PrefixStore::new(Arc::clone(&root), prefix));
        let log_store = default_logstore(Arc::clone(&store), root, &url, &StorageConfig::default());
        let table = Self {
            directory,
            name,
            store,
            log_store,
            clock,
            checkpoint_every: config.checkpoint_every,
            log_retention: config.log_retention,
            vacuum_age: config.vacuum_age,
            versions: Mutex::new(VecDeque::new()),
        };
        let state = table.load().await?;
        table.versions.lock().push_back(Arc::new(state));
        Ok(table)
    }

    /// The newest version.
    pub(crate) fn state(&self) -> Arc<TableState> {
        self.versions.lock().back().map(Arc::clone).unwrap_or_default()
    }

    /// The newest of the remembered versions that goes no further than offset `at`.
    pub(crate) fn state_at(&self, at: u64) -> Option<Arc<TableState>> {
        self.versions.lock().iter().rev().find(|state| state.txn <= at).map(Arc::clone)
    }

    /// Where a file of the table is.
    pub(crate) fn path(&self, file: &DataFile) -> PathBuf {
        self.directory.join(&file.path)
    }

    async fn load(&self) -> Result<TableState> {
        if !self.log_store.is_delta_table_location().await? {
            return Ok(TableState::default());
        }
        let loaded = DeltaTableState::try_new(self.log_store.as_ref(), None).await?;
        let txn = loaded.transaction_version(self.log_store.as_ref(), actions::APPLICATION).await?.unwrap_or(0);
        let mut files = Vec::new();
        for view in loaded.log_data().iter() {
            let records = view.num_records().map(|records| records as u64);
            files.push(DataFile::parse(&view.path(), view.size() as u64, records)?);
        }
        files.sort_unstable_by_key(|file| file.first);
        if let Some(pair) = files.windows(2).find(|pair| pair[0].last >= pair[1].first) {
            return Err(LakeError::Damaged(format!("{} overlaps {}", pair[0].path, pair[1].path)));
        }
        let metadata = loaded.metadata();
        Ok(TableState {
            version: Some(loaded.version()),
            txn: txn as u64,
            files,
            id: metadata.id().to_owned(),
            schema: String::new(),
            created_at: metadata.created_time().unwrap_or_default(),
        })
    }

    /// Makes a data file durable. Without a commit that names it, the vacuum takes it.
    pub(crate) async fn store(&self, encoded: Encoded) -> Result<Stored> {
        let Encoded { file, content, stats } = encoded;
        let path = object_store::path::Path::from(file.path.as_str());
        self.store.put_opts(&path, content.into(), PutMode::Create.into()).await?;
        headgate_types::reach(headgate_types::Failpoint::TableFileStored);
        Ok(Stored { file, stats })
    }

    /// Makes a change durable; its data files are stored already.
    ///
    /// # Errors
    /// The table is not where the change was computed on, or the entry cannot be written; then
    /// the table is as it was.
    pub(crate) async fn commit(&self, change: Commit) -> Result<Arc<TableState>> {
        let state = self.state();
        if let Some((expected, _)) = change.txn
            && state.txn != expected
        {
            return Err(LakeError::Damaged(format!(
                "table {} is at offset {}, the change was computed at {expected}",
                self.name, state.txn
            )));
        }
        let now = self.clock.now();
        let version = state.version.map_or(0, |version| version + 1);
        let mut next = TableState { version: Some(version), ..TableState::clone(&state) };
        let mut lines = vec![actions::commit_info(change.operation, change.mode, now)];
        if state.version.is_none() {
            next.id = Uuid::new_v4().to_string();
            next.created_at = now.timestamp_millis();
            lines.push(actions::protocol());
        }
        let schema = actions::schema_string(&change.schema);
        if state.schema != schema {
            // Also after a restart: writing the same metadata again changes nothing.
            let hours = self.log_retention.as_secs().div_ceil(3_600).max(1);
            lines.push(actions::metadata(&next.id, &self.name, &schema, hours, next.created_at));
            next.schema = schema;
        }
        if let Some((_, to)) = change.txn {
            lines.push(actions::txn(to, now));
            next.txn = to;
        }
        for file in &change.remove {
            lines.push(actions::remove(file, now, change.data_change));
        }
        next.files.retain(|file| !change.remove.contains(file));
        for Stored { file, stats } in change.add {
            lines.push(actions::add(&file, &stats, now, change.data_change));
            next.files.push(file);
        }
        next.files.sort_unstable_by_key(|file| file.first);
        let entry = CommitOrBytes::LogBytes(actions::lines(&lines).into());
        match self.log_store.write_commit_entry(version, entry, Uuid::new_v4()).await {
            Ok(()) => {}
            Err(TransactionError::VersionAlreadyExists(_)) => {
                // One process writes, so this is an entry whose answer was lost, or somebody's
                // who may not write here. What the table says now decides the next attempt.
                let loaded = self.load().await?;
                self.remember(loaded);
                return Err(LakeError::NotWritten(format!("version {version} of {} exists", self.name)));
            }
            Err(error) => return Err(deltalake::DeltaTableError::from(error).into()),
        }
        headgate_types::reach(headgate_types::Failpoint::TableCommitted);
        let state = self.remember(next);
        metrics::counter!("headgate_delta_commits_total").increment(1);
        if version > 0 && version.is_multiple_of(self.checkpoint_every) {
            // The table is whole without it; the next multiple tries again.
            if let Err(error) = self.checkpoint().await {
                tracing::warn!(table = self.name, %error, "failed to write a checkpoint");
            }
        }
        Ok(state)
    }

    fn remember(&self, state: TableState) -> Arc<TableState> {
        let state = Arc::new(state);
        let mut versions = self.versions.lock();
        versions.push_back(Arc::clone(&state));
        while versions.len() > KEPT_VERSIONS {
            versions.pop_front();
        }
        state
    }

    /// Writes a checkpoint of the newest version and removes log entries older than their retention.
    async fn checkpoint(&self) -> Result<()> {
        // A table of its own each time: a held one keeps a batch per commit in memory.
        let mut table = DeltaTable::new(Arc::clone(&self.log_store));
        table.load().await?;
        checkpoints::create_checkpoint(&table, None).await?;
        headgate_types::reach(headgate_types::Failpoint::TableCheckpointed);
        let before = self.clock.now() - self.log_retention;
        let newest = table.version().unwrap_or(0);
        checkpoints::cleanup_expired_logs_for(newest, self.log_store.as_ref(), before.timestamp_millis(), None).await?;
        Ok(())
    }

    /// Removes data files that no remembered version names and that are older than the vacuum age;
    /// returns how many.
    pub(crate) async fn vacuum(&self) -> Result<u64> {
        let named: std::collections::HashSet<String> =
            self.versions.lock().iter().flat_map(|state| state.files.iter().map(|file| file.path.clone())).collect();
        let directory = self.directory.clone();
        let before = SystemTime::from(self.clock.now()).checked_sub(self.vacuum_age);
        tokio::task::spawn_blocking(move || {
            let Some(before) = before else { return Ok(0) };
            let mut removed = 0;
            for entry in std::fs::read_dir(&directory)? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let is_data = name.ends_with(".parquet") || name.contains(".parquet#");
                if is_data && !named.contains(&name) && entry.metadata()?.modified()? < before {
                    std::fs::remove_file(entry.path())?;
                    headgate_types::reach(headgate_types::Failpoint::TableFileRemoved);
                    removed += 1;
                }
            }
            Ok(removed)
        })
        .await?
    }
}

/// Makes what a table without a commit needs. A table with one has durable names all the way up:
/// none was made before.
fn make_table_directory(table: &Path) -> Result<()> {
    let log = table.join("_delta_log");
    let is_empty = std::fs::read_dir(&log).map_or(true, |mut entries| entries.next().is_none());
    if is_empty {
        table.parent().map_or(Ok(()), make_directory)?;
        make_directory(table)?;
        make_directory(&log)?;
    }
    Ok(())
}
