//! The tables of endpoints, deliveries and attempts.

use chrono::{DateTime, Utc};
use headgate_database::{DbError, FromRow, Json, Tx, args};
use headgate_types::{EndpointId, EventId, TenantId};
use uuid::Uuid;

use super::{Attempt, Delivery, DeliveryState, Endpoint, EndpointState};
use crate::event::Event;

#[derive(FromRow)]
pub(crate) struct EndpointRow {
    pub(crate) tenant_id: Uuid,
    pub(crate) id: Uuid,
    pub(crate) url: String,
    description: String,
    types: Json<Vec<String>>,
    state: String,
    state_reason: Option<String>,
    pub(crate) sealed: Vec<u8>,
    pub(crate) previous_sealed: Option<Vec<u8>>,
    pub(crate) previous_until: Option<DateTime<Utc>>,
    pub(crate) dispatched_to: i64,
    pub(crate) failing_since: Option<DateTime<Utc>>,
    version: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl EndpointRow {
    pub(crate) fn wants(&self, event: &Event) -> bool {
        self.types.is_empty() || self.types.contains(&event.event_type)
    }

    pub(crate) fn is_active(&self) -> bool {
        self.state == EndpointState::Active.as_str()
    }
}

impl From<EndpointRow> for Endpoint {
    fn from(row: EndpointRow) -> Self {
        Self {
            id: row.id.into(),
            types: row.types.iter().filter_map(|word| word.parse().ok()).collect(),
            state: if row.is_active() { EndpointState::Active } else { EndpointState::Disabled },
            url: row.url,
            description: row.description,
            state_reason: row.state_reason,
            failing_since: row.failing_since,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

const SELECT: &str = "SELECT tenant_id, id, url, description, types, state, state_reason, sealed, previous_sealed,
                             previous_until, dispatched_to, failing_since, version, created_at, updated_at
                      FROM endpoints";

pub(crate) async fn list(tx: &mut Tx, tenant: TenantId) -> Result<Vec<EndpointRow>, DbError> {
    tx.fetch_all_built(format!("{SELECT} WHERE tenant_id = $1 ORDER BY id"), args![tenant]).await
}

pub(crate) async fn find(tx: &mut Tx, tenant: TenantId, id: EndpointId) -> Result<Option<EndpointRow>, DbError> {
    let rows = tx.fetch_all_built(format!("{SELECT} WHERE tenant_id = $1 AND id = $2"), args![tenant, id]).await?;
    Ok(rows.into_iter().next())
}

pub(super) async fn insert(
    tx: &mut Tx,
    tenant: TenantId,
    endpoint: &Endpoint,
    sealed: &[u8],
    dispatched_to: u64,
) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO endpoints (tenant_id, id, url, description, types, state, sealed, dispatched_to, version,
                                created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        args![
            tenant,
            endpoint.id,
            &endpoint.url,
            &endpoint.description,
            serde_json::json!(endpoint.types),
            endpoint.state.as_str(),
            sealed,
            dispatched_to,
            endpoint.version,
            endpoint.created_at,
            endpoint.updated_at
        ],
    )
    .await?;
    Ok(())
}

/// `false` when the version is another by now.
pub(super) async fn update(tx: &mut Tx, tenant: TenantId, changed: &Endpoint, from: i64) -> Result<bool, DbError> {
    let rows = tx
        .execute(
            "UPDATE endpoints SET url = $3, description = $4, types = $5, state = $6, state_reason = $7,
                    failing_since = $8, version = $9, updated_at = $10
             WHERE tenant_id = $1 AND id = $2 AND version = $11",
            args![
                tenant,
                changed.id,
                &changed.url,
                &changed.description,
                serde_json::json!(changed.types),
                changed.state.as_str(),
                changed.state_reason.clone(),
                changed.failing_since,
                changed.version,
                changed.updated_at,
                from
            ],
        )
        .await?;
    Ok(rows == 1)
}

/// `false` when somebody else has dispatched meanwhile.
pub(crate) async fn set_dispatched(
    tx: &mut Tx,
    tenant: TenantId,
    id: EndpointId,
    from: i64,
    to: u64,
) -> Result<bool, DbError> {
    let rows = tx
        .execute(
            "UPDATE endpoints SET dispatched_to = $4 WHERE tenant_id = $1 AND id = $2 AND dispatched_to = $3",
            args![tenant, id, from, to],
        )
        .await?;
    Ok(rows == 1)
}

pub(super) async fn delete(tx: &mut Tx, tenant: TenantId, id: EndpointId) -> Result<u64, DbError> {
    tx.execute("DELETE FROM endpoints WHERE tenant_id = $1 AND id = $2", args![tenant, id]).await
}

pub(super) async fn delete_all(tx: &mut Tx, tenant: TenantId) -> Result<u64, DbError> {
    tx.execute("DELETE FROM endpoints WHERE tenant_id = $1", args![tenant]).await
}

pub(super) async fn rotate(
    tx: &mut Tx,
    tenant: TenantId,
    id: EndpointId,
    sealed: &[u8],
    previous_until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<u64, DbError> {
    tx.execute(
        "UPDATE endpoints SET previous_sealed = sealed, previous_until = $4, sealed = $3, version = version + 1,
                updated_at = $5
         WHERE tenant_id = $1 AND id = $2",
        args![tenant, id, sealed, previous_until, now],
    )
    .await
}

/// Disables an active endpoint and gives up what was on its way; `false` when it was not active.
pub(crate) async fn disable(
    tx: &mut Tx,
    tenant: TenantId,
    id: EndpointId,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let rows = tx
        .execute(
            "UPDATE endpoints SET state = 'DISABLED', state_reason = $3, version = version + 1, updated_at = $4
             WHERE tenant_id = $1 AND id = $2 AND state = 'ACTIVE'",
            args![tenant, id, reason, now],
        )
        .await?;
    give_up(tx, tenant, id).await?;
    Ok(rows == 1)
}

pub(crate) async fn give_up(tx: &mut Tx, tenant: TenantId, id: EndpointId) -> Result<(), DbError> {
    tx.execute(
        "UPDATE event_deliveries SET state = 'FAILED' WHERE tenant_id = $1 AND endpoint_id = $2 AND state = 'PENDING'",
        args![tenant, id],
    )
    .await?;
    Ok(())
}

pub(crate) async fn set_failing_since(
    tx: &mut Tx,
    tenant: TenantId,
    id: EndpointId,
    since: Option<DateTime<Utc>>,
) -> Result<(), DbError> {
    tx.execute("UPDATE endpoints SET failing_since = $3 WHERE tenant_id = $1 AND id = $2", args![tenant, id, since])
        .await?;
    Ok(())
}

/// Active endpoints of any tenant whose log has gone on.
pub(crate) async fn to_dispatch(tx: &mut Tx) -> Result<Vec<(TenantId, EndpointId)>, DbError> {
    let rows: Vec<(Uuid, Uuid)> = tx
        .fetch_all(
            "SELECT e.tenant_id, e.id FROM endpoints e JOIN outbox_heads h ON h.tenant_id = e.tenant_id
             WHERE e.state = 'ACTIVE' AND e.dispatched_to < h.sequence ORDER BY e.id",
            args![],
        )
        .await?;
    Ok(rows.into_iter().map(|(tenant, id)| (tenant.into(), id.into())).collect())
}

/// Active endpoints of any tenant with something to send now, the longest waiting first.
pub(crate) async fn with_due(tx: &mut Tx, now: DateTime<Utc>) -> Result<Vec<(TenantId, EndpointId)>, DbError> {
    let rows: Vec<(Uuid, Uuid)> = tx
        .fetch_all(
            "SELECT e.tenant_id, e.id FROM endpoints e
             JOIN (SELECT tenant_id, endpoint_id, MIN(due_at) AS due FROM event_deliveries
                   WHERE state = 'PENDING' AND due_at <= $1 GROUP BY tenant_id, endpoint_id) d
               ON d.tenant_id = e.tenant_id AND d.endpoint_id = e.id
             WHERE e.state = 'ACTIVE' ORDER BY d.due",
            args![now],
        )
        .await?;
    Ok(rows.into_iter().map(|(tenant, id)| (tenant.into(), id.into())).collect())
}

/// Puts an event on its way, now; one that was given up starts anew.
pub(crate) async fn put_on_its_way(
    tx: &mut Tx,
    tenant: TenantId,
    id: EndpointId,
    event: &Event,
    delivered_too: bool,
    now: DateTime<Utc>,
) -> Result<u64, DbError> {
    tx.execute(
        "INSERT INTO event_deliveries
           (tenant_id, endpoint_id, event_id, sequence, state, attempts, tries, due_at, created_at)
         VALUES ($1, $2, $3, $4, 'PENDING', 0, 0, $5, $5)
         ON CONFLICT (tenant_id, endpoint_id, event_id) DO UPDATE SET state = 'PENDING', tries = 0, due_at = $5
           WHERE event_deliveries.state = 'FAILED' OR (event_deliveries.state = 'DELIVERED' AND $6)",
        args![tenant, id, event.id, event.sequence, now, delivered_too],
    )
    .await
}

/// A delivery that was taken to be sent.
#[derive(Debug, Clone, Copy, FromRow)]
pub(crate) struct Taken {
    pub(crate) event_id: Uuid,
    pub(crate) attempts: i64,
    pub(crate) tries: i64,
}

/// Takes what is due at an endpoint, in order, and moves it on by the lease: nobody else sends it
/// meanwhile, and it comes back when we die.
pub(crate) async fn take(
    tx: &mut Tx,
    tenant: TenantId,
    id: EndpointId,
    now: DateTime<Utc>,
    lease_end: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<Taken>, DbError> {
    let sql = format!(
        "SELECT event_id, attempts, tries FROM event_deliveries
         WHERE tenant_id = $1 AND endpoint_id = $2 AND state = 'PENDING' AND due_at <= $3
         ORDER BY sequence LIMIT $4{}",
        tx.for_update_skip_locked()
    );
    let taken: Vec<Taken> = tx.fetch_all_built(sql, args![tenant, id, now, limit]).await?;
    for delivery in &taken {
        tx.execute(
            "UPDATE event_deliveries SET due_at = $4 WHERE tenant_id = $1 AND endpoint_id = $2 AND event_id = $3",
            args![tenant, id, delivery.event_id, lease_end],
        )
        .await?;
    }
    Ok(taken)
}

/// Gives back what was taken and not tried.
pub(crate) async fn put_back(
    tx: &mut Tx,
    tenant: TenantId,
    id: EndpointId,
    event: Uuid,
    due: DateTime<Utc>,
) -> Result<(), DbError> {
    tx.execute(
        "UPDATE event_deliveries SET due_at = $4
         WHERE tenant_id = $1 AND endpoint_id = $2 AND event_id = $3 AND state = 'PENDING'",
        args![tenant, id, event, due],
    )
    .await?;
    Ok(())
}

/// Ends a try. A delivery that was given up meanwhile (its endpoint was disabled) stays that way.
pub(crate) async fn finish(
    tx: &mut Tx,
    tenant: TenantId,
    id: EndpointId,
    attempt: &Attempt,
    tries: i64,
    state: DeliveryState,
    due_at: DateTime<Utc>,
) -> Result<(), DbError> {
    tx.execute(
        "UPDATE event_deliveries SET attempts = $4, tries = $5, due_at = $6,
                state = CASE WHEN state = 'PENDING' THEN $7 ELSE state END
         WHERE tenant_id = $1 AND endpoint_id = $2 AND event_id = $3",
        args![tenant, id, attempt.event, attempt.attempt, tries, due_at, state.as_str()],
    )
    .await?;
    // Nothing to write under when the endpoint was deleted meanwhile; the same number twice when a
    // lease ran out and two processes tried at once.
    tx.execute(
        "INSERT INTO event_attempts
           (tenant_id, endpoint_id, event_id, attempt, id, at, status, error, response, milliseconds)
         SELECT tenant_id, endpoint_id, event_id, $4, $5, $6, $7, $8, $9, $10 FROM event_deliveries
         WHERE tenant_id = $1 AND endpoint_id = $2 AND event_id = $3
         ON CONFLICT DO NOTHING",
        args![
            tenant,
            id,
            attempt.event,
            attempt.attempt,
            attempt.id,
            attempt.created_at,
            attempt.status.map(i32::from),
            attempt.error.clone(),
            attempt.response.clone(),
            attempt.milliseconds
        ],
    )
    .await?;
    Ok(())
}

#[derive(FromRow)]
struct AttemptRow {
    id: Uuid,
    event_id: Uuid,
    attempt: i64,
    at: DateTime<Utc>,
    status: Option<i64>,
    error: Option<String>,
    response: Option<String>,
    milliseconds: i64,
}

pub(super) async fn attempts(
    tx: &mut Tx,
    tenant: TenantId,
    id: EndpointId,
    before: Uuid,
    limit: u32,
) -> Result<Vec<Attempt>, DbError> {
    let rows: Vec<AttemptRow> = tx
        .fetch_all(
            "SELECT id, event_id, attempt, at, status, error, response, milliseconds FROM event_attempts
             WHERE tenant_id = $1 AND endpoint_id = $2 AND id < $3 ORDER BY id DESC LIMIT $4",
            args![tenant, id, before, limit],
        )
        .await?;
    let attempt = |row: AttemptRow| Attempt {
        id: row.id,
        event: row.event_id.into(),
        attempt: row.attempt,
        created_at: row.at,
        status: row.status.and_then(|status| u16::try_from(status).ok()),
        error: row.error,
        response: row.response,
        milliseconds: row.milliseconds,
    };
    Ok(rows.into_iter().map(attempt).collect())
}

#[derive(FromRow)]
struct DeliveryRow {
    event_id: Uuid,
    sequence: i64,
    state: String,
    attempts: i64,
    due_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
}

pub(super) async fn deliveries(
    tx: &mut Tx,
    tenant: TenantId,
    id: EndpointId,
    before: u64,
    limit: u32,
) -> Result<Vec<Delivery>, DbError> {
    let rows: Vec<DeliveryRow> = tx
        .fetch_all(
            "SELECT event_id, sequence, state, attempts, due_at, created_at FROM event_deliveries
             WHERE tenant_id = $1 AND endpoint_id = $2 AND sequence < $3 ORDER BY sequence DESC LIMIT $4",
            args![tenant, id, before, limit],
        )
        .await?;
    let delivery = |row: DeliveryRow| {
        let state = DeliveryState::from_word(&row.state);
        Delivery {
            event: EventId::from(row.event_id),
            sequence: row.sequence.unsigned_abs(),
            state,
            attempts: row.attempts,
            next_attempt_at: (state == DeliveryState::Pending).then_some(row.due_at),
            created_at: row.created_at,
        }
    };
    Ok(rows.into_iter().map(delivery).collect())
}
