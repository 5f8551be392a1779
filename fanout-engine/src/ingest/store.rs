//! The tables `ingest_cursor`, `receipts` and `dead_letters`. All of them derive from the side
//! streams of the element logs, and move together with the cursor over those.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use headgate_database::{Arguments, DbError, FromRow, Tx, args, in_shapes};
use headgate_types::engine::{DeadLetter, DeadLetterSide, ListDeadLetters};
use headgate_types::page::Page;
use headgate_types::{ChannelId, DeadLetterId, ElementId, ReceiptId, TenantId};
use serde::Serialize;
use uuid::Uuid;

use super::side::{PayloadPart, Refusal};
use crate::dead_letters::{self, Statements};

/// The beginning of a statement over what [`columns`] gives.
const INSERT_RECEIPTS: &str =
    "INSERT INTO receipts (tenant_id, id, channel_id, element_id, feed, sequence, model_version,
    bytes, records, unchanged, refused, first_offset, last_offset, landed_at, conformed_at, through) VALUES";

/// What became of a payload.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Receipt {
    /// Its id.
    pub id: ReceiptId,
    /// The feed.
    pub feed: String,
    /// `landed`: durable, not looked at yet; `conformed`: every record is decided.
    pub state: &'static str,
    /// Records that entered the log.
    pub records: u64,
    /// Records that changed nothing.
    pub unchanged: u64,
    /// Records that became dead letters.
    pub refused: u64,
    /// When it was landed.
    pub landed_at: DateTime<Utc>,
    /// When its last record was decided.
    pub conformed_at: Option<DateTime<Utc>>,
}

#[derive(Debug, FromRow)]
struct ReceiptRow {
    id: Uuid,
    feed: String,
    records: i64,
    unchanged: i64,
    refused: i64,
    landed_at: DateTime<Utc>,
    conformed_at: Option<DateTime<Utc>>,
}

impl From<ReceiptRow> for Receipt {
    fn from(row: ReceiptRow) -> Self {
        Self {
            id: row.id.into(),
            feed: row.feed,
            state: if row.conformed_at.is_some() { "conformed" } else { "landed" },
            records: row.records.unsigned_abs(),
            unchanged: row.unchanged.unsigned_abs(),
            refused: row.refused.unsigned_abs(),
            landed_at: row.landed_at,
            conformed_at: row.conformed_at,
        }
    }
}

/// How far the side streams are derived.
pub async fn cursor(tx: &mut Tx) -> Result<u64, DbError> {
    let row: Option<(i64,)> = tx.fetch_optional("SELECT sequence FROM ingest_cursor WHERE one = 1", args![]).await?;
    Ok(row.map_or(0, |(sequence,)| sequence.unsigned_abs()))
}

/// Moves the cursor; `false` when another process moved it first.
pub async fn move_cursor(tx: &mut Tx, from: u64, to: u64) -> Result<bool, DbError> {
    let sql = if from == 0 {
        "INSERT INTO ingest_cursor (one, sequence) VALUES (1, $2)
         ON CONFLICT (one) DO UPDATE SET sequence = excluded.sequence WHERE ingest_cursor.sequence = $1"
    } else {
        "UPDATE ingest_cursor SET sequence = $2 WHERE one = 1 AND sequence = $1"
    };
    Ok(tx.execute(sql, args![from, to]).await? == 1)
}

/// What a commit left of one kind, and where.
#[derive(Debug)]
pub struct Left<T> {
    /// What is left.
    pub of: T,
    /// The element that was written.
    pub element: ElementId,
    /// When it was committed.
    pub at: DateTime<Utc>,
}

/// Adds what commits did with payloads of the tenant the transaction acts for to their receipts. Says for each whether
/// it is counted; `false` as [`add_part`] says.
pub async fn add_parts(tx: &mut Tx, parts: &[Left<PayloadPart>]) -> Result<Vec<bool>, DbError> {
    // Most payloads are decided by one commit, and nobody has heard of them before.
    let first: Vec<_> = parts.iter().filter(|part| part.of.after == 0).collect();
    let mut new = HashSet::new();
    for these in in_shapes(&first) {
        new.extend(insert_receipts(tx, these).await?);
    }
    let mut counted = Vec::with_capacity(parts.len());
    for part in parts {
        // One that comes twice was inserted by the first.
        let inserted = part.of.after == 0 && new.remove(&part.of.origin.receipt);
        counted.push(inserted || add_part(tx, part).await?);
    }
    Ok(counted)
}

