//! The ring: an SQLite file of the channel's own that keeps the newest records, in blocks.
//!
//! What fell out ends at a position, which may lie within a block; the block goes with its last
//! record.
//!
//! Positions are the channel's own sequence (rule 23). The file runs `synchronous=NORMAL` (rule
//! 26), so a power loss may take the newest records *and* their cursor, and they are delivered
//! again. What was handed out must then not be handed out for something else, so positions are
//! reserved by the million, synced: after a crash the sequence goes on behind what is reserved.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use headgate_types::limits::Limits;
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::watch;
use tokio::time::Instant;

use super::block::{Block, Kept, NewRecords, ends_of};
use crate::sqlite::{Database, connect, heed, int, reader, shrink, uint};
use crate::technology::{FlowKey, Rest, SinkError};

/// Positions reserved by one synced write.
const RESERVED: u64 = 1_000_000;
/// Pages kept of an open file, in KiB: what is appended is not read again before long, and there may be very many streams.
const CACHE: i64 = 128;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS blocks (
        last INTEGER PRIMARY KEY,
        records INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        written_at INTEGER NOT NULL,
        element TEXT NOT NULL,
        lane TEXT NOT NULL,
        data BLOB NOT NULL
    );
    CREATE TABLE IF NOT EXISTS cursors (
        element TEXT NOT NULL,
        lane TEXT NOT NULL,
        last_offset INTEGER NOT NULL,
        PRIMARY KEY (element, lane)
    );
    CREATE TABLE IF NOT EXISTS ring (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        floor INTEGER NOT NULL,
        reserved INTEGER NOT NULL,
        bytes INTEGER NOT NULL
    );
    INSERT INTO ring VALUES (1, 0, 0, 0) ON CONFLICT DO NOTHING;";

/// The ends of the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ends {
    /// The last position that fell out; reading resumes behind it at the earliest.
    pub floor: u64,
    /// The last position written.
    pub last: u64,
    /// Bytes of the records kept.
    pub bytes: u64,
}

/// An open ring. Its file is open while it is used: an SQLite connection takes more than a hundred
/// kilobytes, and most channels have nothing to do most of the time.
#[derive(Debug)]
pub struct Ring {
    file: PathBuf,
    store: Mutex<Store>,
    reader: Mutex<Reader>,
    ends: watch::Sender<Ends>,
    closed: watch::Sender<bool>,
}

/// The writing end.
#[derive(Debug)]
struct Store {
    writer: Option<Writer>,
    retention: Retention,
    /// When the oldest record was written, in microseconds, while the file is closed.
    oldest: Option<i64>,
    used: Instant,
}

#[derive(Debug)]
struct Reader {
    database: Option<Database>,
    used: Instant,
}

/// What a ring may keep.
#[derive(Debug, Clone, Copy)]
struct Retention {
    /// 0: no limit.
    bytes: u64,
    age: Option<TimeDelta>,
}

#[derive(Debug)]
struct Writer {
    database: Database,
    retention: Retention,
    reserved: u64,
    /// What the file says of the flows, as far as it was read: nobody else writes it.
    cursors: HashMap<FlowKey, u64>,
    /// When the oldest record was written, in microseconds; `None`: that has to be looked up.
    oldest: Option<i64>,
}

impl Ring {
    /// Opens the ring in `directory`, creating it when it is missing.
    pub async fn open(directory: &Path, limits: &Limits, now: DateTime<Utc>) -> Result<Self, SinkError> {
        let (file, limits) = (directory.join("stream.db"), limits.clone());
        blocking(move || Self::open_file(file, &limits, now)).await
    }

