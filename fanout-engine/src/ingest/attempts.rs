//! How often a commit was begun and not ended (DATA-PLANE rule 29).
//!
//! What makes a process die says nothing before it does; so the count is on disk before the work
//! begins. One small file per open feed, written over in place. It outlives the process and need not
//! outlive the machine: a payload cannot cut the power, so nothing waits for the disk.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::drain::{COMMIT_RECORDS, Place};

/// Attempts on the same terms before the terms change.
const PATIENCE: u32 = 3;
/// How much smaller commits become from one attempt to the next, while they shrink.
const SHRINK: usize = 128;
/// The length of the file: what is shorter is filled up, so that nothing of an older text is left.
const LENGTH: usize = 256;

/// How the next records are to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// At most this many in one commit.
    Records(usize),
    /// The next one is refused without a look at its content.
    PassOne,
    /// All that is left of the payload is refused without opening it.
    PassRest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Begun {
    place: Place,
    attempts: u32,
    /// Records per commit.
    size: usize,
    /// Records until commits are whole again.
    left: usize,
}

impl Begun {
    fn first(place: Place) -> Self {
        Self { place, attempts: 1, size: COMMIT_RECORDS, left: 0 }
    }

    /// What the work at `place` is, after this.
    fn then(self, place: Place) -> Self {
        if self.place != place {
            let left = self.left.saturating_sub(self.size);
            let size = if left == 0 { COMMIT_RECORDS } else { self.size };
            return Self { place, attempts: 1, size, left };
        }
        match (self.size, self.attempts) {
            (1, attempts) => Self { attempts: attempts.saturating_add(1), ..self },
            (COMMIT_RECORDS, attempts) if attempts < PATIENCE => Self { attempts: attempts + 1, ..self },
            (size, _) => {
                let left = if size == COMMIT_RECORDS { COMMIT_RECORDS } else { self.left };
                Self { attempts: 1, size: (size / SHRINK).max(1), left, ..self }
            }
        }
    }

    fn care(self) -> Care {
        match self.attempts {
            attempts if self.size > 1 || attempts <= PATIENCE => Care::Records(self.size),
            attempts if attempts <= 2 * PATIENCE => Care::PassOne,
            _ => Care::PassRest,
        }
    }
}

/// The count of one feed.
#[derive(Debug)]
pub struct Attempts {
    file: PathBuf,
    begun: Option<Begun>,
}

impl Attempts {
    /// The count that an earlier process left in `file`, if any. Half a file is none: who was killed
    /// while writing it had not begun. A file that cannot be read cannot be written, and that is told.
    pub fn open(file: PathBuf) -> Self {
        let begun = std::fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { file, begun }
    }

    /// Work at `place` begins.
    ///
    /// # Errors
    /// The count cannot be kept; nothing may be begun then.
    pub fn begin(&mut self, place: Place) -> io::Result<Care> {
        let begun = self.begun.map_or_else(|| Begun::first(place), |before| before.then(place));
        self.keep(Some(begun))?;
        Ok(begun.care())
    }

    /// Work failed for a reason outside the payload: the attempt does not count.
    ///
    /// # Errors
    /// The count cannot be kept.
    pub fn forgive(&mut self) -> io::Result<()> {
        let forgiven = self.begun.map(|begun| Begun { attempts: begun.attempts.saturating_sub(1), ..begun });
        self.keep(forgiven)
    }

    /// Nothing is left to do.
    ///
    /// # Errors
    /// The count cannot be kept.
    pub fn end(&mut self) -> io::Result<()> {
        if self.begun.is_some() { self.keep(None) } else { Ok(()) }
    }

    /// The feed is closed: a count of nothing need not be kept.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn close(self) -> io::Result<()> {
        if self.begun.is_some() {
            return Ok(());
        }
        match std::fs::remove_file(&self.file) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn keep(&mut self, begun: Option<Begun>) -> io::Result<()> {
        let mut text = begun.map_or_else(|| Ok(Vec::new()), |begun| serde_json::to_vec(&begun))?;
        text.resize(LENGTH, b' ');
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&self.file)?;
        file.write_all_at(&text, 0)?;
        headgate_types::reach(headgate_types::Failpoint::AttemptCounted);
        self.begun = begun;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn at(ordinal: u64) -> Place {
        Place { sequence: 7, ordinal, done: false }
    }

    /// What a process that dies at every attempt is told at each.
    fn deaths(file: &Path, place: Place, times: usize) -> Vec<Care> {
        (0..times).map(|_| Attempts::open(file.to_owned()).begin(place).unwrap()).collect()
    }

    #[test]
    fn commits_shrink_until_one_record_is_left_and_that_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("feed");
        let whole = Care::Records(COMMIT_RECORDS);
        assert_eq!(deaths(&file, at(0), 4), [whole, whole, whole, Care::Records(64)]);
        // The first 64 are sound; the next 64 are not.
        assert_eq!(deaths(&file, at(64), 2), [Care::Records(64), Care::Records(1)]);
        for ordinal in 65..70 {
            assert_eq!(deaths(&file, at(ordinal), 1), [Care::Records(1)]);
        }
        assert_eq!(deaths(&file, at(70), 3), [Care::Records(1); 3]);
        assert_eq!(deaths(&file, at(70), 3), [Care::PassOne; 3]);
        assert_eq!(deaths(&file, at(70), 2), [Care::PassRest; 2]);
        let mut sound = Attempts::open(file.clone());
        sound.end().unwrap();
        assert_eq!(deaths(&file, at(70), 1), [whole], "nothing is counted any more");
        Attempts::open(file.clone()).close().unwrap();
        assert!(file.exists(), "what was begun is kept");
        sound.close().unwrap();
        assert!(!file.exists());
    }

    #[test]
    fn commits_are_whole_again_behind_what_was_suspected() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("feed");
        deaths(&file, at(0), 4);
        let sizes: Vec<Care> =
            (1..=COMMIT_RECORDS as u64 / 64).map(|commit| deaths(&file, at(commit * 64), 1)[0]).collect();
        let (last, before) = sizes.split_last().unwrap();
        assert!(before.iter().all(|care| *care == Care::Records(64)), "{before:?}");
        assert_eq!(*last, Care::Records(COMMIT_RECORDS));
    }

    #[test]
    fn what_is_forgiven_does_not_count_and_half_a_file_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("feed");
        for _ in 0..20 {
            let mut attempts = Attempts::open(file.clone());
            assert_eq!(attempts.begin(at(0)).unwrap(), Care::Records(COMMIT_RECORDS));
            attempts.forgive().unwrap();
        }
        std::fs::write(&file, b"{\"place\":").unwrap();
        assert_eq!(deaths(&file, at(0), 1), [Care::Records(COMMIT_RECORDS)]);
    }
}