/// Inserts those receipts that are not there, and tells which.
async fn insert_receipts(tx: &mut Tx, parts: &[&Left<PayloadPart>]) -> Result<Vec<ReceiptId>, DbError> {
    let arguments: Arguments = parts.iter().flat_map(|part| columns(part)).collect();
    let rows = tx.values(arguments.len(), parts.len());
    let sql = format!("{INSERT_RECEIPTS} {rows} ON CONFLICT (tenant_id, id) DO NOTHING RETURNING id");
    let inserted: Vec<(Uuid,)> = tx.fetch_all_built(sql, arguments).await?;
    Ok(inserted.into_iter().map(|(id,)| id.into()).collect())
}

fn columns(Left { of: part, element, at }: &Left<PayloadPart>) -> Arguments {
    args![
        part.origin.tenant,
        part.origin.receipt,
        part.origin.channel,
        *element,
        part.origin.feed_name.as_str(),
        part.sequence,
        part.origin.model_version,
        part.bytes,
        part.records,
        part.unchanged,
        part.refused,
        part.offsets.map(|(first, _)| first),
        part.offsets.map(|(_, last)| last),
        part.landed_at,
        part.done.then_some(*at),
        part.through
    ]
}

/// Adds what a commit did with a payload to its receipt. `false`: some of its records were decided
/// before, by a commit that the log has lost since (a restored copy); nothing of it is counted again.
async fn add_part(tx: &mut Tx, part: &Left<PayloadPart>) -> Result<bool, DbError> {
    let mut arguments = columns(part);
    arguments.extend(args![part.of.after]);
    let sql = format!(
        "{INSERT_RECEIPTS} ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
         ON CONFLICT (tenant_id, id) DO UPDATE SET
             through = excluded.through,
             bytes = receipts.bytes + excluded.bytes,
             records = receipts.records + excluded.records,
             unchanged = receipts.unchanged + excluded.unchanged,
             refused = receipts.refused + excluded.refused,
             first_offset = coalesce(receipts.first_offset, excluded.first_offset),
             last_offset = coalesce(excluded.last_offset, receipts.last_offset),
             conformed_at = excluded.conformed_at
         WHERE receipts.through <= $17"
    );
    if tx.execute_built(sql, arguments).await? == 1 {
        return Ok(true);
    }
    let Left { of: part, at, .. } = part;
    tx.execute(
        "UPDATE receipts SET through = CASE WHEN through > $4 THEN through ELSE $4 END,
                             conformed_at = coalesce(conformed_at, $3)
          WHERE tenant_id = $1 AND id = $2",
        args![part.origin.tenant, part.origin.receipt, part.done.then_some(*at), part.through],
    )
    .await?;
    Ok(false)
}

/// Keeps refused records of the tenant the transaction acts for, each once.
pub async fn add_dead_letters(tx: &mut Tx, refusals: &[Left<Refusal>]) -> Result<(), DbError> {
    for these in in_shapes(refusals) {
        let mut arguments = Arguments::new();
        for Left { of: refusal, element, at } in these {
            arguments.extend(args![
                refusal.origin.tenant,
                refusal.id(),
                refusal.origin.channel,
                *element,
                refusal.origin.feed_name.as_str(),
                refusal.origin.receipt,
                refusal.ordinal,
                refusal.code.as_str(),
                refusal.reason.as_str(),
                refusal.field_path.clone(),
                refusal.origin.model_version,
                refusal.raw.as_str(),
                *at
            ]);
        }
        let rows = tx.values(arguments.len(), these.len());
        let sql = format!(
            "INSERT INTO dead_letters (tenant_id, id, channel_id, element_id, feed, receipt_id, ordinal, code, reason,
                                       field_path, model_version, raw, created_at)
             VALUES {rows} ON CONFLICT (tenant_id, id) DO NOTHING"
        );
        tx.execute_built(sql, arguments).await?;
    }
    Ok(())
}

