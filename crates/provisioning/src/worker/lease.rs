//! Leases: one worker per channel at a time.
//!
//! The lease is on the channel and not on the order, so that a delete order cannot release what a
//! superseded create order is still making.

use chrono::{DateTime, Utc};
use headgate_database::{DbError, Tx, args};
use headgate_types::{ChannelId, TenantId};
use uuid::Uuid;

/// A lease that was taken.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    pub tenant: TenantId,
    pub channel: ChannelId,
    pub owner: String,
    /// Grows with every lease of the channel.
    pub epoch: i64,
}

/// Takes the lease of a channel; None while somebody else holds it.
pub(crate) async fn take(
    tx: &mut Tx,
    (tenant, channel): (TenantId, ChannelId),
    owner: &str,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Option<Lease>, DbError> {
    let taken: Option<(i64,)> = tx
        .fetch_optional(
            "INSERT INTO order_leases (tenant_id, channel_id, owner, epoch, until) VALUES ($1, $2, $3, 1, $5)
             ON CONFLICT (tenant_id, channel_id) DO UPDATE
                 SET owner = excluded.owner, until = excluded.until, epoch = order_leases.epoch + 1
                 WHERE order_leases.until <= $4
             RETURNING epoch",
            args![tenant, channel, owner, now, until],
        )
        .await?;
    Ok(taken.map(|(epoch,)| Lease { tenant, channel, owner: owner.to_owned(), epoch }))
}

/// Moves the end of a lease; false when it was lost, and then nothing may be saved. Moving it to
/// the present gives it back.
pub(crate) async fn hold(tx: &mut Tx, lease: &Lease, until: DateTime<Utc>) -> Result<bool, DbError> {
    let held = tx
        .execute(
            "UPDATE order_leases SET until = $5
             WHERE tenant_id = $1 AND channel_id = $2 AND owner = $3 AND epoch = $4",
            args![lease.tenant, lease.channel, lease.owner.as_str(), lease.epoch, until],
        )
        .await?;
    Ok(held == 1)
}

/// Ends the leases of every owner whose name fits; returns how many did not end by themselves
/// before. The epoch grows, so a holder that lives after all saves nothing.
pub(crate) async fn end_all(tx: &mut Tx, fits: impl Fn(&str) -> bool, now: DateTime<Utc>) -> Result<u64, DbError> {
    let rows: Vec<(Uuid, Uuid, String)> =
        tx.fetch_all("SELECT tenant_id, channel_id, owner FROM order_leases WHERE until > $1", args![now]).await?;
    let mut ended = 0;
    for (tenant, channel, owner) in rows.into_iter().filter(|(_, _, owner)| fits(owner)) {
        tx.act_for(tenant.into()).await?;
        ended += tx
            .execute(
                "UPDATE order_leases SET until = $4, epoch = epoch + 1
                 WHERE tenant_id = $1 AND channel_id = $2 AND owner = $3",
                args![tenant, channel, owner.as_str(), now],
            )
            .await?;
    }
    Ok(ended)
}
