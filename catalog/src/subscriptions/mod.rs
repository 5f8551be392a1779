//! Subscriptions: what the selection of a data-out channel comes down to, one element each, with the
//! grant's policy. The engine compiles them as [`Scope`]s.

mod names;
mod refresh;
mod resolve;
mod store;

use chrono::{DateTime, Utc};
use headgate_database::Tx;
use headgate_types::selection::Scope;
use headgate_types::{ChannelId, ElementId, SubscriptionId, TenantId};

use crate::channels;
use crate::error::CatalogError;

pub use refresh::{Refreshed, refresh_selections};
pub use resolve::{MAX_SCOPES, resolve_selection};
pub use store::{for_element, list};
pub(crate) use store::{note_change, note_channel, remove};

/// A subscription: a scope with its place in a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Its id.
    pub id: SubscriptionId,
    /// The channel's owner.
    pub tenant: TenantId,
    /// The data-out channel.
    pub channel: ChannelId,
    /// What the engine compiles.
    pub scope: Scope,
    /// When the channel got the element.
    pub created_at: DateTime<Utc>,
}

/// The scopes of a channel, in the order of its selection.
///
/// # Errors
/// When the database fails.
pub async fn scopes(tx: &mut Tx, tenant: TenantId, channel: ChannelId) -> Result<Vec<Scope>, CatalogError> {
    let found = store::list(tx, tenant, channel).await?;
    Ok(found.into_iter().map(|subscription| subscription.scope).collect())
}

/// Gives a channel these scopes in place of those it has, and returns them as stored: an element
/// the channel carried already keeps its name, and its model version counts one up when its rows,
/// columns, model or policy changed. Counts as a change of the channel when something differs.
///
/// # Errors
/// `NotFound` when the tenant has no such channel.
pub async fn replace_scopes(
    tx: &mut Tx,
    tenant: TenantId,
    channel: ChannelId,
    scopes: Vec<Scope>,
    now: DateTime<Utc>,
) -> Result<Vec<Scope>, CatalogError> {
    replace(tx, tenant, channel, scopes, now).await.map(|(scopes, _)| scopes)
}

/// What a replacement did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Difference {
    added: Vec<ElementId>,
    removed: Vec<ElementId>,
    changed: Vec<ElementId>,
}

impl Difference {
    fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

async fn replace(
    tx: &mut Tx,
    tenant: TenantId,
    channel: ChannelId,
    scopes: Vec<Scope>,
    now: DateTime<Utc>,
) -> Result<(Vec<Scope>, Difference), CatalogError> {
    let old = store::list(tx, tenant, channel).await?;
    let mut difference = Difference::default();
    for gone in old.iter().filter(|old| !scopes.iter().any(|scope| scope.element == old.scope.element)) {
        store::delete(tx, tenant, gone.id).await?;
        difference.removed.push(gone.scope.element);
    }
    let kept: Vec<_> = old.iter().map(|old| (old.scope.element, old.scope.name.clone())).collect();
    let scopes = names::settle(scopes, &kept);
    let mut stored = Vec::with_capacity(scopes.len());
    for (position, mut scope) in scopes.into_iter().enumerate() {
        match old.iter().find(|old| old.scope.element == scope.element) {
            None => {
                scope.model_version = 1;
                store::insert(tx, tenant, channel, position, &scope, now).await?;
                difference.added.push(scope.element);
            }
            Some(old) => {
                scope.model_version = old.scope.model_version;
                if scope != old.scope {
                    scope.model_version += 1;
                    difference.changed.push(scope.element);
                }
                store::update(tx, tenant, old.id, position, &scope).await?;
            }
        }
        stored.push(scope);
    }
    if !difference.is_empty() {
        channels::touch(tx, tenant, channel, now).await?;
    }
    Ok((stored, difference))
}
