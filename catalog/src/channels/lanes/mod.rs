//! Which lanes of a channel should run. Provisioning writes them, the engine acts on them.

mod store;

use chrono::{DateTime, Utc};
use headgate_database::Tx;
use headgate_types::channel::Lane;
use headgate_types::{ChannelId, TenantId};

use super::touch;
use crate::error::CatalogError;

pub(super) use store::remove;

/// The lanes that should run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lanes {
    /// New records flow; for a data-in channel: landed payloads are conformed.
    pub live: bool,
    /// The history is wanted. Stays on after it was loaded; the engine knows how far it is.
    pub backfill: bool,
}

/// Sets which lanes should run. Counts as a change of the channel only when something differs.
///
/// # Errors
/// `NotFound` for a channel the tenant does not have.
pub async fn set_lanes(
    tx: &mut Tx,
    tenant: TenantId,
    channel: ChannelId,
    wanted: Lanes,
    now: DateTime<Utc>,
) -> Result<(), CatalogError> {
    if lanes(tx, tenant, channel).await? == wanted {
        return Ok(());
    }
    touch(tx, tenant, channel, now).await?;
    for (lane, wanted) in [(Lane::Live, wanted.live), (Lane::Backfill, wanted.backfill)] {
        store::upsert(tx, tenant, channel, lane, wanted, now).await?;
    }
    Ok(())
}

/// The lanes that should run; none before any was set.
///
/// # Errors
/// When the database fails.
pub async fn lanes(tx: &mut Tx, tenant: TenantId, channel: ChannelId) -> Result<Lanes, CatalogError> {
    let mut lanes = Lanes::default();
    for (lane, wanted) in store::list(tx, tenant, channel).await? {
        match lane {
            Lane::Live => lanes.live = wanted,
            Lane::Backfill => lanes.backfill = wanted,
            Lane::Replay => {}
        }
    }
    Ok(lanes)
}
