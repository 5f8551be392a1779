//! What a channel is charged as, and was before its changes.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use headgate_database::{Tx, args};
use headgate_types::ChannelId;
use uuid::Uuid;

use super::{Channel, ChannelSpec, store};
use crate::error::CatalogError;

/// What the price of a channel's hours depends on, and how long it held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormerTerms {
    /// The performance profile.
    pub size: String,
    /// The mode of its timing.
    pub timing: String,
    /// When others followed.
    pub until: DateTime<Utc>,
}

/// Notes what ends with a change, if it is charged for otherwise.
pub(super) async fn note_change(
    tx: &mut Tx,
    old: &Channel,
    size: &str,
    spec: &ChannelSpec,
    now: DateTime<Utc>,
) -> Result<(), CatalogError> {
    let timing = old.spec.timing().mode();
    if old.size == size && timing == spec.timing().mode() {
        return Ok(());
    }
    // Of two changes in one moment the first tells what ended.
    tx.execute(
        "INSERT INTO former_terms (tenant_id, channel_id, until, size, timing) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT DO NOTHING",
        args![old.tenant, old.id, now, old.size.as_str(), timing],
    )
    .await?;
    Ok(())
}

/// Channels of all tenants that have or had resources of their own and were not DELETED before `since`, each with its
/// former terms since then in their order, for the platform's own work: their hours are billed.
///
/// # Errors
/// When the database fails.
pub async fn occupied_since(
    tx: &mut Tx,
    since: DateTime<Utc>,
) -> Result<Vec<(Channel, Vec<FormerTerms>)>, CatalogError> {
    let rest = "WHERE activated_at IS NOT NULL AND (deleted_at IS NULL OR deleted_at >= $1) ORDER BY id";
    let channels = store::select(tx, rest.to_owned(), args![since]).await?;
    let rows: Vec<(Uuid, String, String, DateTime<Utc>)> = tx
        .fetch_all(
            "SELECT channel_id, size, timing, until FROM former_terms WHERE until >= $1 ORDER BY channel_id, until",
            args![since],
        )
        .await?;
    let mut former: BTreeMap<ChannelId, Vec<FormerTerms>> = BTreeMap::new();
    for (channel, size, timing, until) in rows {
        former.entry(channel.into()).or_default().push(FormerTerms { size, timing, until });
    }
    let with_terms = |channel: Channel| {
        let former = former.remove(&channel.id).unwrap_or_default();
        (channel, former)
    };
    Ok(channels.into_iter().map(with_terms).collect())
}
