//! The newest sequence ever committed, beside the log: what shows that a log was restored from an
//! older copy or has lost its tail, even when no cursor has passed what is missing.
//!
//! It stands outside the log's directory, which may be put back as a whole. One small file, written over in place after each group and never synced: it is written after its
//! group is durable, so it can only be behind the log, and then says nothing.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The sequence and its complement: half a write is no statement.
const LENGTH: usize = 16;

/// The file, open.
#[derive(Debug)]
pub(super) struct Reached(File);

impl Reached {
    /// Opens the file and says what it holds; 0 for none.
    pub(super) fn open(path: &Path) -> io::Result<(Self, u64)> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = [0; LENGTH];
        let sequence = match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => {
                let [one, other] =
                    [&bytes[..8], &bytes[8..]].map(|half| half.iter().fold(0, |n, b| n << 8 | u64::from(*b)));
                if one == !other { one } else { 0 }
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            Err(error) => return Err(error),
        };
        Ok((Self(file), sequence))
    }

    /// Everything up to `sequence` is durable. A failure costs the witness, not the log.
    pub(super) fn note(&self, sequence: u64) {
        let mut bytes = [0; LENGTH];
        bytes[..8].copy_from_slice(&sequence.to_be_bytes());
        bytes[8..].copy_from_slice(&(!sequence).to_be_bytes());
        if let Err(error) = self.0.write_all_at(&bytes, 0) {
            tracing::warn!(%error, "failed to note how far the log has come");
        }
    }
}
