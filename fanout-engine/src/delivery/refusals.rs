//! The `refused_deliveries` table: dead letters of data-out channels.

use chrono::{DateTime, Utc};
use headgate_database::{DbError, FromRow, Tx, args};
use headgate_types::engine::{DeadLetter, DeadLetterSide, ListDeadLetters};
use headgate_types::page::Page;
use headgate_types::{ChannelId, DeadLetterId, TenantId};
use uuid::Uuid;

use super::accounts::Refusal;
use super::store::FlowRow;
use crate::dead_letters::{self, Statements};

/// The stable code of every refusal by a receiver.
const CODE: &str = "refused_by_receiver";

#[derive(Debug, FromRow)]
struct Row {
    id: Uuid,
    channel_id: Uuid,
    element_id: Uuid,
    reason: String,
    model_version: i64,
    raw: String,
    created_at: DateTime<Utc>,
}

impl From<Row> for DeadLetter {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            channel: row.channel_id.into(),
            feed: None,
            element: row.element_id.into(),
            side: DeadLetterSide::Out,
            code: CODE.to_owned(),
            reason: row.reason,
            field_path: None,
            model_version: u32::try_from(row.model_version).unwrap_or(0),
            receipt: None,
            ordinal: None,
            raw: row.raw,
            created_at: row.created_at,
        }
    }
}

/// Keeps a refused record, once per place in its flow.
pub async fn put(tx: &mut Tx, row: &FlowRow, refusal: &Refusal) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO refused_deliveries (tenant_id, id, channel_id, element_id, lane, record_offset, reason,
                                         model_version, raw, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (tenant_id, channel_id, element_id, lane, record_offset) DO NOTHING",
        args![
            row.tenant,
            DeadLetterId::new(),
            row.channel,
            row.key.element,
            row.key.lane.as_str(),
            refusal.offset,
            refusal.reason.as_str(),
            refusal.model_version,
            refusal.raw.as_str(),
            refusal.at
        ],
    )
    .await?;
    Ok(())
}

/// Refused records of a channel, the newest first.
pub async fn list(tx: &mut Tx, wanted: &ListDeadLetters) -> Result<Page<DeadLetter>, DbError> {
    dead_letters::list::<Row>(
        tx,
        wanted,
        Statements {
            sizes: "SELECT id, CAST(octet_length(raw) AS BIGINT) FROM refused_deliveries
                     WHERE tenant_id = $1 AND channel_id = $2 AND id < $3 ORDER BY id DESC LIMIT $4",
            rows: "SELECT id, channel_id, element_id, reason, model_version, raw, created_at FROM refused_deliveries
                    WHERE tenant_id = $1 AND channel_id = $2 AND id < $3 AND id >= $4 ORDER BY id DESC",
        },
    )
    .await
}

/// One refused record of a tenant.
pub async fn get(tx: &mut Tx, tenant: TenantId, id: DeadLetterId) -> Result<Option<DeadLetter>, DbError> {
    let row: Option<Row> = tx
        .fetch_optional(
            "SELECT id, channel_id, element_id, reason, model_version, raw, created_at FROM refused_deliveries
              WHERE tenant_id = $1 AND id = $2",
            args![tenant, id],
        )
        .await?;
    Ok(row.map(DeadLetter::from))
}

/// Removes every refused record of a tenant that is gone.
pub async fn erase(tx: &mut Tx, tenant: TenantId) -> Result<(), DbError> {
    tx.execute("DELETE FROM refused_deliveries WHERE tenant_id = $1", args![tenant]).await?;
    Ok(())
}

/// How many refused records a channel has.
pub async fn count(tx: &mut Tx, channel: ChannelId) -> Result<u64, DbError> {
    let (count,): (i64,) =
        tx.fetch_one("SELECT count(*) FROM refused_deliveries WHERE channel_id = $1", args![channel]).await?;
    Ok(u64::try_from(count).unwrap_or(0))
}
