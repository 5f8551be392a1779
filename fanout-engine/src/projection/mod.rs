//! The current row of every key of an entity, in an SQLite file per element.
//!
//! The element's writer reads it for before-images and brings it up to date after every commit, so
//! it stands at the log's head whenever the writer starts a batch (DATA-PLANE rule 2). It is
//! derived: a file that is behind, or gone, is caught up from the lake. No commit waits for a sync,
//! because its position rolls back together with its rows.

#[cfg(test)]
mod power;

use std::collections::HashMap;
use std::path::Path;

use rusqlite::{OptionalExtension, TransactionBehavior, params};

use crate::error::EngineFault;
use crate::sqlite::{Database, connect};

/// Of the tables below. A file of another form is emptied and caught up.
const FORM: i64 = 1;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS rows (key BLOB PRIMARY KEY, row BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS position (one INTEGER PRIMARY KEY CHECK (one = 1), last_offset INTEGER NOT NULL,
        epoch INTEGER NOT NULL);
    INSERT INTO position VALUES (1, 0, 1) ON CONFLICT DO NOTHING;";

/// The rows of one entity. Keys and rows are encoded by [`crate::conform::encode_row`]. Calls block.
#[derive(Debug)]
pub struct Projection {
    database: Database,
}

impl Projection {
    /// Opens a file, making it when it is missing.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn open(file: &Path) -> Result<Self, EngineFault> {
        let database = connect(file)?;
        if database.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))? != FORM {
            database.execute_batch("DROP TABLE IF EXISTS rows; DROP TABLE IF EXISTS position;")?;
        }
        database.execute_batch(TABLES)?;
        database.pragma_update(None, "user_version", FORM)?;
        Ok(Self { database })
    }

    /// The last offset it reflects, and the epoch of the log it was read in.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn position(&self) -> Result<(u64, u32), EngineFault> {
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?));
        Ok(self.database.query_row("SELECT last_offset, epoch FROM position", [], read)?)
    }

    /// Empties it: what it reflects is not what the log holds.
    ///
    /// # Errors
    /// When the file cannot be written; nothing has changed then.
    pub fn clear(&mut self) -> Result<(), EngineFault> {
        let transaction = self.database.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute("DELETE FROM rows", [])?;
        transaction.execute("UPDATE position SET last_offset = 0, epoch = 1", [])?;
        transaction.commit()?;
        Ok(())
    }

    /// The rows of these keys; absent keys have none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn get<'k>(&self, keys: impl IntoIterator<Item = &'k [u8]>) -> Result<HashMap<Vec<u8>, Vec<u8>>, EngineFault> {
        let mut statement = self.database.prepare_cached("SELECT row FROM rows WHERE key = $1")?;
        let mut rows = HashMap::new();
        for key in keys {
            if let Some(row) = statement.query_row(params![key], |row| row.get(0)).optional()? {
                rows.insert(key.to_vec(), row);
            }
        }
        Ok(rows)
    }

    /// Applies the changes of `(position, to]`, in order: a row replaces, none deletes. `epoch` is the
    /// log's for a reader that stands at `to`.
    ///
    /// # Errors
    /// When the file cannot be written; nothing of the changes remains then.
    pub fn apply(&mut self, changes: &[(Vec<u8>, Option<Vec<u8>>)], to: u64, epoch: u32) -> Result<(), EngineFault> {
        let transaction = self.database.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut put = transaction.prepare_cached(
                "INSERT INTO rows VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET row = excluded.row",
            )?;
            let mut delete = transaction.prepare_cached("DELETE FROM rows WHERE key = $1")?;
            for (key, row) in changes {
                match row {
                    Some(row) => put.execute(params![key, row])?,
                    None => delete.execute(params![key])?,
                };
            }
            let to = i64::try_from(to).unwrap_or(i64::MAX);
            transaction.execute("UPDATE position SET last_offset = $1, epoch = $2", params![to, epoch])?;
        }
        transaction.commit()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_position_move_together_and_survive_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rows.db");
        let mut projection = Projection::open(&file).unwrap();
        assert_eq!(projection.position().unwrap(), (0, 1));
        let put = |key: &str, row: &str| (key.as_bytes().to_vec(), Some(row.as_bytes().to_vec()));
        projection.apply(&[put("a", "1"), put("b", "2"), put("a", "3")], 3, 1).unwrap();
        projection.apply(&[(b"b".to_vec(), None)], 4, 2).unwrap();
        drop(projection);
        let mut projection = Projection::open(&file).unwrap();
        assert_eq!(projection.position().unwrap(), (4, 2));
        let keys: [&[u8]; 2] = [b"a", b"b"];
        assert_eq!(projection.get(keys).unwrap(), HashMap::from([(b"a".to_vec(), b"3".to_vec())]));
        projection.clear().unwrap();
        assert_eq!((projection.position().unwrap(), projection.get(keys).unwrap()), ((0, 1), HashMap::new()));
    }
}