    fn open_file(file: PathBuf, limits: &Limits, now: DateTime<Utc>) -> Result<Self, rusqlite::Error> {
        let database = connect(&file)?;
        database.execute_batch(TABLES)?;
        let (floor, reserved, bytes) = database.query_row("SELECT floor, reserved, bytes FROM ring", [], |row| {
            Ok((uint(row, 0)?, uint(row, 1)?, uint(row, 2)?))
        })?;
        let newest: Option<i64> = database.query_row("SELECT max(last) FROM blocks", [], |row| row.get(0))?;
        let written = newest.map_or(floor, i64::unsigned_abs);
        // What was left in order is reserved up to its last position, which may lie far behind the
        // last record: a power loss took what was between, and readers have seen it.
        let last = written.max(reserved);
        let age = (limits.retention_seconds > 0)
            .then(|| TimeDelta::seconds(i64::try_from(limits.retention_seconds).unwrap_or(i64::MAX / 1_000)));
        let retention = Retention { bytes: limits.retention_bytes, age };
        let mut writer = Writer::new(database, retention, last)?;
        let mut ends = Ends { floor, last, bytes };
        writer.trim(&mut ends, now)?;
        Ok(Self {
            file,
            store: Mutex::new(Store { writer: Some(writer), retention, oldest: None, used: Instant::now() }),
            reader: Mutex::new(Reader { database: None, used: Instant::now() }),
            ends: watch::Sender::new(ends),
            closed: watch::Sender::new(false),
        })
    }

    /// Lets go of the file if neither end was used for `quiet`; the next use opens it again.
    pub async fn rest(self: &Arc<Self>, quiet: Duration) -> Result<(), SinkError> {
        let ring = Arc::clone(self);
        blocking(move || {
            {
                let mut reader = ring.reader.lock();
                if reader.used.elapsed() >= quiet {
                    reader.database = None;
                }
            }
            let mut store = ring.store.lock();
            if store.used.elapsed() < quiet {
                return Ok(());
            }
            let last = ring.ends.borrow().last;
            if let Some(writer) = store.writer.take() {
                store.oldest = writer.leave(last)?;
            }
            Ok(())
        })
        .await
    }

    /// Whether nobody follows the ring and its file is closed, and when its oldest record is too old.
    pub fn at_rest(&self) -> Rest {
        let store = self.store.lock();
        if store.writer.is_some() || self.ends.receiver_count() > 0 {
            return Rest::Busy;
        }
        let oldest = store.oldest.and_then(DateTime::from_timestamp_micros);
        Rest::Until(oldest.zip(store.retention.age).map(|(oldest, age)| oldest + age))
    }

    /// Whether a connection to the file is open.
    #[cfg(test)]
    pub fn is_open(&self) -> bool {
        self.store.lock().writer.is_some() || self.reader.lock().database.is_some()
    }

    /// The last offset the ring holds of a flow.
    pub async fn cursor(self: &Arc<Self>, flow: FlowKey) -> Result<Option<u64>, SinkError> {
        let ring = Arc::clone(self);
        blocking(move || ring.store.lock().writer(&ring)?.cursor(flow)).await
    }

    /// Puts the range `(after, to]` of a flow into the ring, once. `element` is the name the
    /// receiver knows the element by.
    pub async fn append(
        self: &Arc<Self>,
        flow: FlowKey,
        to: u64,
        element: Arc<str>,
        records: NewRecords,
        now: DateTime<Utc>,
    ) -> Result<u64, SinkError> {
        let ring = Arc::clone(self);
        blocking(move || {
            let mut store = ring.store.lock();
            let before = *ring.ends.borrow();
            let (through, after) = store.writer(&ring)?.append(before, flow, to, &element, &records, now)?;
            // Readers hear of records only after their commit.
            ring.ends.send_replace(after);
            Ok(through)
        })
        .await
    }

    /// Drops what the ring may no longer keep at `now`; cheap when nothing is due.
    pub async fn trim(self: &Arc<Self>, now: DateTime<Utc>) -> Result<(), SinkError> {
        let ring = Arc::clone(self);
        blocking(move || {
            let mut store = ring.store.lock();
            let before = *ring.ends.borrow();
            if store.keeps_all(before, now) {
                return Ok(());
            }
            let mut after = before;
            let trimmed = store.writer(&ring)?.trim(&mut after, now);
            if after != before {
                ring.ends.send_replace(after);
            }
            trimmed
        })
        .await
    }

