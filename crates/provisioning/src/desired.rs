//! What is written into a channel's row on behalf of an order, each only when it differs: the
//! engine looks again whenever the row's version grows.

use headgate_catalog::CatalogError;
use headgate_catalog::channels::{self, Channel, ChannelSpec, History, Lanes, NewCondition};
use headgate_database::Tx;
use headgate_types::SharedClock;
use headgate_types::channel::{Binding, ConditionStatus, ConditionType};

/// The lanes of a running channel.
pub(crate) const fn running(spec: &ChannelSpec) -> Lanes {
    let backfill = match spec {
        ChannelSpec::In(_) => false,
        ChannelSpec::Out(spec) => matches!(spec.history, History::All),
    };
    Lanes { live: true, backfill }
}

pub(crate) async fn lanes(
    tx: &mut Tx,
    clock: &SharedClock,
    channel: &Channel,
    wanted: Lanes,
) -> Result<(), CatalogError> {
    channels::set_lanes(tx, channel.tenant, channel.id, wanted, clock.now()).await
}

pub(crate) async fn bind(
    tx: &mut Tx,
    clock: &SharedClock,
    channel: &Channel,
    binding: Option<&Binding>,
) -> Result<(), CatalogError> {
    if channel.binding.as_ref() == binding {
        return Ok(());
    }
    channels::set_binding(tx, channel.tenant, channel.id, binding, clock.now()).await
}

/// Writes a condition of which this crate is the observer.
pub(crate) async fn condition(
    tx: &mut Tx,
    clock: &SharedClock,
    channel: &Channel,
    condition: ConditionType,
    status: ConditionStatus,
    (reason, message): (&str, &str),
) -> Result<(), CatalogError> {
    let new = NewCondition { condition, status, reason, message };
    channels::set_condition(tx, channel.tenant, channel.id, new, clock.now()).await.map(drop)
}
