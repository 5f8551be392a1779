//! A disk that runs short while a test says so: full, slow, or failing at its syncs. `disk.c` is loaded into a process
//! and asks a file that both can see.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

/// The library, and what it asks.
#[derive(Debug)]
pub struct ShortDisk {
    folder: tempfile::TempDir,
    control: File,
}

impl ShortDisk {
    /// Compiles the library; nothing is short yet.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("headgate-short-").tempdir().expect("a temporary directory");
        crate::power_cut::compile(folder.path(), include_str!("disk.c"));
        let path = folder.path().join("control");
        std::fs::write(&path, [0; 16]).expect("the control file can be written");
        let disk = Self { control: File::options().write(true).read(true).open(&path).expect("it is there"), folder };
        disk.leave(None);
        disk
    }

    /// What a process must find in its environment for the disk below `root` to run short; the name must be its
    /// canonical one.
    pub fn environment(&self, root: &Path) -> Vec<(String, String)> {
        let text = |path: &Path| path.to_str().expect("paths of tests are text").to_owned();
        vec![
            ("LD_PRELOAD".to_owned(), text(&self.folder.path().join("disk.so"))),
            ("HEADGATE_SHORT_ROOT".to_owned(), text(root)),
            ("HEADGATE_SHORT_CONTROL".to_owned(), text(&self.folder.path().join("control"))),
        ]
    }

    /// As [`Self::environment`] for a database's file, but not for its log beside it.
    pub fn environment_alone(&self, file: &Path) -> Vec<(String, String)> {
        let mut environment = self.environment(file);
        environment.push(("HEADGATE_SHORT_ALONE".to_owned(), "1".to_owned()));
        environment
    }

    /// Leaves room for so many bytes; `None`: for as many as there are.
    pub fn leave(&self, bytes: Option<i64>) {
        self.put(0, &bytes.unwrap_or(-1).to_ne_bytes());
    }

    /// What is left; negative when nothing is short.
    pub fn left(&self) -> i64 {
        let mut bytes = [0; 8];
        self.control.read_exact_at(&mut bytes, 0).expect("the control file can be read");
        i64::from_ne_bytes(bytes)
    }

    /// Makes every sync take longer.
    pub fn slow_down(&self, by: Duration) {
        self.put(8, &u32::try_from(by.as_micros()).expect("less than an hour").to_ne_bytes());
    }

    /// Makes every sync fail from now on, or none.
    pub fn fail_syncs(&self, fail: bool) {
        self.put(12, &u32::from(fail).to_ne_bytes());
    }

    fn put(&self, at: u64, bytes: &[u8]) {
        self.control.write_all_at(bytes, at).expect("the control file can be written");
    }
}
