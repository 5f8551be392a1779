//! The statements over `resources`.

use chrono::{DateTime, Utc};
use headgate_database::{DbError, FromRow, Tx, args};
use headgate_types::{ChannelId, OrderId, TenantId};
use uuid::Uuid;

/// What is known of a channel's resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResourceState {
    /// A driver was or will be asked to make it.
    Wanted,
    /// It is there.
    Present,
    /// A driver was or will be asked to remove it.
    Leaving,
    /// It could not be removed; the sweep goes on trying.
    LeftOver,
    /// Nothing is left.
    Gone,
}

impl ResourceState {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Wanted => "WANTED",
            Self::Present => "PRESENT",
            Self::Leaving => "LEAVING",
            Self::LeftOver => "LEFT_OVER",
            Self::Gone => "GONE",
        }
    }
}

#[derive(Debug, FromRow)]
pub(crate) struct ResourceRow {
    pub tenant_id: Uuid,
    pub channel_id: Uuid,
    pub attempts: i64,
}

/// Writes down that an order is about to make or change a resource.
pub(crate) async fn want(
    tx: &mut Tx,
    (tenant, channel, order): (TenantId, ChannelId, OrderId),
    driver: &str,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO resources (tenant_id, channel_id, driver, state, order_id, attempts, run_at, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, 0, $6, $6, $6)
         ON CONFLICT (tenant_id, channel_id) DO UPDATE
             SET driver = excluded.driver, state = excluded.state, order_id = excluded.order_id, attempts = 0,
                 error = NULL, updated_at = excluded.updated_at",
        args![tenant, channel, driver, ResourceState::Wanted.as_str(), order, now],
    )
    .await
    .map(drop)
}

/// Writes down what became of a resource; nothing when there never was one.
pub(crate) async fn set(
    tx: &mut Tx,
    (tenant, channel): (TenantId, ChannelId),
    state: ResourceState,
    url: Option<&str>,
    error: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    tx.execute(
        "UPDATE resources SET state = $3, url = coalesce($4, url), error = $5, updated_at = $6, run_at = $6, attempts = 0
         WHERE tenant_id = $1 AND channel_id = $2",
        args![tenant, channel, state.as_str(), url, error, now],
    )
    .await
    .map(drop)
}

/// The driver that made a channel's resource, or was asked to; None when there is no resource.
pub(crate) async fn driver(tx: &mut Tx, tenant: TenantId, channel: ChannelId) -> Result<Option<String>, DbError> {
    let found: Option<(String,)> = tx
        .fetch_optional(
            "SELECT driver FROM resources WHERE tenant_id = $1 AND channel_id = $2 AND state <> 'GONE'",
            args![tenant, channel],
        )
        .await?;
    Ok(found.map(|(driver,)| driver))
}

/// What could not be removed and is due for another try.
pub(crate) async fn left_over(tx: &mut Tx, now: DateTime<Utc>, limit: u32) -> Result<Vec<ResourceRow>, DbError> {
    tx.fetch_all(
        "SELECT tenant_id, channel_id, attempts FROM resources
         WHERE state = 'LEFT_OVER' AND run_at <= $1 ORDER BY run_at LIMIT $2",
        args![now, limit],
    )
    .await
}

/// Whether the sweep has the resource on its list already.
pub(crate) async fn is_left_over(tx: &mut Tx, tenant: TenantId, channel: ChannelId) -> Result<bool, DbError> {
    let (rows,): (i64,) = tx
        .fetch_one(
            "SELECT COUNT(*) FROM resources WHERE tenant_id = $1 AND channel_id = $2 AND state = 'LEFT_OVER'",
            args![tenant, channel],
        )
        .await?;
    Ok(rows > 0)
}

/// Notes another failed try of the sweep.
pub(crate) async fn failed_again(
    tx: &mut Tx,
    (tenant, channel): (TenantId, ChannelId),
    error: &str,
    run_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    tx.execute(
        "UPDATE resources SET attempts = attempts + 1, error = $3, run_at = $4, updated_at = $5
         WHERE tenant_id = $1 AND channel_id = $2",
        args![tenant, channel, error, run_at, now],
    )
    .await
    .map(drop)
}

/// Notes that a key may be made at a cloud, or that what was made there is in the tables.
pub(crate) async fn admitting(
    tx: &mut Tx,
    tenant: TenantId,
    channel: ChannelId,
    since: Option<DateTime<Utc>>,
) -> Result<(), DbError> {
    tx.execute(
        "UPDATE resources SET admitting_since = $3 WHERE tenant_id = $1 AND channel_id = $2",
        args![tenant, channel, since],
    )
    .await
    .map(drop)
}

/// Channels of which a cloud may hold a key that no table knows, unless an order is at it now.
pub(crate) async fn unsettled(tx: &mut Tx, limit: u32) -> Result<Vec<ResourceRow>, DbError> {
    tx.fetch_all(
        "SELECT tenant_id, channel_id, attempts FROM resources
         WHERE admitting_since IS NOT NULL AND state <> 'GONE' ORDER BY admitting_since LIMIT $1",
        args![limit],
    )
    .await
}
