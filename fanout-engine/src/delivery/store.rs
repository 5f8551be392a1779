//! The `flows` and `quota_spent` tables.

use chrono::{DateTime, Utc};
use headgate_database::{DbError, FromRow, Tx, args, in_shapes};
use headgate_metering::Booked;
use headgate_types::channel::Lane;
use headgate_types::checksum::Checksum;
use headgate_types::{ChannelId, ElementId, TenantId};
use uuid::Uuid;

use super::quota::Spent;
use crate::technology::FlowKey;

/// A flow's cursor and books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowRow {
    /// Whose channel it is.
    pub tenant: TenantId,
    /// The channel.
    pub channel: ChannelId,
    /// Element and lane.
    pub key: FlowKey,
    /// The flow carries what is behind this offset.
    pub starts_after: u64,
    /// The last offset it carries; a live flow has none.
    pub ends_at: Option<u64>,
    /// Everything through here is in the channel's resource and in the books.
    pub booked: u64,
    /// Totals through `booked`.
    pub totals: Totals,
    /// Records passed over because of the quota.
    pub over_quota: u64,
    /// Records the receiver refused.
    pub refused: u64,
    /// What is not cut into usage records yet.
    pub open: OpenRange,
    /// When the last delivery succeeded.
    pub last_delivery_at: Option<DateTime<Utc>>,
    /// When a flow with an end reached it.
    pub finished_at: Option<DateTime<Utc>>,
}

impl FlowRow {
    /// What usage has to add up to: the books up to the last cut.
    #[must_use]
    pub fn cut(&self) -> Booked {
        Booked {
            tenant: self.tenant,
            channel: self.channel,
            element: self.key.element,
            lane: self.key.lane,
            start: self.starts_after,
            cut_to: self.open.after,
            records: self.totals.records - self.open.records,
            bytes: self.totals.bytes - self.open.bytes,
        }
    }
}

/// Records, their canonical bytes and their checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Records.
    pub records: u64,
    /// Canonical bytes.
    pub bytes: u64,
    /// Order-free checksum.
    pub checksum: Checksum,
}

impl Totals {
    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            records: self.records + other.records,
            bytes: self.bytes + other.bytes,
            checksum: self.checksum.plus(other.checksum),
        }
    }
}

/// The part of the books not yet cut into a usage record: `(after, booked]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenRange {
    /// Start of the span it belongs to.
    pub since: DateTime<Utc>,
    /// Its range starts behind this offset.
    pub after: u64,
    /// Records in it.
    pub records: u64,
    /// Their canonical bytes.
    pub bytes: u64,
}

#[derive(Debug, FromRow)]
struct Row {
    tenant_id: Uuid,
    channel_id: Uuid,
    element_id: Uuid,
    lane: String,
    starts_after: i64,
    ends_at: Option<i64>,
    booked: i64,
    records: i64,
    bytes: i64,
    checksum: String,
    over_quota: i64,
    refused: i64,
    open_since: DateTime<Utc>,
    open_after: i64,
    open_records: i64,
    open_bytes: i64,
    last_delivery_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
}

const COLUMNS: &str = "tenant_id, channel_id, element_id, lane, starts_after, ends_at, booked, records, bytes, checksum, \
                       over_quota, refused, open_since, open_after, open_records, open_bytes, last_delivery_at, \
                       finished_at";

impl TryFrom<Row> for FlowRow {
    type Error = DbError;

    fn try_from(row: Row) -> Result<Self, DbError> {
        let decode = |what: String| DbError::Other(sqlx::Error::Decode(what.into()));
        let lane: Lane = row.lane.parse().map_err(decode)?;
        let checksum = row.checksum.parse().map_err(|error| decode(format!("checksum of a flow: {error}")))?;
        Ok(Self {
            tenant: row.tenant_id.into(),
            channel: row.channel_id.into(),
            key: FlowKey { element: row.element_id.into(), lane },
            starts_after: unsigned(row.starts_after),
            ends_at: row.ends_at.map(unsigned),
            booked: unsigned(row.booked),
            totals: Totals { records: unsigned(row.records), bytes: unsigned(row.bytes), checksum },
            over_quota: unsigned(row.over_quota),
            refused: unsigned(row.refused),
            open: OpenRange {
                since: row.open_since,
                after: unsigned(row.open_after),
                records: unsigned(row.open_records),
                bytes: unsigned(row.open_bytes),
            },
            last_delivery_at: row.last_delivery_at,
            finished_at: row.finished_at,
        })
    }
}

/// Offsets and counts are written from unsigned numbers.
fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// Makes a flow if it is not there yet: the first serving pins where it starts and ends.
pub async fn ensure(
    tx: &mut Tx,
    tenant: TenantId,
    channel: ChannelId,
    key: FlowKey,
    starts_after: u64,
    ends_at: Option<u64>,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO flows (tenant_id, channel_id, element_id, lane, starts_after, ends_at, booked, records, bytes,
                            checksum, over_quota, refused, open_since, open_after, open_records, open_bytes,
                            finished_at, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $5, 0, 0, $7, 0, 0, $8, $5, 0, 0, $9, $8)
         ON CONFLICT (tenant_id, channel_id, element_id, lane) DO NOTHING",
        args![
            tenant,
            channel,
            key.element,
            key.lane.as_str(),
            starts_after,
            ends_at,
            Checksum::EMPTY.to_string(),
            now,
            // An empty history is complete from the beginning.
            ends_at.filter(|end| *end <= starts_after).map(|_| now)
        ],
    )
    .await?;
    Ok(())
}

