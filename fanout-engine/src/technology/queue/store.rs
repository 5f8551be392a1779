//! The queue: an SQLite file of the channel's own that keeps what was not acknowledged yet.
//!
//! The file runs `synchronous=NORMAL` (DATA-PLANE rule 26): a power loss may take the newest messages
//! together with their cursor, and they are delivered again; one that takes acknowledgements makes
//! their messages come again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use rand::RngCore;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tokio::sync::watch;
use tokio::time::Instant;

use super::settings::Settings;
use crate::sqlite::{Database, connect, heed, int, shrink, uint};
use crate::technology::{FlowKey, SinkError};

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS messages (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        element TEXT NOT NULL,
        lane TEXT NOT NULL,
        key INTEGER,
        sent_at INTEGER NOT NULL,
        visible_at INTEGER NOT NULL,
        receives INTEGER NOT NULL,
        receipt INTEGER,
        dead_at INTEGER,
        superseded INTEGER NOT NULL DEFAULT 0,
        json BLOB NOT NULL
    );
    CREATE INDEX IF NOT EXISTS live ON messages (id) WHERE dead_at IS NULL;
    CREATE INDEX IF NOT EXISTS dead ON messages (id) WHERE dead_at IS NOT NULL;
    CREATE INDEX IF NOT EXISTS keyed ON messages (element, key, id) WHERE key IS NOT NULL;
    CREATE INDEX IF NOT EXISTS hidden ON messages (visible_at) WHERE dead_at IS NULL AND visible_at > 0;
    CREATE TABLE IF NOT EXISTS cursors (
        element TEXT NOT NULL,
        lane TEXT NOT NULL,
        last_offset INTEGER NOT NULL,
        PRIMARY KEY (element, lane)
    );
    CREATE TABLE IF NOT EXISTS queue (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        bytes INTEGER NOT NULL,
        live INTEGER NOT NULL,
        dead INTEGER NOT NULL
    );
    INSERT INTO queue VALUES (1, 0, 0, 0) ON CONFLICT DO NOTHING;";

/// A record on its way into the queue.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// Its place in the element's log.
    pub offset: u64,
    /// Hash of its key; none: its order does not matter.
    pub key: Option<u64>,
    /// The shaped record: a JSON object.
    pub json: Vec<u8>,
}

/// A message given to a receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Names the message and this receiving of it.
    pub receipt: Receipt,
    /// The name the receiver knows the element by.
    pub element: String,
    /// The lane it came by.
    pub lane: String,
    /// When it was put into the queue.
    pub sent_at: DateTime<Utc>,
    /// How often it was received, this time included.
    pub receives: u64,
    /// The shaped record: a JSON object.
    pub json: Vec<u8>,
}

/// A message that nobody acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// Its number.
    pub id: u64,
    /// The name the receiver knows the element by.
    pub element: String,
    /// When it was set aside.
    pub dead_at: DateTime<Utc>,
    /// How often it was received.
    pub receives: u64,
    /// A later record of the same key was acknowledged: putting this one back would undo it.
    pub superseded: bool,
    /// The shaped record: a JSON object.
    pub json: Vec<u8>,
}

/// One receiving of one message. Only whoever received it can name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    id: u64,
    nonce: u64,
}

impl std::fmt::Display for Receipt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}-{:016x}", self.id, self.nonce)
    }
}

impl std::str::FromStr for Receipt {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (id, nonce) = text.split_once('-').ok_or(())?;
        let number = |text: &str| u64::from_str_radix(text, 16).map_err(|_| ());
        let receipt = Self { id: number(id)?, nonce: number(nonce)? };
        // One text for one receipt.
        if receipt.to_string() == text { Ok(receipt) } else { Err(()) }
    }
}

/// What is to become of messages that were received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They are done.
    Done,
    /// They stay invisible, or become visible, from now on for this long.
    Invisible(Duration),
}

/// What the queue holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    /// Messages not acknowledged, dead letters left out.
    pub messages: u64,
    /// Those of them that nobody can receive now.
    pub in_flight: u64,
    /// Dead letters.
    pub dead: u64,
    /// Bytes of all records.
    pub bytes: u64,
}

