//! The rows of conditions.

use chrono::{DateTime, Utc};
use headgate_database::{DbError, Tx, args};
use headgate_types::channel::ConditionType;
use headgate_types::{ChannelId, TenantId};

use super::{Condition, NewCondition};
use crate::error::CatalogError;
use crate::row::word;

#[derive(sqlx::FromRow)]
struct Row {
    #[sqlx(rename = "type")]
    condition: String,
    status: String,
    reason: String,
    message: String,
    last_transition_time: DateTime<Utc>,
}

impl TryFrom<Row> for Condition {
    type Error = CatalogError;

    fn try_from(row: Row) -> Result<Self, CatalogError> {
        Ok(Self {
            condition: word("conditions", &row.condition)?,
            status: word("conditions", &row.status)?,
            reason: row.reason,
            message: row.message,
            last_transition_time: row.last_transition_time,
        })
    }
}

pub(super) async fn get(
    tx: &mut Tx,
    tenant: TenantId,
    channel: ChannelId,
    condition: ConditionType,
) -> Result<Option<Condition>, CatalogError> {
    let row: Option<Row> = tx
        .fetch_optional(
            "SELECT type, status, reason, message, last_transition_time FROM conditions
             WHERE tenant_id = $1 AND channel_id = $2 AND type = $3",
            args![tenant, channel, condition.as_str()],
        )
        .await?;
    row.map(Condition::try_from).transpose()
}

pub(super) async fn list(tx: &mut Tx, tenant: TenantId, channel: ChannelId) -> Result<Vec<Condition>, CatalogError> {
    let rows: Vec<Row> = tx
        .fetch_all(
            "SELECT type, status, reason, message, last_transition_time FROM conditions
             WHERE tenant_id = $1 AND channel_id = $2",
            args![tenant, channel],
        )
        .await?;
    rows.into_iter().map(Condition::try_from).collect()
}

pub(super) async fn insert(
    tx: &mut Tx,
    tenant: TenantId,
    channel: ChannelId,
    new: &NewCondition<'_>,
    now: DateTime<Utc>,
) -> Result<(), CatalogError> {
    // Two writers of the same condition do not exist, but a step and the engine may meet on the
    // first write: the later one wins.
    let written = tx
        .execute(
            "INSERT INTO conditions (tenant_id, channel_id, type, status, reason, message, last_transition_time)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (tenant_id, channel_id, type) DO UPDATE SET status = excluded.status,
                reason = excluded.reason, message = excluded.message,
                last_transition_time = excluded.last_transition_time",
            args![tenant, channel, new.condition.as_str(), new.status.as_str(), new.reason, new.message, now],
        )
        .await;
    match written {
        Err(DbError::Reference) => Err(CatalogError::NotFound("channel")),
        other => Ok(other.map(drop)?),
    }
}

pub(super) async fn update(
    tx: &mut Tx,
    tenant: TenantId,
    channel: ChannelId,
    new: &NewCondition<'_>,
    since: DateTime<Utc>,
) -> Result<(), CatalogError> {
    tx.execute(
        "UPDATE conditions SET status = $4, reason = $5, message = $6, last_transition_time = $7
         WHERE tenant_id = $1 AND channel_id = $2 AND type = $3",
        args![tenant, channel, new.condition.as_str(), new.status.as_str(), new.reason, new.message, since],
    )
    .await?;
    Ok(())
}
