//! The data directory: who may use it, and the key that seals what is in it.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use headgate_access::MasterKey;

/// Names the variable that holds the master key where no file should.
pub const MASTER_KEY: &str = "HEADGATE_MASTER_KEY";

/// A data directory in use by this process and no other.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    node: String,
    _lock: File,
}

impl Directory {
    /// Takes the directory, making it when it is missing.
    pub fn open(root: &Path) -> Result<Self> {
        make(root).with_context(|| format!("failed to create {}", root.display()))?;
        let root = root.canonicalize()?;
        let mut lock = File::options().create(true).truncate(false).read(true).write(true).open(root.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("{} is in use by another Headgate", root.display()),
            Err(TryLockError::Error(error)) => return Err(error).context("failed to lock the data directory"),
        }
        let node = node(&mut lock).context("failed to read the name of the data directory")?;
        sync(&root).context("failed to sync the data directory")?;
        Ok(Self { root, node, _lock: lock })
    }

    /// What this directory is called among all that share a database; the same at every start.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// A place below it, made when it is missing.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.root.join(name);
        make(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
        Ok(folder)
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The master key: from the environment, or from `master.key`, which is made at the first start.
    /// `fresh` says whether nothing can have been sealed yet.
    pub fn master_key(&self, fresh: bool) -> Result<MasterKey> {
        if let Ok(text) = std::env::var(MASTER_KEY) {
            return MasterKey::from_hex(&text).with_context(|| format!("{MASTER_KEY} is not a key"));
        }
        let file = self.root.join("master.key");
        match std::fs::read_to_string(&file) {
            Ok(text) => MasterKey::from_hex(text.trim()).with_context(|| format!("{} is not a key", file.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && fresh => {
                let key = MasterKey::generate();
                // Under its name it is whole: half a key would lock everybody out.
                let new = self.root.join("master.key.new");
                match std::fs::remove_file(&new) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                    _ => {}
                }
                let mut created = File::options().create_new(true).write(true).mode(0o600).open(&new)?;
                created.write_all(key.to_hex().as_bytes())?;
                created.sync_all()?;
                std::fs::rename(&new, &file)?;
                sync(&self.root)?;
                Ok(key)
            }
            Err(error) => Err(error).with_context(|| {
                format!("the secrets in the database are sealed with {}, which cannot be read; restore it, or give {MASTER_KEY}", file.display())
            }),
        }
    }
}

/// Makes a directory and those above it that are missing, each with a durable name. The name is
/// synced even if the directory is there: who made it may have been killed before that.
fn make(directory: &Path) -> std::io::Result<()> {
    let above = directory.parent().map(|above| if above.as_os_str().is_empty() { Path::new(".") } else { above });
    if let Some(above) = above.filter(|above| !above.is_dir()) {
        make(above)?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    match above.map(sync) {
        // It was there and is in somebody else's: its name is not ours to keep.
        Some(Err(error)) if error.kind() != std::io::ErrorKind::PermissionDenied => Err(error),
        _ => Ok(()),
    }
}

fn sync(directory: &Path) -> std::io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Reads the name out of the lock file, or gives one. Losing it costs nothing but a wait: leases
/// under the old name end by themselves.
fn node(lock: &mut File) -> std::io::Result<String> {
    let mut text = String::new();
    lock.read_to_string(&mut text)?;
    if let Ok(id) = text.trim().parse::<uuid::Uuid>() {
        return Ok(id.to_string());
    }
    let id = uuid::Uuid::now_v7().to_string();
    lock.set_len(0)?;
    lock.rewind()?;
    lock.write_all(id.as_bytes())?;
    lock.sync_all()?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_has_one_user_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = Directory::open(folder.path()).unwrap();
        assert!(Directory::open(folder.path()).unwrap_err().to_string().contains("in use"));
        let name = first.node().to_owned();
        drop(first);
        assert_eq!(Directory::open(folder.path()).unwrap().node(), name);
    }

    #[test]
    fn the_directory_is_made_with_what_is_above_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("a/b");
        let directory = Directory::open(&root).unwrap();
        assert_eq!(directory.folder("c").unwrap(), root.canonicalize().unwrap().join("c"));
        directory.folder("c").unwrap();
        std::fs::write(root.join("d"), "").unwrap();
        assert!(directory.folder("d/e").is_err());
    }

    #[test]
    fn the_master_key_is_made_once_and_a_lost_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path()).unwrap();
        assert!(directory.master_key(false).unwrap_err().to_string().contains("master.key"));
        let made = directory.master_key(true).unwrap().to_hex();
        assert_eq!(directory.master_key(false).unwrap().to_hex(), made);
        // The power went while one was made.
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("master.key.new"), &made[..9]).unwrap();
        let directory = Directory::open(folder.path()).unwrap();
        let made = directory.master_key(true).unwrap().to_hex();
        assert_eq!(directory.master_key(false).unwrap().to_hex(), made);
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &folder.path().join("master.key").metadata().unwrap().permissions(),
        );
        assert_eq!(mode & 0o077, 0);
    }
}