/// An open queue. Its file is open while it is used.
#[derive(Debug)]
pub struct Queue {
    file: PathBuf,
    settings: Settings,
    /// Bytes from which nothing more is taken; 0: no limit.
    most_bytes: u64,
    store: Mutex<Store>,
    /// Changes when something may have become receivable.
    news: watch::Sender<u64>,
    closed: watch::Sender<bool>,
}

#[derive(Debug)]
struct Store {
    database: Option<Database>,
    used: Instant,
}

impl Queue {
    /// Opens the queue in `directory`, creating it when it is missing.
    pub async fn open(directory: &Path, settings: Settings, most_bytes: u64) -> Result<Arc<Self>, SinkError> {
        let file = directory.join("queue.db");
        let queue = Arc::new(Self {
            file,
            settings,
            most_bytes,
            store: Mutex::new(Store { database: None, used: Instant::now() }),
            news: watch::Sender::new(0),
            closed: watch::Sender::new(false),
        });
        queue.with(|_, database| database.execute_batch(TABLES)).await?;
        Ok(queue)
    }

    /// How messages are given out.
    pub const fn settings(&self) -> Settings {
        self.settings
    }

    /// News of messages to be received.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Turns to true when the channel closes.
    pub fn closed(&self) -> watch::Receiver<bool> {
        self.closed.subscribe()
    }

    /// The last offset the queue holds of a flow.
    pub async fn cursor(self: &Arc<Self>, flow: FlowKey) -> Result<u64, SinkError> {
        self.with(move |_, database| held(database, flow)).await
    }

    /// Puts the range `(after, to]` of a flow into the queue, once.
    ///
    /// # Errors
    /// `Retry` when the queue is full: it drops nothing.
    pub async fn append(
        self: &Arc<Self>,
        flow: FlowKey,
        to: u64,
        element: Arc<str>,
        messages: Vec<NewMessage>,
        now: DateTime<Utc>,
    ) -> Result<u64, SinkError> {
        let most = self.most_bytes;
        let through = self
            .with(move |_, database| {
                let transaction = database.transaction()?;
                let before = held(&transaction, flow)?;
                if before >= to {
                    return Ok(Ok(before));
                }
                let (mut bytes, mut live): (u64, u64) =
                    transaction
                        .query_row("SELECT bytes, live FROM queue", [], |row| Ok((uint(row, 0)?, uint(row, 1)?)))?;
                if most > 0 && bytes >= most && !messages.is_empty() {
                    return Ok(Err(bytes));
                }
                {
                    let mut insert = transaction.prepare_cached(
                        "INSERT INTO messages (element, lane, key, sent_at, visible_at, receives, json)
                         VALUES (?1, ?2, ?3, ?4, 0, 0, ?5)",
                    )?;
                    for message in messages.iter().filter(|message| message.offset > before) {
                        let key = message.key.map(u64::cast_signed);
                        insert.execute(params![
                            &*element,
                            flow.lane.as_str(),
                            key,
                            now.timestamp_micros(),
                            message.json
                        ])?;
                        bytes += message.json.len() as u64;
                        live += 1;
                    }
                }
                transaction
                    .prepare_cached(
                        "INSERT INTO cursors (element, lane, last_offset) VALUES (?1, ?2, ?3)
                         ON CONFLICT (element, lane) DO UPDATE SET last_offset = excluded.last_offset",
                    )?
                    .execute(params![flow.element.to_string(), flow.lane.as_str(), int(to)])?;
                transaction
                    .prepare_cached("UPDATE queue SET bytes = ?1, live = ?2")?
                    .execute([int(bytes), int(live)])?;
                transaction.commit()?;
                headgate_types::reach(headgate_types::Failpoint::QueueAppended);
                Ok(Ok(to))
            })
            .await?;
        through.map(|through| self.told(through)).map_err(|bytes| SinkError::Retry {
            after: Some(Duration::from_secs(5)),
            reason: format!(
                "the queue holds {bytes} bytes and may hold {most}: receive and acknowledge messages, discard dead \
                 letters, or order a larger size"
            ),
        })
    }

