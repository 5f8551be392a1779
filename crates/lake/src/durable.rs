//! Directories that outlive a power cut. A file that was synced is gone all the same when the name
//! of a directory above it was not.

use std::fs::File;
use std::io;
use std::path::Path;

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
        Some(parent) if parent.as_os_str().is_empty() => File::open(".")?.sync_all(),
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}
