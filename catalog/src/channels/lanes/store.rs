//! The rows of lanes.

use chrono::{DateTime, Utc};
use headgate_database::{Tx, args};
use headgate_types::channel::Lane;
use headgate_types::{ChannelId, TenantId};

use crate::error::CatalogError;
use crate::row::word;

pub(super) async fn upsert(
    tx: &mut Tx,
    tenant: TenantId,
    channel: ChannelId,
    lane: Lane,
    wanted: bool,
    now: DateTime<Utc>,
) -> Result<(), CatalogError> {
    tx.execute(
        "INSERT INTO lanes (tenant_id, channel_id, lane, wanted, updated_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (tenant_id, channel_id, lane) DO UPDATE SET wanted = excluded.wanted,
            updated_at = excluded.updated_at",
        args![tenant, channel, lane.as_str(), wanted, now],
    )
    .await?;
    Ok(())
}

pub(super) async fn list(tx: &mut Tx, tenant: TenantId, channel: ChannelId) -> Result<Vec<(Lane, bool)>, CatalogError> {
    let rows: Vec<(String, bool)> = tx
        .fetch_all("SELECT lane, wanted FROM lanes WHERE tenant_id = $1 AND channel_id = $2", args![tenant, channel])
        .await?;
    rows.into_iter().map(|(lane, wanted)| Ok((word("lanes", &lane)?, wanted))).collect()
}

pub(in crate::channels) async fn remove(tx: &mut Tx, tenant: TenantId, channel: ChannelId) -> Result<(), CatalogError> {
    tx.execute("DELETE FROM lanes WHERE tenant_id = $1 AND channel_id = $2", args![tenant, channel]).await?;
    Ok(())
}
