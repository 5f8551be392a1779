//! The rows of usage, its daily sums and its conflicts.

use chrono::{DateTime, NaiveTime, Utc};
use headgate_database::{Arguments, Tx, args};
use headgate_types::TenantId;
use serde_json::Value;
use uuid::Uuid;

use super::{Dims, OffsetRange, RecordKind, UsageRecord};
use crate::error::MeteringError;

const TABLE: &str = "usage_records";

#[derive(sqlx::FromRow)]
struct Row {
    tenant_id: Uuid,
    source: String,
    id: String,
    meter: String,
    channel_id: Option<Uuid>,
    element_id: Option<Uuid>,
    lane: Option<String>,
    after_offset: Option<i64>,
    to_offset: Option<i64>,
    quantity: i64,
    event_time: DateTime<Utc>,
    stored_at: DateTime<Utc>,
    dims: String,
    kind: String,
    corrects_id: Option<String>,
}

impl TryFrom<Row> for UsageRecord {
    type Error = MeteringError;

    fn try_from(row: Row) -> Result<Self, MeteringError> {
        let range = match (row.lane, row.after_offset, row.to_offset) {
            (Some(lane), Some(after), Some(to)) => Some(OffsetRange {
                lane: lane.parse().map_err(|error| MeteringError::corrupt(TABLE, error))?,
                after: after.unsigned_abs(),
                to: to.unsigned_abs(),
            }),
            _ => None,
        };
        let kind = match row.kind.as_str() {
            "usage" => RecordKind::Usage,
            "correction" => RecordKind::Correction,
            other => return Err(MeteringError::corrupt(TABLE, format!("unknown kind {other:?}"))),
        };
        Ok(Self {
            tenant: row.tenant_id.into(),
            source: row.source,
            id: row.id,
            meter: row.meter.parse().map_err(|error| MeteringError::corrupt(TABLE, error))?,
            channel: row.channel_id.map(Into::into),
            element: row.element_id.map(Into::into),
            range,
            quantity: row.quantity,
            event_time: row.event_time,
            stored_at: row.stored_at,
            dims: read_dims(&row.dims)?,
            kind,
            corrects_id: row.corrects_id,
        })
    }
}

/// The one text of these dimensions: the struct's order of fields makes it canonical.
pub(super) fn write_dims(dims: &Dims) -> Result<String, MeteringError> {
    serde_json::to_string(dims).map_err(|error| MeteringError::corrupt(TABLE, error))
}

pub(super) fn read_dims(text: &str) -> Result<Dims, MeteringError> {
    serde_json::from_str(text).map_err(|error| MeteringError::corrupt(TABLE, error))
}

pub(super) async fn select(tx: &mut Tx, rest: String, arguments: Arguments) -> Result<Vec<UsageRecord>, MeteringError> {
    let sql = format!(
        "SELECT tenant_id, source, id, meter, channel_id, element_id, lane, after_offset, to_offset, quantity,
                event_time, stored_at, dims, kind, corrects_id
         FROM usage_records {rest}"
    );
    let rows: Vec<Row> = tx.fetch_all_built(sql, arguments).await?;
    rows.into_iter().map(UsageRecord::try_from).collect()
}

pub(super) async fn get(tx: &mut Tx, like: &UsageRecord) -> Result<Option<UsageRecord>, MeteringError> {
    let rest = "WHERE tenant_id = $1 AND source = $2 AND id = $3".to_owned();
    Ok(select(tx, rest, args![like.tenant, like.source.as_str(), like.id.as_str()]).await?.pop())
}

/// Whether the record was new.
pub(super) async fn insert(tx: &mut Tx, record: &UsageRecord) -> Result<bool, MeteringError> {
    let inserted = tx
        .execute(
            "INSERT INTO usage_records (tenant_id, source, id, meter, channel_id, element_id, lane, after_offset,
                                        to_offset, quantity, event_time, stored_at, dims, kind, corrects_id)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
             ON CONFLICT (tenant_id, source, id) DO NOTHING",
            args![
                record.tenant,
                record.source.as_str(),
                record.id.as_str(),
                record.meter.as_str(),
                record.channel,
                record.element,
                record.range.map(|range| range.lane.as_str()),
                record.range.map(|range| range.after),
                record.range.map(|range| range.to),
                record.quantity,
                record.event_time,
                record.stored_at,
                write_dims(&record.dims)?,
                record.kind.as_str(),
                record.corrects_id.as_deref()
            ],
        )
        .await?;
    Ok(inserted == 1)
}

pub(super) async fn add_to_rollup(tx: &mut Tx, record: &UsageRecord) -> Result<(), MeteringError> {
    tx.execute(
        "INSERT INTO usage_rollups (tenant_id, day, meter, channel_id, element_id, dims, quantity, records)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 1)
         ON CONFLICT (tenant_id, day, meter, channel_id, element_id, dims) DO UPDATE SET
            quantity = usage_rollups.quantity + excluded.quantity, records = usage_rollups.records + 1",
        args![
            record.tenant,
            day(record.event_time),
            record.meter.as_str(),
            record.channel.map_or_else(Uuid::nil, Into::into),
            record.element.map_or_else(Uuid::nil, Into::into),
            write_dims(&record.dims)?,
            record.quantity
        ],
    )
    .await?;
    Ok(())
}

/// Midnight (UTC) of the day that holds `at`.
pub(super) fn day(at: DateTime<Utc>) -> DateTime<Utc> {
    at.date_naive().and_time(NaiveTime::MIN).and_utc()
}

pub(super) async fn insert_conflict(
    tx: &mut Tx,
    record: &UsageRecord,
    booked: Value,
    offered: Value,
) -> Result<(), MeteringError> {
    tx.execute(
        "INSERT INTO usage_conflicts (tenant_id, id, source, usage_id, booked, offered, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        args![
            record.tenant,
            Uuid::now_v7(),
            record.source.as_str(),
            record.id.as_str(),
            booked,
            offered,
            record.stored_at
        ],
    )
    .await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
pub(super) struct SumRow {
    pub(super) tenant_id: Uuid,
    pub(super) day: DateTime<Utc>,
    pub(super) meter: String,
    pub(super) channel_id: Uuid,
    pub(super) element_id: Uuid,
    pub(super) quantity: i64,
    pub(super) records: i64,
}

#[derive(sqlx::FromRow)]
pub(super) struct TotalRow {
    pub(super) meter: String,
    pub(super) channel_id: Option<Uuid>,
    pub(super) element_id: Option<Uuid>,
    pub(super) dims: String,
    pub(super) quantity: i64,
}

/// Sums of a period, by everything a price may depend on: of the records that were stored before
/// `cutoff`, or of all.
pub(super) async fn totals(
    tx: &mut Tx,
    tenant: TenantId,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    cutoff: Option<DateTime<Utc>>,
) -> Result<Vec<TotalRow>, MeteringError> {
    let mut arguments = args![tenant, from, to];
    let mut before = "";
    if let Some(cutoff) = cutoff {
        arguments.push(cutoff.into());
        before = "AND stored_at < $4";
    }
    let sql = format!(
        "SELECT meter, channel_id, element_id, dims, CAST(SUM(quantity) AS BIGINT) AS quantity FROM usage_records
         WHERE tenant_id = $1 AND event_time >= $2 AND event_time < $3 {before}
         GROUP BY meter, channel_id, element_id, dims ORDER BY meter, channel_id, element_id, dims"
    );
    Ok(tx.fetch_all_built(sql, arguments).await?)
}