    /// Records behind `after`, at most `count` of them and about `bytes` bytes.
    pub async fn read(self: &Arc<Self>, after: u64, count: usize, bytes: usize) -> Result<Vec<Kept>, SinkError> {
        let ring = Arc::clone(self);
        blocking(move || {
            let mut reader = ring.reader.lock();
            let mut statement = reader.database(&ring.file)?.prepare_cached(
                "SELECT last, records, element, lane, data FROM blocks WHERE last > ?1 ORDER BY last",
            )?;
            let mut rows = statement.query([int(after)])?;
            let (mut kept, mut size) = (Vec::new(), 0);
            while kept.len() < count
                && size < bytes
                && let Some(row) = rows.next()?
            {
                let (element, lane) = (row.get_ref(2)?.as_str()?, row.get_ref(3)?.as_str()?);
                let block = Block::new(uint(row, 0)?, uint(row, 1)?, element, lane, row.get(4)?)
                    .ok_or_else(|| damaged("a block's ends do not fit its records"))?;
                for record in block.behind(after).take(count - kept.len()) {
                    size += record.json.len();
                    kept.push(record);
                    if size >= bytes {
                        break;
                    }
                }
            }
            Ok(kept)
        })
        .await
    }

    /// The ends of the ring, and news of them.
    pub fn ends(&self) -> watch::Receiver<Ends> {
        self.ends.subscribe()
    }

    /// Turns to true when the channel closes.
    pub fn closed(&self) -> watch::Receiver<bool> {
        self.closed.subscribe()
    }

    /// Ends every reader and marks the file as left in order.
    pub async fn close(self: &Arc<Self>) {
        self.closed.send_replace(true);
        let ring = Arc::clone(self);
        let closed = blocking(move || {
            ring.reader.lock().database = None;
            let last = ring.ends.borrow().last;
            // What rests was left in order.
            match ring.store.lock().writer.take() {
                Some(writer) => writer.leave(last).map(drop),
                None => Ok(()),
            }
        })
        .await;
        if let Err(error) = closed {
            tracing::warn!(%error, "failed to close a stream in order; its positions go on behind the reserved block");
        }
    }
}

impl Store {
    /// The open file.
    fn writer(&mut self, ring: &Ring) -> Result<&mut Writer, rusqlite::Error> {
        self.used = Instant::now();
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => {
                // Positions were given back when the file was left: the next ones are reserved anew.
                let reserved = ring.ends.borrow().last;
                Writer::new(connect(&ring.file)?, self.retention, reserved)?
            }
        };
        Ok(self.writer.insert(writer))
    }

    /// Whether it is plain without the file that nothing is to be dropped.
    fn keeps_all(&self, ends: Ends, now: DateTime<Utc>) -> bool {
        let young = |age: TimeDelta| self.oldest.is_none_or(|oldest| oldest >= (now - age).timestamp_micros());
        self.writer.is_none()
            && (self.retention.bytes == 0 || ends.bytes <= self.retention.bytes)
            && self.retention.age.is_none_or(young)
    }
}

impl Reader {
    fn database(&mut self, file: &Path) -> Result<&Connection, rusqlite::Error> {
        self.used = Instant::now();
        let database = match self.database.take() {
            Some(database) => database,
            None => {
                let database = reader(file)?;
                keep_few_pages(&database)?;
                database
            }
        };
        Ok(self.database.insert(database))
    }
}

impl Writer {
    fn new(database: Database, retention: Retention, reserved: u64) -> Result<Self, rusqlite::Error> {
        keep_few_pages(&database)?;
        Ok(Self { database, retention, reserved, cursors: HashMap::new(), oldest: None })
    }

    /// Leaves the file in order: what was reserved and not used is given back. Returns when the
    /// oldest record was written, in microseconds.
    fn leave(self, last: u64) -> Result<Option<i64>, rusqlite::Error> {
        self.database.pragma_update(None, "synchronous", "FULL")?;
        self.database.execute("UPDATE ring SET reserved = ?1", [int(last)])?;
        self.database.execute("PRAGMA wal_checkpoint(TRUNCATE)", []).or_else(ignore_rows)?;
        self.database.query_row("SELECT written_at FROM blocks ORDER BY last LIMIT 1", [], |row| row.get(0)).optional()
    }