    /// Gives out the oldest messages that may be received: at most `count`, about `bytes` of them.
    /// Of one key there is at most one on its way, so that records of a key are done in order.
    pub async fn receive(
        self: &Arc<Self>,
        count: usize,
        bytes: usize,
        visibility: Duration,
        now: DateTime<Utc>,
    ) -> Result<Vec<Received>, SinkError> {
        let most_receives = self.settings.max_receives;
        let (received, died) = self
            .with(move |_, database| {
                let transaction = database.transaction()?;
                let died = bury(&transaction, most_receives, now)?;
                let received = take(&transaction, count, bytes, now + visibility, now)?;
                transaction.commit()?;
                if died {
                    headgate_types::reach(headgate_types::Failpoint::QueueBuried);
                }
                if !received.is_empty() {
                    headgate_types::reach(headgate_types::Failpoint::QueueReceived);
                }
                Ok((received, died))
            })
            .await?;
        // What waited behind a dead letter of its key may be received by others.
        if died { Ok(self.told(received)) } else { Ok(received) }
    }

    /// When the next invisible message becomes visible.
    pub async fn next_visible(self: &Arc<Self>, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, SinkError> {
        let at: Option<i64> = self
            .with(move |_, database| {
                database
                    .prepare_cached("SELECT min(visible_at) FROM messages WHERE dead_at IS NULL AND visible_at > ?1")?
                    .query_row([now.timestamp_micros()], |row| row.get(0))
            })
            .await?;
        Ok(at.and_then(DateTime::from_timestamp_micros))
    }

    /// Decides messages that were received. Returns the receipts that name nothing any more: the
    /// message was acknowledged, received by somebody else since, or set aside.
    pub async fn decide(
        self: &Arc<Self>,
        receipts: Vec<Receipt>,
        verdict: Verdict,
        now: DateTime<Utc>,
    ) -> Result<Vec<Receipt>, SinkError> {
        let gone = self
            .with(move |_, database| {
                let transaction = database.transaction()?;
                let mut gone = Vec::new();
                for receipt in receipts {
                    let known = match verdict {
                        Verdict::Done => finish(&transaction, receipt)?,
                        Verdict::Invisible(time) => hide(&transaction, receipt, now + time)?,
                    };
                    if !known {
                        gone.push(receipt);
                    }
                }
                transaction.commit()?;
                if matches!(verdict, Verdict::Done) {
                    headgate_types::reach(headgate_types::Failpoint::QueueAcknowledged);
                    shrink(database);
                }
                Ok(gone)
            })
            .await?;
        Ok(self.told(gone))
    }

    /// Dead letters behind number `after`, the oldest first: at most `count`, and no more
    /// once they have `most` bytes.
    pub async fn dead(self: &Arc<Self>, after: u64, count: usize, most: usize) -> Result<Vec<Dead>, SinkError> {
        self.with(move |_, database| {
            let mut statement = database.prepare_cached(
                "SELECT id, element, dead_at, receives, superseded, json FROM messages
                  WHERE dead_at IS NOT NULL AND id > ?1 ORDER BY id LIMIT ?2",
            )?;
            let read = |row: &rusqlite::Row<'_>| {
                Ok(Dead {
                    id: uint(row, 0)?,
                    element: row.get(1)?,
                    dead_at: time(row, 2)?,
                    receives: uint(row, 3)?,
                    superseded: row.get(4)?,
                    json: row.get(5)?,
                })
            };
            let (mut letters, mut bytes) = (Vec::new(), 0);
            let mut found = statement.query_map([int(after), int(count as u64)], read)?;
            while bytes < most
                && let Some(letter) = found.next().transpose()?
            {
                bytes += letter.json.len();
                letters.push(letter);
            }
            Ok(letters)
        })
        .await
    }

    /// Puts dead letters back, those of these numbers or all. Those whose key has a later record stay:
    /// the receiver would go back to an older state. Returns how many were put back.
    pub async fn redrive(self: &Arc<Self>, ids: Option<Vec<u64>>) -> Result<u64, SinkError> {
        let moved = self
            .with(move |_, database| {
                let transaction = database.transaction()?;
                let moved = each(ids, |condition, id| {
                    transaction.execute(
                        &format!(
                            "UPDATE messages SET dead_at = NULL, visible_at = 0, receives = 0, receipt = NULL
                              WHERE dead_at IS NOT NULL AND superseded = 0 AND {condition}
                                AND NOT EXISTS (SELECT 1 FROM messages AS later
                                                 WHERE later.key = messages.key AND later.element = messages.element
                                                   AND later.id > messages.id)"
                        ),
                        id,
                    )
                })?;
                transaction.execute("UPDATE queue SET live = live + ?1, dead = dead - ?1", [int(moved)])?;
                transaction.commit()?;
                if moved > 0 {
                    headgate_types::reach(headgate_types::Failpoint::QueueRedriven);
                }
                Ok(moved)
            })
            .await?;
        Ok(self.told(moved))
    }