/// The receipt of a payload of a channel, once anything of it is decided.
pub async fn receipt(
    tx: &mut Tx,
    tenant: TenantId,
    channel: ChannelId,
    id: ReceiptId,
) -> Result<Option<Receipt>, DbError> {
    let row: Option<ReceiptRow> = tx
        .fetch_optional(
            "SELECT id, feed, records, unchanged, refused, landed_at, conformed_at FROM receipts
              WHERE tenant_id = $1 AND id = $2 AND channel_id = $3",
            args![tenant, id, channel],
        )
        .await?;
    Ok(row.map(Receipt::from))
}

#[derive(Debug, FromRow)]
struct DeadLetterRow {
    id: Uuid,
    channel_id: Uuid,
    element_id: Uuid,
    feed: String,
    receipt_id: Uuid,
    ordinal: i64,
    code: String,
    reason: String,
    field_path: Option<String>,
    model_version: i64,
    raw: String,
    created_at: DateTime<Utc>,
}

impl From<DeadLetterRow> for DeadLetter {
    fn from(row: DeadLetterRow) -> Self {
        Self {
            id: row.id.into(),
            channel: row.channel_id.into(),
            feed: Some(row.feed),
            element: row.element_id.into(),
            side: DeadLetterSide::In,
            code: row.code,
            reason: row.reason,
            field_path: row.field_path,
            model_version: u32::try_from(row.model_version).unwrap_or(0),
            receipt: Some(row.receipt_id.into()),
            ordinal: Some(row.ordinal.unsigned_abs()),
            raw: row.raw,
            created_at: row.created_at,
        }
    }
}

/// Dead letters of a channel, the newest first.
pub async fn list_dead_letters(tx: &mut Tx, wanted: &ListDeadLetters) -> Result<Page<DeadLetter>, DbError> {
    dead_letters::list::<DeadLetterRow>(
        tx,
        wanted,
        Statements {
            sizes: "SELECT id, CAST(octet_length(raw) AS BIGINT) FROM dead_letters
                     WHERE tenant_id = $1 AND channel_id = $2 AND id < $3 ORDER BY id DESC LIMIT $4",
            rows: "SELECT id, channel_id, element_id, feed, receipt_id, ordinal, code, reason, field_path,
                          model_version, raw, created_at
                     FROM dead_letters
                    WHERE tenant_id = $1 AND channel_id = $2 AND id < $3 AND id >= $4 ORDER BY id DESC",
        },
    )
    .await
}

/// One dead letter of a tenant.
pub async fn dead_letter(tx: &mut Tx, tenant: TenantId, id: DeadLetterId) -> Result<Option<DeadLetter>, DbError> {
    let row: Option<DeadLetterRow> = tx
        .fetch_optional(
            "SELECT id, channel_id, element_id, feed, receipt_id, ordinal, code, reason, field_path, model_version, raw,
                    created_at
               FROM dead_letters WHERE tenant_id = $1 AND id = $2",
            args![tenant, id],
        )
        .await?;
    Ok(row.map(DeadLetter::from))
}

/// Sums over a data-in channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct Sums {
    /// Records that entered the log.
    pub records: i64,
    /// Unpacked bytes of its payloads.
    pub bytes: i64,
    /// Dead letters.
    pub refused: i64,
}

/// What a data-in channel has brought in, per element.
pub async fn sums(tx: &mut Tx, channel: ChannelId) -> Result<Vec<(ElementId, Sums)>, DbError> {
    #[derive(FromRow)]
    struct Row {
        element_id: Uuid,
        #[sqlx(flatten)]
        sums: Sums,
    }
    let rows: Vec<Row> = tx
        .fetch_all(
            "SELECT element_id, CAST(sum(records) AS BIGINT) AS records, CAST(sum(bytes) AS BIGINT) AS bytes,
                    CAST(sum(refused) AS BIGINT) AS refused
               FROM receipts WHERE channel_id = $1 GROUP BY element_id",
            args![channel],
        )
        .await?;
    Ok(rows.into_iter().map(|row| (row.element_id.into(), row.sums)).collect())
}

/// Removes every receipt and dead letter of a tenant that is gone.
pub async fn erase_rows(tx: &mut Tx, tenant: TenantId) -> Result<(), DbError> {
    tx.execute("DELETE FROM dead_letters WHERE tenant_id = $1", args![tenant]).await?;
    tx.execute("DELETE FROM receipts WHERE tenant_id = $1", args![tenant]).await?;
    Ok(())
}