    fn cursor(&mut self, flow: FlowKey) -> Result<Option<u64>, rusqlite::Error> {
        if let Some(held) = self.cursors.get(&flow) {
            return Ok(Some(*held));
        }
        let held = self
            .database
            .prepare_cached("SELECT last_offset FROM cursors WHERE element = ?1 AND lane = ?2")?
            .query_row(params![flow.element.to_string(), flow.lane.as_str()], |row| uint(row, 0))
            .optional()?;
        self.cursors.extend(held.map(|held| (flow, held)));
        Ok(held)
    }

    fn append(
        &mut self,
        ends: Ends,
        flow: FlowKey,
        to: u64,
        element: &str,
        records: &NewRecords,
        now: DateTime<Utc>,
    ) -> Result<(u64, Ends), rusqlite::Error> {
        let held = self.cursor(flow)?.unwrap_or(0);
        if held >= to {
            return Ok((held, ends));
        }
        self.reserve(ends.last + records.len() as u64)?;
        // A commit that fails may have been made: the file is asked then.
        self.cursors.remove(&flow);
        let mut next = ends;
        let transaction = self.database.transaction()?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO blocks (last, records, bytes, written_at, element, lane, data)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?;
            for block in records.blocks(held) {
                next.last += block.records;
                next.bytes += block.bytes;
                insert.execute(params![
                    int(next.last),
                    int(block.records),
                    int(block.bytes),
                    now.timestamp_micros(),
                    element,
                    flow.lane.as_str(),
                    block.data
                ])?;
            }
            transaction
                .prepare_cached(
                    "INSERT INTO cursors (element, lane, last_offset) VALUES (?1, ?2, ?3)
                     ON CONFLICT (element, lane) DO UPDATE SET last_offset = excluded.last_offset",
                )?
                .execute(params![flow.element.to_string(), flow.lane.as_str(), int(to)])?;
            transaction.prepare_cached("UPDATE ring SET bytes = ?1")?.execute([int(next.bytes)])?;
        }
        transaction.commit()?;
        self.cursors.insert(flow, to);
        headgate_types::reach(headgate_types::Failpoint::StreamAppended);
        // The records are there, whatever becomes of older ones: the next append takes them up.
        if let Err(error) = self.trim(&mut next, now) {
            heed(&error);
            tracing::warn!(%error, "failed to drop what a stream need not keep; will retry");
        }
        Ok((to, next))
    }

    /// Makes sure that positions up to `last` belong to this run even after a power loss.
    fn reserve(&mut self, last: u64) -> Result<(), rusqlite::Error> {
        if last <= self.reserved {
            return Ok(());
        }
        let reserved = last + RESERVED;
        self.database.pragma_update(None, "synchronous", "FULL")?;
        self.database.execute("UPDATE ring SET reserved = ?1", [int(reserved)])?;
        self.database.pragma_update(None, "synchronous", "NORMAL")?;
        self.reserved = reserved;
        headgate_types::reach(headgate_types::Failpoint::StreamReserved);
        Ok(())
    }

    /// Drops the oldest records until size and age are within what the channel may keep.
    /// `ends` are right even if it fails.
    fn trim(&mut self, ends: &mut Ends, now: DateTime<Utc>) -> Result<(), rusqlite::Error> {
        if let Some(age) = self.retention.age {
            let oldest_kept = (now - age).timestamp_micros();
            if self.oldest.is_none_or(|oldest| oldest < oldest_kept) {
                let young: Option<(u64, i64)> = self
                    .database
                    .prepare_cached(
                        "SELECT last - records, written_at FROM blocks WHERE last > ?1 AND written_at >= ?2
                          ORDER BY last LIMIT 1",
                    )?
                    .query_row(params![int(ends.floor), oldest_kept], |row| Ok((uint(row, 0)?, row.get(1)?)))
                    .optional()?;
                self.drop_through(ends, young.map_or(ends.last, |(before, _)| before))?;
                self.oldest = young.map(|(_, written_at)| written_at);
            }
        }
        if self.retention.bytes > 0 && ends.bytes > self.retention.bytes {
            let surplus = ends.bytes - self.retention.bytes;
            self.drop_through(ends, self.oldest_worth(ends.floor, surplus)?)?;
        }
        Ok(())
    }

    /// The position up to which the oldest records behind `floor` add up to `bytes` or a little more.
    fn oldest_worth(&self, floor: u64, bytes: u64) -> Result<u64, rusqlite::Error> {
        let wanted = self.bytes_through(floor)? + bytes;
        let mut statement = self.database.prepare_cached("SELECT last, records, bytes FROM blocks ORDER BY last")?;
        let mut rows = statement.query([])?;
        let mut sum = 0;
        while let Some(row) = rows.next()? {
            let (last, records) = (uint(row, 0)?, uint(row, 1)?);
            let all = uint(row, 2)?;
            if sum + all >= wanted {
                let before = self.ends(last)?.iter().take_while(|end| sum + **end < wanted).count() as u64;
                return Ok((last - records + before + 1).min(last));
            }
            sum += all;
        }
        Ok(floor)
    }

    /// Bytes of the records through `position` whose blocks are there.
    fn bytes_through(&self, position: u64) -> Result<u64, rusqlite::Error> {
        let whole = self
            .database
            .prepare_cached("SELECT coalesce(sum(bytes), 0) FROM blocks WHERE last <= ?1")?
            .query_row([int(position)], |row| uint(row, 0))?;
        let cut: Option<(u64, u64)> = self
            .database
            .prepare_cached("SELECT last, last - records FROM blocks WHERE last > ?1 ORDER BY last LIMIT 1")?
            .query_row([int(position)], |row| Ok((uint(row, 0)?, uint(row, 1)?)))
            .optional()?;
        let Some((last, before_first)) = cut.filter(|(_, before_first)| *before_first < position) else {
            return Ok(whole);
        };
        let inside = usize::try_from(position - before_first).unwrap_or(usize::MAX);
        Ok(whole + self.ends(last)?.get(inside - 1).copied().unwrap_or(0))
    }

    /// Where each record of a block ends.
    fn ends(&self, last: u64) -> Result<Vec<u64>, rusqlite::Error> {
        self.database
            .prepare_cached("SELECT substr(data, 1, 4 * records) FROM blocks WHERE last = ?1")?
            .query_row([int(last)], |row| Ok(ends_of(row.get_ref(0)?.as_blob()?).collect()))
    }

    fn drop_through(&mut self, ends: &mut Ends, through: u64) -> Result<(), rusqlite::Error> {
        if through <= ends.floor {
            return Ok(());
        }
        let freed = self.bytes_through(through)? - self.bytes_through(ends.floor)?;
        let next = Ends { floor: through, bytes: ends.bytes.saturating_sub(freed), ..*ends };
        let transaction = self.database.transaction()?;
        let gone = transaction.prepare_cached("DELETE FROM blocks WHERE last <= ?1")?.execute([int(through)])?;
        transaction
            .prepare_cached("UPDATE ring SET floor = ?1, bytes = ?2")?
            .execute(params![int(next.floor), int(next.bytes)])?;
        transaction.commit()?;
        self.oldest = None;
        *ends = next;
        if gone > 0 {
            shrink(&self.database);
        }
        Ok(())
    }
}

fn keep_few_pages(database: &Connection) -> Result<(), rusqlite::Error> {
    // Negative: KiB, not pages (sqlite.org/pragma.html#pragma_cache_size).
    database.pragma_update(None, "cache_size", -CACHE)
}

/// What the file holds is not what was put into it.
fn damaged(what: &'static str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, what.into())
}

/// Some pragmas answer with rows, which `execute` takes for an error.
fn ignore_rows(error: rusqlite::Error) -> Result<usize, rusqlite::Error> {
    match error {
        rusqlite::Error::ExecuteReturnedResults => Ok(0),
        other => Err(other),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, rusqlite::Error> + Send + 'static,
) -> Result<T, SinkError> {
    let failed = |detail: String| SinkError::retry(format!("the stream's store failed: {detail}"));
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.inspect_err(heed).map_err(|error| failed(error.to_string())),
        Err(error) => Err(failed(error.to_string())),
    }
}