    /// Removes dead letters, those of these numbers or all; returns how many.
    pub async fn discard(self: &Arc<Self>, ids: Option<Vec<u64>>) -> Result<u64, SinkError> {
        self.with(move |_, database| {
            let transaction = database.transaction()?;
            let mut bytes = 0;
            let removed = each(ids, |condition, id| {
                bytes += transaction.query_row(
                    &format!(
                        "SELECT coalesce(sum(length(json)), 0) FROM messages WHERE dead_at IS NOT NULL AND {condition}"
                    ),
                    id,
                    |row| uint(row, 0),
                )?;
                transaction.execute(&format!("DELETE FROM messages WHERE dead_at IS NOT NULL AND {condition}"), id)
            })?;
            transaction.execute("UPDATE queue SET bytes = bytes - ?1, dead = dead - ?2", [int(bytes), int(removed)])?;
            transaction.commit()?;
            if removed > 0 {
                headgate_types::reach(headgate_types::Failpoint::QueueDiscarded);
                shrink(database);
            }
            Ok(removed)
        })
        .await
    }

    /// What the queue holds.
    pub async fn depth(self: &Arc<Self>, now: DateTime<Utc>) -> Result<Depth, SinkError> {
        self.with(move |_, database| {
            let in_flight = database
                .prepare_cached("SELECT count(*) FROM messages WHERE dead_at IS NULL AND visible_at > ?1")?
                .query_row([now.timestamp_micros()], |row| uint(row, 0))?;
            database.prepare_cached("SELECT live, dead, bytes FROM queue")?.query_row([], |row| {
                Ok(Depth { messages: uint(row, 0)?, in_flight, dead: uint(row, 1)?, bytes: uint(row, 2)? })
            })
        })
        .await
    }

    /// Lets go of the file if it was not used for `quiet`; the next use opens it again.
    pub async fn rest(self: &Arc<Self>, quiet: Duration) {
        let queue = Arc::clone(self);
        let rested = tokio::task::spawn_blocking(move || {
            let mut store = queue.store.lock();
            if store.used.elapsed() >= quiet {
                store.database = None;
            }
        });
        // It only drops a connection.
        let _ = rested.await;
    }

    /// Ends every receiver that waits, and lets go of the file.
    pub async fn close(self: &Arc<Self>) {
        self.closed.send_replace(true);
        self.rest(Duration::ZERO).await;
    }

    fn told<T>(&self, result: T) -> T {
        self.news.send_modify(|news| *news += 1);
        result
    }

    async fn with<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self, &mut Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, SinkError> {
        let queue = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let mut store = queue.store.lock();
            store.used = Instant::now();
            let database = match store.database.take() {
                Some(database) => database,
                None => connect(&queue.file)?,
            };
            work(&queue, store.database.insert(database))
        });
        let failed = |detail: String| SinkError::retry(format!("the queue's store failed: {detail}"));
        let done = done.await.map_err(|error| failed(error.to_string()))?;
        done.inspect_err(heed).map_err(|error| failed(error.to_string()))
    }
}

fn held(database: &Connection, flow: FlowKey) -> Result<u64, rusqlite::Error> {
    let held = database
        .prepare_cached("SELECT last_offset FROM cursors WHERE element = ?1 AND lane = ?2")?
        .query_row(params![flow.element.to_string(), flow.lane.as_str()], |row| uint(row, 0))
        .optional()?;
    Ok(held.unwrap_or(0))
}

/// Sets aside what was received too often; says whether there was any.
fn bury(transaction: &Transaction<'_>, most_receives: u64, now: DateTime<Utc>) -> Result<bool, rusqlite::Error> {
    let now = now.timestamp_micros();
    let died = transaction
        .prepare_cached(
            "UPDATE messages SET dead_at = ?1, receipt = NULL
              WHERE dead_at IS NULL AND visible_at > 0 AND visible_at <= ?1 AND receives >= ?2",
        )?
        .execute(params![now, int(most_receives)])? as u64;
    if died > 0 {
        transaction.execute("UPDATE queue SET live = live - ?1, dead = dead + ?1", [int(died)])?;
    }
    Ok(died > 0)
}

