//! A disk whose power can be cut, for tests. `disk.c` is loaded into a process and writes down what
//! it tells the disk; [`Disk`] reads that and knows what is left when the power goes: only what was
//! synced, and of the rest whatever chance kept.

#![allow(dead_code, unused_imports, reason = "shared by test binaries that each use a part of it")]

mod cut;
mod disk;
mod explore;
mod journal;

use std::path::{Path, PathBuf};
use std::process::Command;

pub use cut::Loss;
pub use disk::Disk;
pub use explore::{DIRECTORY, Recording, recorded};
pub use journal::{Entry, entries};

/// Compiles a library that is loaded into processes: `disk.so` in `folder`.
pub fn compile(folder: &Path, text: &str) {
    let source = folder.join("disk.c");
    std::fs::write(&source, text).expect("the source can be written");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let status = Command::new(compiler)
        .args(["-O1", "-shared", "-fPIC", "-o"])
        .arg(folder.join("disk.so"))
        .arg(&source)
        .arg("-lpthread")
        .status();
    assert!(status.is_ok_and(|status| status.success()), "a C compiler is needed");
}

/// The library, and the journal that it writes.
#[derive(Debug)]
pub struct Recorder {
    folder: tempfile::TempDir,
}

impl Recorder {
    /// Compiles the library; the journal is empty.
    pub fn new() -> Self {
        let folder = folder();
        compile(folder.path(), include_str!("disk.c"));
        Self { folder }
    }

    /// What a process must find in its environment to be recorded below `root`, whose name must be
    /// its canonical one.
    pub fn environment(&self, root: &Path) -> Vec<(String, String)> {
        let text = |path: PathBuf| path.into_os_string().into_string().expect("paths of tests are text");
        vec![
            ("LD_PRELOAD".to_owned(), text(self.folder.path().join("disk.so"))),
            ("HEADGATE_POWER_ROOT".to_owned(), text(root.to_owned())),
            ("HEADGATE_POWER_JOURNAL".to_owned(), text(self.journal())),
        ]
    }

    /// The journal.
    pub fn journal(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    /// What was written down since this was last asked; nobody may be writing.
    pub fn take(&self) -> Vec<u8> {
        let bytes = self.read();
        if !bytes.is_empty() {
            std::fs::File::create(self.journal()).expect("the journal can be emptied");
        }
        bytes
    }

    /// What was written down so far.
    pub fn read(&self) -> Vec<u8> {
        std::fs::read(self.journal()).unwrap_or_default()
    }
}

/// A temporary directory, in memory where there is such a place: what is synced in it costs nothing.
pub fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("headgate-power-").tempdir_in(place).expect("a temporary directory")
}
