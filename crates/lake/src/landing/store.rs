//! The landing zone's SQLite file: payloads by sequence, idempotency keys, the next sequence.

use std::path::Path;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use headgate_types::{ChannelId, FeedId, ReceiptId};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use uuid::Uuid;

use super::index::Entry;
use super::payload::{Payload, StoredBody};
use crate::error::{LakeError, Result};

// `body` comes last: a scan of the other columns then never reads a payload's overflow pages.
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS payloads (
    sequence INTEGER PRIMARY KEY,
    channel BLOB NOT NULL,
    feed BLOB NOT NULL,
    receipt BLOB NOT NULL,
    content_type TEXT NOT NULL,
    encoding TEXT,
    landed_at INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    body BLOB
) STRICT;
CREATE TABLE IF NOT EXISTS idempotency_keys (
    id INTEGER PRIMARY KEY,
    channel BLOB NOT NULL,
    feed BLOB NOT NULL,
    key TEXT NOT NULL,
    digest BLOB NOT NULL,
    receipt BLOB NOT NULL,
    sequence INTEGER NOT NULL,
    landed_at INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    UNIQUE (channel, feed, key)
) STRICT;
CREATE TABLE IF NOT EXISTS checkpoints (
    channel BLOB NOT NULL,
    part TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (channel, part)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counter (id INTEGER PRIMARY KEY CHECK (id = 1), next INTEGER NOT NULL) STRICT;
INSERT OR IGNORE INTO counter (id, next) VALUES (1, 1);
";

/// A payload on its way into the table.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) channel: ChannelId,
    pub(super) feed: FeedId,
    pub(super) receipt: ReceiptId,
    pub(super) key: Option<(String, [u8; 32])>,
    pub(super) content_type: String,
    pub(super) encoding: Option<String>,
    pub(super) bytes: u64,
    /// Absent: the bytes are in the payload's file.
    pub(super) body: Option<Bytes>,
}

/// An earlier payload under the same idempotency key.
#[derive(Debug)]
pub(super) struct Earlier {
    pub(super) digest: Vec<u8>,
    pub(super) receipt: ReceiptId,
    pub(super) sequence: u64,
    pub(super) landed_at: DateTime<Utc>,
    pub(super) bytes: u64,
}

pub(super) fn open(path: &Path) -> Result<Connection> {
    crate::sqlite::open_writer(path, SCHEMA)
}

pub(super) fn next_sequence(connection: &Connection) -> Result<u64> {
    Ok(connection.query_row("SELECT next FROM counter WHERE id = 1", [], |row| row.get(0))?)
}

pub(super) fn set_next_sequence(tx: &Transaction<'_>, next: u64) -> rusqlite::Result<()> {
    tx.prepare_cached("UPDATE counter SET next = ?1 WHERE id = 1")?.execute([next])?;
    Ok(())
}

/// Every payload's place, without its body.
pub(super) fn entries(connection: &Connection) -> Result<Vec<(ChannelId, FeedId, u64, Entry)>> {
    let mut statement = connection
        .prepare("SELECT sequence, channel, feed, receipt, bytes, body IS NULL FROM payloads ORDER BY sequence")?;
    let rows = statement.query_map([], |row| {
        let entry = Entry { receipt: ReceiptId::from_uuid(row.get(3)?), bytes: row.get(4)?, is_file: row.get(5)? };
        Ok((ChannelId::from_uuid(row.get(1)?), FeedId::from_uuid(row.get(2)?), row.get(0)?, entry))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn insert(tx: &Transaction<'_>, sequence: u64, row: &Row, at: DateTime<Utc>) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO payloads (sequence, channel, feed, receipt, content_type, encoding, landed_at, bytes, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        sequence,
        row.channel.uuid(),
        row.feed.uuid(),
        row.receipt.uuid(),
        row.content_type,
        row.encoding,
        at.timestamp_micros(),
        row.bytes,
        row.body.as_deref(),
    ])?;
    if let Some((key, digest)) = &row.key {
        tx.prepare_cached(
            "INSERT INTO idempotency_keys (channel, feed, key, digest, receipt, sequence, landed_at, bytes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            row.channel.uuid(),
            row.feed.uuid(),
            key,
            digest.as_slice(),
            row.receipt.uuid(),
            sequence,
            at.timestamp_micros(),
            row.bytes,
        ])?;
    }
    Ok(())
}