/// The flows of a channel.
pub async fn of_channel(tx: &mut Tx, channel: ChannelId) -> Result<Vec<FlowRow>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM flows WHERE channel_id = $1 ORDER BY element_id, lane");
    rows(tx.fetch_all_built(sql, args![channel]).await?)
}

/// Bytes that were delivered to a tenant's channels since `from` and are not cut into usage records.
pub async fn open_bytes(tx: &mut Tx, tenant: TenantId, from: DateTime<Utc>) -> Result<u64, DbError> {
    let sql = "SELECT CAST(COALESCE(SUM(open_bytes), 0) AS BIGINT) FROM flows
               WHERE tenant_id = $1 AND open_since >= $2";
    let (bytes,): (i64,) = tx.fetch_one(sql, args![tenant, from]).await?;
    Ok(unsigned(bytes))
}

/// The flows of every channel, in key order: what reconciliation compares usage with.
pub async fn all(tx: &mut Tx) -> Result<Vec<FlowRow>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM flows ORDER BY tenant_id, channel_id, element_id, lane");
    rows(tx.fetch_all_built(sql, args![]).await?)
}

/// One flow.
pub async fn get(tx: &mut Tx, tenant: TenantId, channel: ChannelId, key: FlowKey) -> Result<Option<FlowRow>, DbError> {
    let row: Option<Row> = tx
        .fetch_all_built(
            format!(
                "SELECT {COLUMNS} FROM flows WHERE tenant_id = $1 AND channel_id = $2 AND element_id = $3 AND lane = $4"
            ),
            args![tenant, channel, key.element, key.lane.as_str()],
        )
        .await?
        .pop();
    row.map(FlowRow::try_from).transpose()
}

fn rows(rows: Vec<Row>) -> Result<Vec<FlowRow>, DbError> {
    rows.into_iter().map(FlowRow::try_from).collect()
}

/// The greatest offset any flow has seen, per element.
pub async fn seen(tx: &mut Tx) -> Result<Vec<(ElementId, u64)>, DbError> {
    let rows: Vec<(Uuid, i64)> = tx
        .fetch_all(
            "SELECT element_id, max(CASE WHEN starts_after > booked THEN starts_after ELSE booked END)
               FROM flows GROUP BY element_id",
            args![],
        )
        .await?;
    Ok(rows.into_iter().map(|(element, seen)| (element.into(), unsigned(seen))).collect())
}

/// Moves flows of the tenant the transaction acts for from `before` to `after`, by compare-and-set on
/// `booked` and the open range. Says for each whether it moved; `false`: somebody else moved it, and
/// nothing was written of it.
pub async fn move_books(tx: &mut Tx, moves: &[(&FlowRow, &FlowRow)]) -> Result<Vec<bool>, DbError> {
    let mut moved = Vec::with_capacity(moves.len());
    for these in in_shapes(moves) {
        moved.extend(move_some(tx, these).await?);
    }
    Ok(moved)
}

async fn move_some(tx: &mut Tx, moves: &[(&FlowRow, &FlowRow)]) -> Result<Vec<bool>, DbError> {
    let mut arguments = Vec::new();
    for (before, after) in moves {
        arguments.extend(args![
            after.booked,
            after.totals.records,
            after.totals.bytes,
            after.totals.checksum.to_string(),
            after.over_quota,
            after.refused,
            after.open.since,
            after.open.after,
            after.open.records,
            after.open.bytes,
            after.last_delivery_at,
            after.finished_at,
            before.tenant,
            before.channel,
            before.key.element,
            before.key.lane.as_str(),
            before.booked,
            before.open.after
        ]);
    }
    let rows = tx.values(arguments.len(), moves.len());
    // Both databases call the columns of VALUES column1, column2, ...
    let sql = format!(
        "UPDATE flows SET booked = column1, records = column2, bytes = column3, checksum = column4,
                over_quota = column5, refused = column6, open_since = column7, open_after = column8,
                open_records = column9, open_bytes = column10, last_delivery_at = column11, finished_at = column12
           FROM (VALUES {rows}) AS moves
          WHERE tenant_id = column13 AND channel_id = column14 AND element_id = column15 AND lane = column16
            AND booked = column17 AND open_after = column18
         RETURNING channel_id, element_id, lane"
    );
    let moved: Vec<(Uuid, Uuid, String)> = tx.fetch_all_built(sql, arguments).await?;
    let key = |row: &FlowRow| (row.channel.uuid(), row.key.element.uuid(), row.key.lane.as_str().to_owned());
    Ok(moves.iter().map(|(before, _)| moved.contains(&key(before))).collect())
}

/// What a channel has used of its quota.
pub async fn spent(tx: &mut Tx, tenant: TenantId, channel: ChannelId) -> Result<Option<Spent>, DbError> {
    let row: Option<(DateTime<Utc>, i64, i64)> = tx
        .fetch_optional(
            "SELECT period_start, records, bytes FROM quota_spent WHERE tenant_id = $1 AND channel_id = $2",
            args![tenant, channel],
        )
        .await?;
    Ok(row.map(|(period, records, bytes)| Spent { period, records: unsigned(records), bytes: unsigned(bytes) }))
}

/// Keeps what a channel has used of its quota.
pub async fn put_spent(tx: &mut Tx, tenant: TenantId, channel: ChannelId, spent: Spent) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO quota_spent (tenant_id, channel_id, period_start, records, bytes) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (tenant_id, channel_id)
         DO UPDATE SET period_start = excluded.period_start, records = excluded.records, bytes = excluded.bytes",
        args![tenant, channel, spent.period, spent.records, spent.bytes],
    )
    .await?;
    Ok(())
}
