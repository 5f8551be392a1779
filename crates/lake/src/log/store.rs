//! The log's SQLite file (DATA-PLANE rule 8): bodies under an append-only row id, one directory
//! row per commit group, small tables for what outlives truncation.

use std::path::Path;

use chrono::{DateTime, Utc};
use headgate_types::schema::{ElementKind, Schema};
use headgate_types::{ChannelId, ElementId, SchemaId};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use uuid::Uuid;

use super::directory::{self, Place};
use super::types::{Position, SideEntry};
use crate::error::{LakeError, Result};

// AUTOINCREMENT: the row id of a removed element must never mean another one in an old directory row.
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS topics (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    element BLOB NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    base INTEGER NOT NULL,
    floor INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS schemas (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    topic INTEGER NOT NULL,
    schema_id BLOB NOT NULL,
    schema TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS gaps (
    id INTEGER PRIMARY KEY,
    topic INTEGER NOT NULL,
    after INTEGER NOT NULL,
    first INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS positions (
    id INTEGER PRIMARY KEY,
    topic INTEGER NOT NULL,
    channel BLOB NOT NULL,
    feed BLOB NOT NULL,
    partition TEXT NOT NULL,
    value TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS commits (sequence INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS side (
    sequence INTEGER PRIMARY KEY,
    topic INTEGER NOT NULL,
    element BLOB NOT NULL,
    committed_at INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS groups (
    id INTEGER PRIMARY KEY,
    last_sequence INTEGER NOT NULL,
    committed_at INTEGER NOT NULL,
    places BLOB NOT NULL
) STRICT;
";

pub(super) struct TopicRow {
    pub(super) id: i64,
    pub(super) element: ElementId,
    pub(super) kind: ElementKind,
    pub(super) epoch: u32,
    pub(super) base: u64,
    pub(super) floor: u64,
}

pub(super) struct SchemaRow {
    pub(super) id: i64,
    pub(super) topic: i64,
    pub(super) schema_id: SchemaId,
    pub(super) schema: Schema,
}

pub(super) struct PositionRow {
    pub(super) id: i64,
    pub(super) topic: i64,
    pub(super) position: Position,
}

pub(super) struct GroupRow {
    pub(super) id: i64,
    pub(super) last_sequence: u64,
    pub(super) committed_at: DateTime<Utc>,
    pub(super) places: Vec<Place>,
}

pub(super) fn open(path: &Path) -> Result<Connection> {
    crate::sqlite::open_writer(path, SCHEMA)
}

pub(super) fn topics(connection: &Connection) -> Result<Vec<TopicRow>> {
    let mut statement = connection.prepare("SELECT id, element, kind, epoch, base, floor FROM topics ORDER BY id")?;
    let rows = statement.query_map([], |row| {
        Ok((row.get(0)?, row.get::<_, Uuid>(1)?, row.get::<_, String>(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
    })?;
    rows.map(|row| {
        let (id, element, kind, epoch, base, floor) = row?;
        let kind = kind.parse().map_err(LakeError::Damaged)?;
        Ok(TopicRow { id, element: element.into(), kind, epoch, base, floor })
    })
    .collect()
}

pub(super) fn schemas(connection: &Connection) -> Result<Vec<SchemaRow>> {
    let mut statement = connection.prepare("SELECT id, topic, schema_id, schema FROM schemas ORDER BY id")?;
    let rows = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, Uuid>(2)?, row.get::<_, String>(3)?)))?;
    rows.map(|row| {
        let (id, topic, schema_id, schema) = row?;
        Ok(SchemaRow { id, topic, schema_id: schema_id.into(), schema: serde_json::from_str(&schema)? })
    })
    .collect()
}

/// Offsets `after < o < first` of a topic never existed or were lost.
pub(super) fn gaps(connection: &Connection) -> Result<Vec<(i64, u64, u64)>> {
    let mut statement = connection.prepare("SELECT topic, after, first FROM gaps ORDER BY id")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn positions(connection: &Connection) -> Result<Vec<PositionRow>> {
    let mut statement =
        connection.prepare("SELECT id, topic, channel, feed, partition, value FROM positions ORDER BY id")?;
    let rows = statement.query_map([], |row| {
        let position = Position {
            channel: row.get::<_, Uuid>(2)?.into(),
            feed: row.get::<_, Uuid>(3)?.into(),
            partition: row.get(4)?,
            value: row.get(5)?,
        };
        Ok(PositionRow { id: row.get(0)?, topic: row.get(1)?, position })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn groups(connection: &Connection) -> Result<Vec<GroupRow>> {
    let mut statement = connection.prepare("SELECT id, last_sequence, committed_at, places FROM groups ORDER BY id")?;
    let rows = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?, row.get::<_, Vec<u8>>(3)?)))?;
    rows.map(|row| {
        let (id, last_sequence, committed_at, places) = row?;
        let places = directory::decode(&places)?;
        Ok(GroupRow { id, last_sequence, committed_at: micros(committed_at), places })
    })
    .collect()
}

pub(super) fn newest_side(connection: &Connection) -> Result<u64> {
    let newest: Option<u64> = connection.query_row("SELECT max(sequence) FROM side", [], |row| row.get(0))?;
    Ok(newest.unwrap_or(0))
}

pub(super) fn insert_topic(tx: &Transaction<'_>, element: ElementId, kind: ElementKind) -> rusqlite::Result<i64> {
    tx.execute(
        "INSERT INTO topics (element, kind, epoch, base, floor) VALUES (?1, ?2, 1, 0, 1)",
        params![element.uuid(), kind.as_str()],
    )?;
    Ok(tx.last_insert_rowid())
}

pub(super) fn insert_schema(
    tx: &Transaction<'_>,
    topic: i64,
    schema_id: SchemaId,
    schema: &str,
) -> rusqlite::Result<i64> {
    tx.execute(
        "INSERT INTO schemas (topic, schema_id, schema) VALUES (?1, ?2, ?3)",
        params![topic, schema_id.uuid(), schema],
    )?;
    Ok(tx.last_insert_rowid())
}

pub(super) fn insert_commit(tx: &Transaction<'_>, sequence: u64, body: &[u8]) -> rusqlite::Result<()> {
    tx.prepare_cached("INSERT INTO commits (sequence, body) VALUES (?1, ?2)")?.execute(params![sequence, body])?;
    Ok(())
}

pub(super) fn insert_side(
    tx: &Transaction<'_>,
    sequence: u64,
    topic: i64,
    element: ElementId,
    at: DateTime<Utc>,
    body: &[u8],
) -> rusqlite::Result<()> {
    tx.prepare_cached("INSERT INTO side (sequence, topic, element, committed_at, body) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![sequence, topic, element.uuid(), at.timestamp_micros(), body])?;
    Ok(())
}

pub(super) fn insert_group(
    tx: &Transaction<'_>,
    last_sequence: u64,
    at: DateTime<Utc>,
    places: &[Place],
) -> rusqlite::Result<i64> {
    tx.prepare_cached("INSERT INTO groups (last_sequence, committed_at, places) VALUES (?1, ?2, ?3)")?
        .execute(params![last_sequence, at.timestamp_micros(), directory::encode(places)])?;
    Ok(tx.last_insert_rowid())
}

pub(super) fn update_position(tx: &Transaction<'_>, id: i64, value: &str) -> rusqlite::Result<()> {
    tx.prepare_cached("UPDATE positions SET value = ?2 WHERE id = ?1")?.execute(params![id, value])?;
    Ok(())
}

pub(super) fn insert_position(tx: &Transaction<'_>, id: i64, topic: i64, position: &Position) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO positions (id, topic, channel, feed, partition, value) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        id,
        topic,
        position.channel.uuid(),
        position.feed.uuid(),
        position.partition,
        position.value
    ])?;
    Ok(())
}

pub(super) fn set_floor(tx: &Transaction<'_>, topic: i64, floor: u64) -> rusqlite::Result<()> {
    tx.execute("UPDATE topics SET floor = ?2 WHERE id = ?1", params![topic, floor])?;
    Ok(())
}

pub(super) fn raise(tx: &Transaction<'_>, topic: i64, epoch: u32, head: u64, seen: u64) -> rusqlite::Result<()> {
    tx.execute("UPDATE topics SET epoch = ?2, base = ?3 WHERE id = ?1", params![topic, epoch, seen])?;
    tx.execute("INSERT INTO gaps (topic, after, first) VALUES (?1, ?2, ?3)", params![topic, head, seen + 1])?;
    Ok(())
}

pub(super) fn delete_commit(tx: &Transaction<'_>, sequence: u64) -> rusqlite::Result<()> {
    tx.prepare_cached("DELETE FROM commits WHERE sequence = ?1")?.execute([sequence])?;
    Ok(())
}

pub(super) fn delete_group(tx: &Transaction<'_>, id: i64) -> rusqlite::Result<()> {
    tx.prepare_cached("DELETE FROM groups WHERE id = ?1")?.execute([id])?;
    Ok(())
}

pub(super) fn delete_side(tx: &Transaction<'_>, up_to: u64) -> rusqlite::Result<()> {
    tx.execute("DELETE FROM side WHERE sequence <= ?1", [up_to])?;
    Ok(())
}

pub(super) fn delete_positions(tx: &Transaction<'_>, channel: ChannelId) -> rusqlite::Result<()> {
    tx.execute("DELETE FROM positions WHERE channel = ?1", [channel.uuid()])?;
    Ok(())
}

/// Everything of a topic but its commits, which the caller deletes by sequence.
pub(super) fn delete_topic(tx: &Transaction<'_>, topic: i64) -> rusqlite::Result<()> {
    for statement in [
        "DELETE FROM topics WHERE id = ?1",
        "DELETE FROM schemas WHERE topic = ?1",
        "DELETE FROM gaps WHERE topic = ?1",
        "DELETE FROM positions WHERE topic = ?1",
    ] {
        tx.execute(statement, [topic])?;
    }
    Ok(())
}

pub(super) fn body(connection: &Connection, sequence: u64) -> Result<Option<Vec<u8>>> {
    let mut statement = connection.prepare_cached("SELECT body FROM commits WHERE sequence = ?1")?;
    Ok(statement.query_row([sequence], |row| row.get(0)).optional()?)
}

/// See [`super::Log::read_side`]. Items are unpacked one commit after the other: packed, they may be a thousandth.
pub(super) fn side(connection: &Connection, after: u64, limit: usize, max_bytes: usize) -> Result<Vec<SideEntry>> {
    let mut statement = connection.prepare_cached(
        "SELECT sequence, element, committed_at, body FROM side WHERE sequence > ?1 ORDER BY sequence LIMIT ?2",
    )?;
    let mut rows = statement.query(params![after, limit])?;
    let (mut entries, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let items = super::side::decode(&row.get::<_, Vec<u8>>(3)?)?;
        bytes += items.iter().map(Vec::len).sum::<usize>();
        if bytes > max_bytes && !entries.is_empty() {
            break;
        }
        let (element, committed_at) = (ElementId::from_uuid(row.get(1)?), micros(row.get(2)?));
        entries.push(SideEntry { sequence: row.get(0)?, element, committed_at, items });
    }
    Ok(entries)
}

fn micros(at: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(at).unwrap_or_default()
}