fn take(
    transaction: &Transaction<'_>,
    count: usize,
    bytes: usize,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Vec<Received>, rusqlite::Error> {
    let mut find = transaction.prepare_cached(
        "SELECT id, element, lane, sent_at, receives, json FROM messages
          WHERE dead_at IS NULL AND visible_at <= ?1
            AND (key IS NULL
                 OR NOT EXISTS (SELECT 1 FROM messages AS earlier
                                 WHERE earlier.key = messages.key AND earlier.element = messages.element
                                   AND earlier.id < messages.id AND earlier.dead_at IS NULL))
          ORDER BY id LIMIT ?2",
    )?;
    let mut mark = transaction
        .prepare_cached("UPDATE messages SET visible_at = ?2, receives = receives + 1, receipt = ?3 WHERE id = ?1")?;
    let mut rows = find.query(params![now.timestamp_micros(), int(count as u64)])?;
    let (mut received, mut size) = (Vec::new(), 0);
    while size < bytes
        && let Some(row) = rows.next()?
    {
        let receipt = Receipt { id: uint(row, 0)?, nonce: rand::thread_rng().next_u64() };
        let message = Received {
            receipt,
            element: row.get(1)?,
            lane: row.get(2)?,
            sent_at: time(row, 3)?,
            receives: uint(row, 4)? + 1,
            json: row.get(5)?,
        };
        size += message.json.len();
        received.push(message);
    }
    drop(rows);
    for message in &received {
        let Receipt { id, nonce } = message.receipt;
        // A message that was received is never at 0 again: that says it was not.
        mark.execute(params![int(id), until.timestamp_micros().max(1), nonce.cast_signed()])?;
    }
    Ok(received)
}

/// Removes an acknowledged message. Dead letters of its key are superseded from then on.
fn finish(transaction: &Transaction<'_>, receipt: Receipt) -> Result<bool, rusqlite::Error> {
    let done: Option<(String, Option<i64>, u64)> = transaction
        .prepare_cached("DELETE FROM messages WHERE id = ?1 AND receipt = ?2 RETURNING element, key, length(json)")?
        .query_row([int(receipt.id), receipt.nonce.cast_signed()], |row| Ok((row.get(0)?, row.get(1)?, uint(row, 2)?)))
        .optional()?;
    let Some((element, key, bytes)) = done else { return Ok(false) };
    if let Some(key) = key {
        transaction
            .prepare_cached(
                "UPDATE messages SET superseded = 1 WHERE element = ?1 AND key = ?2 AND id < ?3 AND dead_at IS NOT NULL",
            )?
            .execute(params![element, key, int(receipt.id)])?;
    }
    transaction.prepare_cached("UPDATE queue SET bytes = bytes - ?1, live = live - 1")?.execute([int(bytes)])?;
    Ok(true)
}

fn hide(transaction: &Transaction<'_>, receipt: Receipt, until: DateTime<Utc>) -> Result<bool, rusqlite::Error> {
    let changed = transaction
        .prepare_cached("UPDATE messages SET visible_at = ?3 WHERE id = ?1 AND receipt = ?2")?
        .execute(params![int(receipt.id), receipt.nonce.cast_signed(), until.timestamp_micros().max(1)])?;
    Ok(changed > 0)
}

/// Runs a statement for each number, or once for all; sums what it changed.
fn each(
    ids: Option<Vec<u64>>,
    mut run: impl FnMut(&str, &[&dyn rusqlite::ToSql]) -> Result<usize, rusqlite::Error>,
) -> Result<u64, rusqlite::Error> {
    let Some(ids) = ids else { return run("TRUE", &[]).map(|changed| changed as u64) };
    ids.into_iter().try_fold(0, |sum, id| Ok(sum + run("id = ?1", &[&int(id)])? as u64))
}

fn time(row: &rusqlite::Row<'_>, column: usize) -> Result<DateTime<Utc>, rusqlite::Error> {
    row.get(column).map(|micros| DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::UNIX_EPOCH))
}
