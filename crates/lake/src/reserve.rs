//! The part of the disk that what comes in leaves free (DATA-PLANE rule 36). On a disk that is full to its last byte the
//! control plane cannot take an order, and what would make room, conforming, rolling, freeing, cannot be written either.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::error::{LakeError, Result};

/// How long a look at the disk counts.
const LOOK: Duration = Duration::from_millis(250);
/// What is reserved where nothing is said: this, or a part of a small disk.
const USUAL: u64 = 512 << 20;
const PART: u64 = 50;

/// Knows whether the disk has more than its reserve. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Reserve {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    /// Bytes; `None` for the usual.
    bytes: Option<u64>,
    looked: Mutex<Option<(Instant, Room)>>,
}

#[derive(Debug, Clone, Copy)]
struct Room {
    free: u64,
    reserve: u64,
}

impl Reserve {
    /// The reserve of the disk below `directory`.
    pub(crate) fn new(directory: &Path, bytes: Option<u64>) -> Self {
        Self { inner: Arc::new(Inner { directory: directory.to_owned(), bytes, looked: Mutex::new(None) }) }
    }

    /// A payload may come in.
    ///
    /// # Errors
    /// [`LakeError::NoRoom`] when less than the reserve is free.
    pub(crate) fn admit_payload(&self) -> Result<()> {
        self.admit(1)
    }

    /// A commit may be logged: what has landed is worked off out of half of the reserve.
    ///
    /// # Errors
    /// [`LakeError::NoRoom`] when less than half of the reserve is free.
    pub(crate) fn admit_commit(&self) -> Result<()> {
        self.admit(2)
    }

    fn admit(&self, share: u64) -> Result<()> {
        let room = self.inner.room();
        if room.free < room.reserve / share { Err(LakeError::NoRoom) } else { Ok(()) }
    }
}

impl Inner {
    fn room(&self) -> Room {
        let mut looked = self.looked.lock();
        if let Some((at, room)) = *looked
            && at.elapsed() < LOOK
        {
            return room;
        }
        let room = match rustix::fs::statvfs(&self.directory) {
            Ok(disk) => Room {
                free: disk.f_bavail.saturating_mul(disk.f_frsize),
                reserve: self.bytes.unwrap_or(USUAL.min(disk.f_blocks.saturating_mul(disk.f_frsize) / PART)),
            },
            Err(error) => {
                tracing::debug!(%error, "the disk does not tell how much room it has");
                Room { free: u64::MAX, reserve: 0 }
            }
        };
        *looked = Some((Instant::now(), room));
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_in_leaves_the_reserve_free_and_what_is_worked_off_half_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = |bytes| Reserve::new(folder.path(), bytes);
        assert!(reserve(None).admit_payload().is_ok(), "the machine of the tests has room");
        let free = reserve(None).inner.room().free;
        let little_more = reserve(Some(free + (free >> 1)));
        assert!(matches!(little_more.admit_payload(), Err(LakeError::NoRoom)));
        assert!(little_more.admit_commit().is_ok());
        assert!(matches!(reserve(Some(u64::MAX)).admit_commit(), Err(LakeError::NoRoom)));
    }
}
