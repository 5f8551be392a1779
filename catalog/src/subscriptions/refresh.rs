//! Selections that follow the catalog: an element that is published, granted, moved or withdrawn
//! changes what channels carry.

use chrono::{DateTime, Utc};
use headgate_database::{Db, Tx};
use headgate_types::{ChannelId, ElementId, TenantId};

use super::{replace, resolve, store};
use crate::channels::{self, ChannelSpec};
use crate::error::CatalogError;

/// Changes followed in one transaction.
const BATCH: u32 = 500;

/// What a refresh did to one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refreshed {
    /// The channel's owner.
    pub tenant: TenantId,
    /// The channel.
    pub channel: ChannelId,
    /// Elements it carries from now on.
    pub added: Vec<ElementId>,
    /// Elements it no longer carries.
    pub removed: Vec<ElementId>,
    /// Elements of which it now carries other rows or columns.
    pub changed: Vec<ElementId>,
}

/// Resolves again the selections that noted changes may touch, all of them, and returns the channels whose
/// scopes differ. Idempotent; what a crash interrupts is noted still. To be called right after a commit that
/// published, granted or revoked, and from time to time besides.
///
/// # Errors
/// When the database fails; what was followed until then is committed.
pub async fn refresh_selections(control: &Db, now: DateTime<Utc>) -> Result<Vec<Refreshed>, CatalogError> {
    let mut refreshed = Vec::new();
    loop {
        let mut tx = control.platform().await?;
        let changes = store::changes(&mut tx, BATCH).await?;
        let is_last = changes.len() < BATCH as usize;
        refreshed.extend(follow(&mut tx, changes, now).await?);
        tx.commit().await?;
        if is_last {
            return Ok(refreshed);
        }
    }
}

async fn follow(tx: &mut Tx, changes: Vec<store::Change>, now: DateTime<Utc>) -> Result<Vec<Refreshed>, CatalogError> {
    let mut refreshed = Vec::new();
    if changes.is_empty() {
        return Ok(refreshed);
    }
    for (tenant, channel) in store::affected(tx, &changes).await? {
        // Locked before it is read: a change of spec that is under way must not be undone by scopes
        // of the old one.
        tx.act_for(tenant).await?;
        channels::lock(tx, tenant, channel).await?;
        let channel = channels::get(tx, tenant, channel).await?;
        let ChannelSpec::Out(spec) = &channel.spec else {
            continue;
        };
        let resolved = resolve::resolve(tx, tenant, &spec.data, &spec.output_data_model).await?;
        channels::set_follows(tx, tenant, channel.id, resolved.follows).await?;
        let (_, difference) = replace(tx, tenant, channel.id, resolved.scopes, now).await?;
        if !difference.is_empty() {
            refreshed.push(Refreshed {
                tenant,
                channel: channel.id,
                added: difference.added,
                removed: difference.removed,
                changed: difference.changed,
            });
        }
    }
    for change in changes {
        tx.act_for(change.owner).await?;
        store::forget_change(tx, &change).await?;
    }
    Ok(refreshed)
}
