//! Accepting an order.

use headgate_catalog::CatalogError;
use headgate_catalog::channels::{self, Channel};
use headgate_database::Tx;
use headgate_types::channel::ChannelState;
use headgate_types::{ChannelId, OrderId, SharedClock, TenantId};
use serde_json::Value;

use super::advance::supersede;
use super::kind::OrderKind;
use super::order::Order;
use super::plan::{Phase, plan};
use super::read::get;
use super::request::{OrderRequest, Previous};
use super::store::{self, Insert};
use crate::error::OrderError;

/// An order to be accepted. The caller has checked the request itself; for a create order it has
/// put the channel, its feeds or scopes and its new elements into the catalog, in this transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct NewOrder {
    /// The owner of the channel.
    pub tenant: TenantId,
    /// The channel.
    pub channel: ChannelId,
    /// What is asked for.
    pub request: OrderRequest,
    /// The principal that asks.
    pub requested_by: String,
    /// The request, for logs and audit.
    pub request_id: Option<String>,
    /// The quote it is accepted at.
    pub price: Option<Value>,
    /// Revision of the profiles it was priced with.
    pub profile_revision: u32,
}

/// Accepts an order: from here on it ends SUCCEEDED, FAILED or CANCELLED. Wake the worker after
/// the commit.
///
/// A delete order supersedes every open order of its channel; any other order that changes the
/// channel is refused while one is open.
///
/// # Errors
/// [`OrderError::ChannelNotFound`] also for another tenant's channel, [`OrderError::Busy`] naming
/// the order in the way, [`OrderError::ChannelState`].
pub async fn create(tx: &mut Tx, clock: &SharedClock, new: NewOrder) -> Result<Order, OrderError> {
    let now = clock.now();
    let (tenant, kind) = (new.tenant, new.request.kind());
    let channel = match channels::get(tx, tenant, new.channel).await {
        Err(CatalogError::NotFound(_)) => return Err(OrderError::ChannelNotFound),
        other => other?,
    };
    let open = open_orders(tx, &channel).await?;
    if let Some(other) = in_the_way(kind, &open) {
        return Err(OrderError::Busy { order: other.id, kind: other.kind() });
    }
    if !takes(channel.state, kind) {
        return Err(OrderError::ChannelState { kind, state: channel.state });
    }
    let id = OrderId::new();
    let previous = Previous::of(&channel);
    if kind == OrderKind::Delete {
        for other in open {
            supersede_with(tx, other, id, clock).await?;
        }
    }
    let steps = plan(kind, channel.direction, Phase::Do);
    let row = Insert {
        tenant,
        id,
        channel: new.channel,
        direction: channel.direction,
        request: &new.request,
        previous: Some(&previous),
        first: steps[0],
        price: new.price.as_ref(),
        profile_revision: new.profile_revision,
        requested_by: &new.requested_by,
        request_id: new.request_id.as_deref(),
        now,
    };
    if !store::insert(tx, row).await? {
        // Somebody else was faster; the index on open exclusive orders noticed.
        let open = open_orders(tx, &channel).await?;
        let other = in_the_way(kind, &open).ok_or(OrderError::ChannelState { kind, state: channel.state })?;
        return Err(OrderError::Busy { order: other.id, kind: other.kind() });
    }
    store::insert_steps(tx, tenant, id, Phase::Do, steps).await?;
    enter(tx, &channel, kind, now).await?;
    get(tx, tenant, id).await
}

async fn open_orders(tx: &mut Tx, channel: &Channel) -> Result<Vec<Order>, OrderError> {
    let rows = store::open_of(tx, channel.tenant, channel.id).await?;
    rows.iter().map(store::OrderRow::order).collect()
}

/// The open order that excludes one of `kind`.
fn in_the_way(kind: OrderKind, open: &[Order]) -> Option<&Order> {
    match kind {
        OrderKind::Delete => open.iter().find(|order| order.kind() == OrderKind::Delete),
        kind if kind.is_exclusive() => open.iter().find(|order| order.kind().is_exclusive()),
        _ => None,
    }
}

/// Whether a channel in `state` takes an order of `kind`.
const fn takes(state: ChannelState, kind: OrderKind) -> bool {
    use ChannelState as C;
    match kind {
        OrderKind::Create => matches!(state, C::Provisioning),
        OrderKind::Change => matches!(state, C::Active | C::Paused),
        OrderKind::Pause => matches!(state, C::Active),
        OrderKind::Resume => matches!(state, C::Paused),
        // A channel that is still DELETING without an open order has something left over.
        OrderKind::Delete => !state.is_final(),
        OrderKind::RotateCredentials => matches!(state, C::Active | C::Updating | C::Paused | C::Suspended),
    }
}

/// Shows in the channel's state that an order is on its way.
async fn enter(
    tx: &mut Tx,
    channel: &Channel,
    kind: OrderKind,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<(), OrderError> {
    let to = match kind {
        OrderKind::Create | OrderKind::RotateCredentials => return Ok(()),
        OrderKind::Delete if channel.state == ChannelState::Deleting => return Ok(()),
        // In UPDATING the engine would run it.
        OrderKind::Change if channel.state == ChannelState::Paused => return Ok(()),
        OrderKind::Delete => ChannelState::Deleting,
        OrderKind::Change | OrderKind::Pause | OrderKind::Resume => ChannelState::Updating,
    };
    Ok(channels::transition(tx, channel.tenant, channel.id, &[channel.state], to, None, now).await?)
}

/// Ends an open order in favour of the delete order `by`; the worker may be moving it meanwhile.
async fn supersede_with(tx: &mut Tx, mut order: Order, by: OrderId, clock: &SharedClock) -> Result<(), OrderError> {
    while !order.state.is_final() {
        if supersede(tx, &order, clock.now()).await? {
            store::set_superseded_by(tx, order.tenant, order.id, by).await?;
            break;
        }
        order = get(tx, order.tenant, order.id).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    #[test]
    fn the_full_table_of_channel_states_and_orders_is_as_reviewed() {
        let mut table = String::new();
        for state in ChannelState::ALL {
            for kind in OrderKind::ALL {
                let answer = if takes(*state, kind) { "taken" } else { "refused" };
                writeln!(table, "{:<12} {:<18} {answer}", state.as_str(), kind.as_str()).unwrap();
            }
        }
        crate::snapshot::check("src/orders/takes.txt", &table);
    }
}