pub(super) fn earlier(
    tx: &Transaction<'_>,
    channel: ChannelId,
    feed: FeedId,
    key: &str,
) -> rusqlite::Result<Option<Earlier>> {
    tx.prepare_cached(
        "SELECT digest, receipt, sequence, landed_at, bytes FROM idempotency_keys
         WHERE channel = ?1 AND feed = ?2 AND key = ?3",
    )?
    .query_row(params![channel.uuid(), feed.uuid(), key], |row| {
        Ok(Earlier {
            digest: row.get(0)?,
            receipt: ReceiptId::from_uuid(row.get(1)?),
            sequence: row.get(2)?,
            landed_at: micros(row.get(3)?),
            bytes: row.get(4)?,
        })
    })
    .optional()
}

/// Forgets keys of payloads landed before `before`, some at a time, oldest first.
pub(super) fn prune_keys(tx: &Transaction<'_>, before: DateTime<Utc>) -> rusqlite::Result<()> {
    let mut statement = tx.prepare_cached("SELECT id, landed_at FROM idempotency_keys ORDER BY id LIMIT 512")?;
    let oldest = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<(i64, i64)>>>()?;
    let expired = oldest.iter().take_while(|(_, at)| *at < before.timestamp_micros()).last();
    if let Some((id, _)) = expired {
        tx.prepare_cached("DELETE FROM idempotency_keys WHERE id <= ?1")?.execute([id])?;
    }
    Ok(())
}

pub(super) fn delete(tx: &Transaction<'_>, sequence: u64) -> rusqlite::Result<()> {
    tx.prepare_cached("DELETE FROM payloads WHERE sequence = ?1")?.execute([sequence])?;
    Ok(())
}

pub(super) fn delete_keys(tx: &Transaction<'_>, channel: ChannelId) -> rusqlite::Result<()> {
    tx.execute("DELETE FROM idempotency_keys WHERE channel = ?1", [channel.uuid()])?;
    Ok(())
}

/// How far a partition of a source has been landed.
pub(super) fn checkpoint(tx: &Transaction<'_>, channel: ChannelId, part: &str) -> rusqlite::Result<Option<String>> {
    tx.prepare_cached("SELECT value FROM checkpoints WHERE channel = ?1 AND part = ?2")?
        .query_row(params![channel.uuid(), part], |row| row.get(0))
        .optional()
}

pub(super) fn set_checkpoint(
    tx: &Transaction<'_>,
    channel: ChannelId,
    part: &str,
    value: &str,
) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO checkpoints (channel, part, value) VALUES (?1, ?2, ?3)
         ON CONFLICT (channel, part) DO UPDATE SET value = excluded.value",
    )?
    .execute(params![channel.uuid(), part, value])?;
    Ok(())
}

pub(super) fn delete_checkpoints(tx: &Transaction<'_>, channel: ChannelId) -> rusqlite::Result<()> {
    tx.execute("DELETE FROM checkpoints WHERE channel = ?1", [channel.uuid()])?;
    Ok(())
}

/// How far every partition of a channel's source has been landed.
pub(super) fn checkpoints(connection: &Connection, channel: ChannelId) -> Result<Vec<(String, String)>> {
    let mut statement = connection.prepare_cached("SELECT part, value FROM checkpoints WHERE channel = ?1")?;
    let rows = statement.query_map([channel.uuid()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// A payload; `file` says where its bytes are when they are not in the row.
pub(super) fn read(
    connection: &Connection,
    sequence: u64,
    file: impl FnOnce(ChannelId, ReceiptId) -> std::path::PathBuf,
) -> Result<Option<Payload>> {
    let mut statement = connection.prepare_cached(
        "SELECT channel, feed, receipt, content_type, encoding, landed_at, bytes, body FROM payloads WHERE sequence = ?1",
    )?;
    let found = statement
        .query_row([sequence], |row| {
            let channel = ChannelId::from_uuid(row.get::<_, Uuid>(0)?);
            let receipt = ReceiptId::from_uuid(row.get::<_, Uuid>(2)?);
            let body = match row.get::<_, Option<Vec<u8>>>(7)? {
                Some(bytes) => StoredBody::Inline(bytes.into()),
                None => StoredBody::File(file(channel, receipt)),
            };
            Ok(Payload {
                receipt,
                sequence,
                channel,
                feed: FeedId::from_uuid(row.get::<_, Uuid>(1)?),
                content_type: row.get(3)?,
                encoding: row.get(4)?,
                landed_at: micros(row.get(5)?),
                bytes: row.get(6)?,
                body,
            })
        })
        .optional()
        .map_err(LakeError::from)?;
    Ok(found)
}

fn micros(at: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(at).unwrap_or_default()
}
