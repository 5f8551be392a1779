//! SQLite files that channels own.

use std::path::Path;

use rusqlite::Connection;

/// Opens a file for writing. It runs `synchronous=NORMAL` (DATA-PLANE rule 26): records and cursor are lost together.
pub fn connect(file: &Path) -> Result<Connection, rusqlite::Error> {
    let database = Connection::open(file)?;
    database.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    database.pragma_update(None, "journal_mode", "WAL")?;
    database.pragma_update(None, "synchronous", "NORMAL")?;
    Ok(database)
}

/// SQLite's integers are signed; none of ours reaches 2^63.
pub fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A number that [`int`] wrote.
pub fn uint(row: &rusqlite::Row<'_>, column: usize) -> Result<u64, rusqlite::Error> {
    row.get::<_, i64>(column).map(|value| u64::try_from(value).unwrap_or(0))
}
