//! The tables of the log.

use chrono::{DateTime, Utc};
use headgate_database::{DbError, FromRow, Json, Tx, args};
use headgate_types::{EventId, TenantId};
use serde_json::Value;
use uuid::Uuid;

use crate::event::{Event, EventType};

#[derive(FromRow)]
struct EventRow {
    tenant_id: Uuid,
    sequence: i64,
    id: Uuid,
    r#type: String,
    subject: String,
    data: Json<Value>,
    created_at: DateTime<Utc>,
}

impl From<EventRow> for Event {
    fn from(row: EventRow) -> Self {
        Self {
            tenant: row.tenant_id.into(),
            sequence: row.sequence.unsigned_abs(),
            id: row.id.into(),
            event_type: row.r#type,
            subject: row.subject,
            data: row.data.0,
            created_at: row.created_at,
        }
    }
}

/// The ends of a tenant's log.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Head {
    pub(crate) sequence: u64,
    pub(crate) removed_to: u64,
}

pub(crate) async fn head(tx: &mut Tx, tenant: TenantId) -> Result<Head, DbError> {
    let row: Option<(i64, i64)> =
        tx.fetch_optional("SELECT sequence, removed_to FROM outbox_heads WHERE tenant_id = $1", args![tenant]).await?;
    Ok(row.map_or_else(Head::default, |(sequence, removed_to)| Head {
        sequence: sequence.unsigned_abs(),
        removed_to: removed_to.unsigned_abs(),
    }))
}

pub(super) async fn set_head(tx: &mut Tx, tenant: TenantId, sequence: u64) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO outbox_heads (tenant_id, sequence, removed_to) VALUES ($1, $2, 0)
         ON CONFLICT (tenant_id) DO UPDATE SET sequence = excluded.sequence",
        args![tenant, sequence],
    )
    .await?;
    Ok(())
}

pub(super) async fn insert(tx: &mut Tx, event: &Event) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO outbox (tenant_id, sequence, id, type, subject, data, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        args![event.tenant, event.sequence, event.id, &event.event_type, &event.subject, &event.data, event.created_at],
    )
    .await?;
    Ok(())
}

pub(crate) async fn find(tx: &mut Tx, tenant: TenantId, id: EventId) -> Result<Option<Event>, DbError> {
    let row: Option<EventRow> = tx
        .fetch_optional(
            "SELECT tenant_id, sequence, id, type, subject, data, created_at FROM outbox
             WHERE tenant_id = $1 AND id = $2",
            args![tenant, id],
        )
        .await?;
    Ok(row.map(Event::from))
}

pub(crate) async fn after(
    tx: &mut Tx,
    tenant: TenantId,
    after: u64,
    limit: u32,
    types: &[EventType],
) -> Result<Vec<Event>, DbError> {
    let mut arguments = args![tenant, after, limit];
    let mut condition = String::new();
    if !types.is_empty() {
        let mut placeholders = Vec::with_capacity(types.len());
        for event_type in types {
            arguments.push(event_type.as_str().into());
            placeholders.push(format!("${}", arguments.len()));
        }
        condition = format!(" AND type IN ({})", placeholders.join(", "));
    }
    let sql = format!(
        "SELECT tenant_id, sequence, id, type, subject, data, created_at FROM outbox
         WHERE tenant_id = $1 AND sequence > $2{condition} ORDER BY sequence LIMIT $3"
    );
    let rows: Vec<EventRow> = tx.fetch_all_built(sql, arguments).await?;
    Ok(rows.into_iter().map(Event::from).collect())
}

/// Events since a moment, oldest first, after a sequence.
pub(crate) async fn since(
    tx: &mut Tx,
    tenant: TenantId,
    since: DateTime<Utc>,
    after: u64,
    limit: u32,
) -> Result<Vec<Event>, DbError> {
    let rows: Vec<EventRow> = tx
        .fetch_all(
            "SELECT tenant_id, sequence, id, type, subject, data, created_at FROM outbox
             WHERE tenant_id = $1 AND created_at >= $2 AND sequence > $3 ORDER BY sequence LIMIT $4",
            args![tenant, since, after, limit],
        )
        .await?;
    Ok(rows.into_iter().map(Event::from).collect())
}

/// Tenants with events older than `before`.
pub(crate) async fn tenants_with_old_events(tx: &mut Tx, before: DateTime<Utc>) -> Result<Vec<TenantId>, DbError> {
    let rows: Vec<(Uuid,)> =
        tx.fetch_all("SELECT DISTINCT tenant_id FROM outbox WHERE created_at < $1", args![before]).await?;
    Ok(rows.into_iter().map(|row| row.0.into()).collect())
}

/// Removes a tenant's events older than `before`, from the beginning on, up to the first that still
/// has to be sent. The deliveries of removed events go with them.
pub(crate) async fn remove_old(tx: &mut Tx, tenant: TenantId, before: DateTime<Utc>) -> Result<u64, DbError> {
    let (to,): (i64,) = tx
        .fetch_one(
            "SELECT COALESCE(MAX(sequence), 0) FROM outbox
             WHERE tenant_id = $1 AND created_at < $2 AND sequence <
               COALESCE((SELECT MIN(sequence) FROM event_deliveries WHERE tenant_id = $1 AND state = 'PENDING'),
                        9223372036854775807)",
            args![tenant, before],
        )
        .await?;
    if to == 0 {
        return Ok(0);
    }
    tx.execute("DELETE FROM event_deliveries WHERE tenant_id = $1 AND sequence <= $2", args![tenant, to]).await?;
    tx.execute("UPDATE outbox_heads SET removed_to = $2 WHERE tenant_id = $1 AND removed_to < $2", args![tenant, to])
        .await?;
    tx.execute("DELETE FROM outbox WHERE tenant_id = $1 AND sequence <= $2", args![tenant, to]).await
}
