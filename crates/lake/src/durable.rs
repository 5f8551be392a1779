//! Directories that outlive a power cut. A file that was synced is gone all the same when the name
//! of a directory above it was not.

use std::error::Error;
use std::fs::File;
use std::io;
use std::path::Path;

/// A sync failed: what the disk holds of the file is unknown, and another sync that succeeds would not change that
/// (DATA-PLANE rule 36).
#[derive(Debug, thiserror::Error)]
#[error("failed to sync: {0}")]
struct SyncFailed(#[source] io::Error);

/// Makes what a file holds durable.
pub(crate) fn sync(file: &File) -> io::Result<()> {
    file.sync_all().map_err(|error| io::Error::new(error.kind(), SyncFailed(error)))
}

/// Whether a sync failed, however far below.
pub(crate) fn is_sync_failure(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let cause = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if cause.is_some_and(|cause| cause.is::<SyncFailed>() || is_sync_failure(cause)) {
            return true;
        }
        next = error.source();
    }
    false
}

/// Makes a directory, and its name durable, and those of the directories above it that were missing.
/// The name is synced even if the directory is there: whoever made it may have been killed before
/// that.
pub(crate) fn make_directory(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent()
        && !parent.as_os_str().is_empty()
        && !parent.is_dir()
    {
        make_directory(parent)?;
    }
    match std::fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_directory_of(path),
    }
}

/// Makes the name of `path` durable, or its end.
pub(crate) fn sync_directory_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync(&File::open(".")?),
        Some(parent) => sync(&File::open(parent)?),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_that_failed_is_recognised_through_what_is_told_of_it() {
        let failed = || io::Error::new(io::ErrorKind::StorageFull, SyncFailed(io::Error::other("disk")));
        let told = object_store::Error::Generic { store: "files", source: Box::new(failed()) };
        assert!(is_sync_failure(&crate::LakeError::Io(failed())));
        assert!(is_sync_failure(&crate::LakeError::Storage(told)));
        assert!(!is_sync_failure(&crate::LakeError::Io(io::ErrorKind::StorageFull.into())));
    }
}
