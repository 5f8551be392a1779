//! The lake: landing zone, log and tables of one data directory.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use headgate_types::{ElementId, SharedClock};

use crate::config::LakeConfig;
use crate::error::{LakeError, Result};
use crate::landing::Landing;
use crate::layout::ElementLayout;
use crate::log::{Fenced, Log};

/// Landing zone, log and Delta tables under one directory, which no other process may use
/// meanwhile. Cheap to clone; the last clone closes the files.
#[derive(Debug, Clone)]
pub struct Lake {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: LakeConfig,
    pub(crate) clock: SharedClock,
    landing: Landing,
    log: Log,
    /// Held until the stores above are closed.
    _lock: File,
}

impl Lake {
    /// Opens the directory, making it when absent, and recovers what a crash left.
    ///
    /// # Errors
    /// [`LakeError::Locked`] when another process has it; or it cannot be read.
    pub async fn open(config: LakeConfig, clock: SharedClock) -> Result<Self> {
        tokio::task::spawn_blocking(move || {
            let lock = lock(&config.directory)?;
            let landing = Landing::open(&config.directory.join("landing"), &config, Arc::clone(&clock))?;
            let log = Log::open(&config.directory.join("log"), &config, Arc::clone(&clock))?;
            Ok(Self { inner: Arc::new(Inner { config, clock, landing, log, _lock: lock }) })
        })
        .await?
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

    /// Makes an element, or a new schema version of it, known. Nothing happens when it is.
    ///
    /// # Errors
    /// [`LakeError::IncompatibleSchema`] when the schema does not extend the newest one.
    pub async fn register(&self, layout: ElementLayout) -> Result<()> {
        self.inner.log.register(layout).await
    }

    /// Makes sure that no offset up to `seen`, the greatest cursor of anybody, is given out again.
    /// `Some` when the log was shorter: the caller raises an event (DATA-PLANE rule 5).
    ///
    /// # Errors
    /// The element is unknown, or the store cannot be written.
    pub async fn fence(&self, element: ElementId, seen: u64) -> Result<Option<Fenced>> {
        let fenced = self.inner.log.raise(element, seen).await?;
        if let Some(fenced) = &fenced {
            tracing::error!(%element, head = fenced.head, seen, "the log had lost records that were already read");
        }
        Ok(fenced)
    }

    /// Where the element's tables are.
    #[must_use]
    pub fn tables_directory(&self, element: ElementId) -> PathBuf {
        self.inner.config.directory.join("tables").join(element.to_string())
    }
}

fn lock(directory: &Path) -> Result<File> {
    std::fs::create_dir_all(directory)?;
    let path = directory.join("lake.lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(LakeError::Locked(directory.display().to_string())),
        Err(std::fs::TryLockError::Error(error)) => Err(error.into()),
    }
}
