//! The lake: landing zone, log and tables of one data directory.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use headgate_types::{ElementId, SharedClock};
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use crate::config::LakeConfig;
use crate::delta::{CHANGES, CURRENT, Tables};
use crate::durable::{make_directory, sync_directory_of};
use crate::error::{LakeError, Result};
use crate::landing::Landing;
use crate::layout::ElementLayout;
use crate::log::{Fenced, Log};
use crate::poison::Poison;

/// Landing zone, log and Delta tables under one directory, which no other process may use
/// meanwhile. Cheap to clone; the last clone closes the files.
#[derive(Debug, Clone)]
pub struct Lake {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: LakeConfig,
    pub(crate) clock: SharedClock,
    landing: Landing,
    log: Log,
    pub(crate) poison: Poison,
    tables: Mutex<HashMap<ElementId, Arc<OnceCell<Arc<Tables>>>>>,
    /// The greatest cursor of anybody over an element.
    seen: Mutex<HashMap<ElementId, u64>>,
    fenced: Mutex<Vec<Fenced>>,
    /// Held until the stores above are closed.
    _lock: File,
}

impl Lake {
    /// Opens the directory, making it when absent, and recovers what a crash left.
    ///
    /// # Errors
    /// [`LakeError::Locked`] when another process has it; or it cannot be read.
    pub async fn open(config: LakeConfig, clock: SharedClock) -> Result<Self> {
        let opened = tokio::task::spawn_blocking(move || {
            let lock = lock(&config.directory)?;
            let poison = Poison::new();
            let landing =
                Landing::open(&config.directory.join("landing"), &config, Arc::clone(&clock), poison.clone())?;
            let log = Log::open(&config.directory.join("log"), &config, Arc::clone(&clock), poison.clone())?;
            let (tables, seen, fenced) = (Mutex::default(), Mutex::default(), Mutex::default());
            let inner = Inner { config, clock, landing, log, poison, tables, seen, fenced, _lock: lock };
            Ok::<_, LakeError>(Self { inner: Arc::new(inner) })
        });
        let lake = opened.await??;
        lake.inner.fence_loss().await?;
        Ok(lake)
    }

    /// Returns when a store can no longer be trusted: a sync failed, or its thread died. Both
    /// stores refuse everything from then on, and the process must end; the next start finds
    /// what is durable.
    pub async fn failed(&self) {
        self.inner.poison.wait().await;
    }

    /// The landing zone.
    #[must_use]
    pub fn landing(&self) -> &Landing {
        &self.inner.landing
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.inner.log
    }

    /// Makes an element, or a new schema version of it, known, and holds its log against its
    /// tables. Must have been called once since the lake was opened before an element is written.
    ///
    /// # Errors
    /// [`LakeError::IncompatibleSchema`] when the schema does not extend the newest one.
    pub async fn register(&self, layout: ElementLayout) -> Result<()> {
        let element = layout.element;
        self.inner.log.register(layout).await?;
        self.inner.tables(element).await.map(drop)
    }

    /// Logs that turned out to be shorter than their tables or than a cursor over them since this was last asked; the caller
    /// raises an event for each.
    #[must_use]
    pub fn take_fenced(&self) -> Vec<Fenced> {
        std::mem::take(&mut self.inner.fenced.lock())
    }

    /// Removes everything of an element: log, positions, tables.
    ///
    /// # Errors
    /// A store cannot be written; what is left goes with the next call.
    pub async fn remove(&self, element: ElementId) -> Result<()> {
        self.inner.log.remove(element).await?;
        let cell = self.inner.tables.lock().remove(&element);
        let directory = self.tables_directory(element);
        if let Some(tables) = cell.as_ref().and_then(|cell| cell.get()) {
            let _writing = tables.writing.lock().await;
            remove_directory(directory).await
        } else {
            remove_directory(directory).await
        }
    }

    /// Whether there is anything of an element, be it what a removal left that did not come to its end.
    #[must_use]
    pub fn holds(&self, element: ElementId) -> bool {
        self.inner.log.layout(element).is_ok() || self.tables_directory(element).exists()
    }

