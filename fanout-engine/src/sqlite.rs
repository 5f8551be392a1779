//! SQLite files beside the databases: those that channels own, and projections.
//!
//! They run `synchronous=NORMAL` (DATA-PLANE rule 26): what was written and its cursor are lost together, and no
//! commit waits for a sync. SQLite syncs the write-ahead log before it writes it back into the file, within some
//! commit, and keeps to itself what fails there. A later try would take the log for durable that is not, and a crash
//! amid its writing back would tear the file; so it is written back here, and a sync that failed ends the process.

use std::ops::{Deref, DerefMut};
use std::os::raw::c_int;
use std::path::Path;

use rusqlite::hooks::Wal;
use rusqlite::{Connection, Error, ffi};

/// The log is written back when it has so many pages, as SQLite does where nobody else does it.
const LOG_PAGES: c_int = 1_000;

/// Free pages that a file keeps: 1 MiB.
const KEPT_PAGES: u32 = 256;

/// An open file.
#[derive(Debug)]
pub struct Database(Connection);

/// Opens a file for writing.
pub fn connect(file: &Path) -> Result<Database, Error> {
    let database = Connection::open(file)?;
    // Before the first table: it decides the layout of the file.
    database.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    database.pragma_update(None, "journal_mode", "WAL")?;
    database.pragma_update(None, "synchronous", "NORMAL")?;
    database.wal_hook(Some(write_back));
    Ok(Database(database))
}

/// Opens a file for reading.
pub fn reader(file: &Path) -> Result<Database, Error> {
    let database = Connection::open(file)?;
    database.pragma_update(None, "query_only", true)?;
    Ok(Database(database))
}

/// The commit is made, and the records may still be had from the log: a reader in the way or a full disk only puts this off.
fn write_back(log: &Wal, pages: c_int) -> Result<(), Error> {
    if pages >= LOG_PAGES
        && let Err(error) = log.checkpoint()
    {
        heed(&error);
    }
    Ok(())
}

/// Gives some of what was deleted back to the file system, where it is much. What was asked for is done whether or
/// not this succeeds.
pub fn shrink(database: &Connection) {
    if let Err(error) = headgate_lake::give_back(database, KEPT_PAGES) {
        heed(&error);
        tracing::warn!(%error, "failed to give space back");
    }
}

/// Ends the process if what failed was a sync.
pub fn heed(error: &Error) {
    let code = error.sqlite_error().map_or(0, |error| error.extended_code);
    if matches!(code, ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC) {
        headgate_database::report_failed_sync("a channel or projection", error);
    }
}

impl Deref for Database {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0
    }
}

impl DerefMut for Database {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.0
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // The last connection writes the log back as it closes, and says nothing of it either.
        if let Err(error) = self.0.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
            heed(&error);
        }
    }
}

/// SQLite's integers are signed; none of ours reaches 2^63.
pub fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A number that [`int`] wrote.
pub fn uint(row: &rusqlite::Row<'_>, column: usize) -> Result<u64, Error> {
    row.get::<_, i64>(column).map(|value| u64::try_from(value).unwrap_or(0))
}
