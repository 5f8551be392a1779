//! Large payloads: one file each, synced before its row exists.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use headgate_types::{ChannelId, ReceiptId};
use tokio::io::AsyncWriteExt;

use crate::durable::{make_directory, sync, sync_directory_of};
use crate::error::Result;

const EXTENSION: &str = "payload";

pub(super) fn path(directory: &Path, channel: ChannelId, receipt: ReceiptId) -> PathBuf {
    directory.join(channel.to_string()).join(format!("{receipt}.{EXTENSION}"))
}

/// A payload's file while it is being written. Dropped without [`Spool::keep`], it goes.
pub(super) struct Spool {
    path: PathBuf,
    file: tokio::fs::File,
    kept: bool,
}

impl Spool {
    pub(super) async fn create(directory: &Path, channel: ChannelId, receipt: ReceiptId) -> Result<Self> {
        let path = path(directory, channel, receipt);
        let file = tokio::fs::File::options().write(true).create_new(true).open(&path).await?;
        Ok(Self { path, file, kept: false })
    }

    pub(super) async fn write(&mut self, chunk: &Bytes) -> Result<()> {
        Ok(self.file.write_all(chunk).await?)
    }

    /// Makes the bytes and the name durable.
    pub(super) async fn sync(&mut self) -> Result<()> {
        self.file.flush().await?;
        let (file, path) = (self.file.try_clone().await?.into_std().await, self.path.clone());
        Ok(tokio::task::spawn_blocking(move || sync(&file).and_then(|()| sync_directory_of(&path))).await??)
    }

    /// The file stays: its row is durable.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if !self.kept {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Makes a channel's directory, and its name durable.
pub(super) async fn make_channel(directory: &Path, channel: ChannelId) -> Result<()> {
    let path = directory.join(channel.to_string());
    Ok(tokio::task::spawn_blocking(move || make_directory(&path)).await??)
}

/// Removes files without a row: a crash came between the file and its row.
pub(super) fn remove_orphans(directory: &Path, known: &HashSet<PathBuf>) -> Result<u64> {
    let mut removed = 0;
    for channel in std::fs::read_dir(directory)? {
        let channel = channel?;
        if !channel.file_type()?.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(channel.path())? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == EXTENSION) && !known.contains(&path) {
                std::fs::remove_file(&path)?;
                removed += 1;
            }
        }
    }
    Ok(removed)
}

/// Removes a channel's directory.
pub(super) fn remove_channel(directory: &Path, channel: ChannelId) {
    let path = directory.join(channel.to_string());
    if let Err(error) = std::fs::remove_dir_all(&path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "failed to remove a landing directory");
    }
}