    /// Makes sure that no offset up to `seen`, the greatest cursor of anybody, is given out again
    /// (DATA-PLANE rule 5). An element whose whole log was lost is unknown until it is registered;
    /// it is raised then. [`Lake::take_fenced`] tells what was raised.
    ///
    /// # Errors
    /// A store cannot be read or written.
    pub async fn fence(&self, element: ElementId, seen: u64) -> Result<()> {
        {
            let mut all = self.inner.seen.lock();
            let known = all.entry(element).or_default();
            *known = seen.max(*known);
        }
        if self.inner.log.layout(element).is_err() || self.inner.log.head(element) >= seen {
            return Ok(());
        }
        // What the table holds beyond the log was never lost: it is not part of the gap.
        self.inner.tables(element).await?;
        self.inner.raise(element, seen, "the log had lost records that were already read").await
    }

    /// Makes sure that no commit is given a sequence up to `seen` again: a reader of side items
    /// that has come this far would pass it over.
    ///
    /// # Errors
    /// The log is closed.
    pub async fn fence_side(&self, seen: u64) -> Result<()> {
        self.inner.log.raise_sequence(seen).await
    }

    /// Makes sure that no payload is landed in a place up to `seen` again: a feed whose position
    /// has come this far would pass it over.
    ///
    /// # Errors
    /// The landing zone is closed or cannot be written.
    pub async fn fence_landing(&self, seen: u64) -> Result<()> {
        self.inner.landing.raise(seen).await
    }

    /// The Delta table of an element's changes: every record with `_offset`, `_op` and, for keyed
    /// elements, `_before`.
    #[must_use]
    pub fn changes_directory(&self, element: ElementId) -> PathBuf {
        self.tables_directory(element).join(CHANGES)
    }

    /// The Delta table of a keyed element's live rows, as of some offset not long ago.
    #[must_use]
    pub fn current_directory(&self, element: ElementId) -> PathBuf {
        self.tables_directory(element).join(CURRENT)
    }

    fn tables_directory(&self, element: ElementId) -> PathBuf {
        self.inner.tables_directory(element)
    }

    pub(crate) fn from_inner(inner: &Arc<Inner>) -> Self {
        Self { inner: Arc::clone(inner) }
    }
}

impl Inner {
    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    fn tables_directory(&self, element: ElementId) -> PathBuf {
        self.config.directory.join("tables").join(element.to_string())
    }

    /// The element's tables, opened at the first call. Records the tables hold are never given
    /// their offsets again, even if the log was lost (DATA-PLANE rule 5).
    pub(crate) async fn tables(&self, element: ElementId) -> Result<Arc<Tables>> {
        let layout = self.log.layout(element)?;
        let cell = Arc::clone(self.tables.lock().entry(element).or_default());
        let open = || async {
            let directory = self.tables_directory(element);
            let tables = Tables::open(&directory, element, layout.is_keyed(), &self.config, &self.clock).await?;
            let held = tables.changes.state().txn;
            self.raise(element, held, "the log is shorter than its table").await?;
            let seen = self.seen.lock().get(&element).copied().unwrap_or(0);
            self.raise(element, seen, "the log had lost records that were already read").await?;
            self.log.set_rolled(element, held);
            Ok::<_, LakeError>(Arc::new(tables))
        };
        cell.get_or_try_init(open).await.map(Arc::clone)
    }

    /// A log that has lost commits gives out no offset again that one of them may have held: a
    /// target may hold those records, and would take new ones for them (ADR 13).
    async fn fence_loss(&self) -> Result<()> {
        let lost = self.log.lost_records();
        if lost == 0 {
            return Ok(());
        }
        for element in self.log.elements() {
            // What the table holds beyond the log was never lost: it is not part of the gap.
            self.tables(element).await?;
            let seen = self.log.head(element).saturating_add(lost);
            self.raise(element, seen, "the log has lost commits (an older copy?)").await?;
        }
        self.log.settle_loss().await
    }

    async fn raise(&self, element: ElementId, seen: u64, why: &str) -> Result<()> {
        if let Some(fenced) = self.log.raise(element, seen).await? {
            tracing::error!(%element, head = fenced.head, seen, epoch = fenced.epoch, why, "fenced an element's log");
            self.fenced.lock().push(fenced);
        }
        Ok(())
    }
}

async fn remove_directory(path: PathBuf) -> Result<()> {
    let removed = tokio::task::spawn_blocking(move || match std::fs::remove_dir_all(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        // What was erased must not come back.
        Ok(()) => sync_directory_of(&path),
    });
    Ok(removed.await??)
}

fn lock(directory: &Path) -> Result<File> {
    make_directory(directory)?;
    let path = directory.join("lake.lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(LakeError::Locked(directory.display().to_string())),
        Err(std::fs::TryLockError::Error(error)) => Err(error.into()),
    }
}
