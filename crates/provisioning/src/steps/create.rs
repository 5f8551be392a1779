//! Validate, publish and ready.

use headgate_access::tenants::{self, TenantState};
use headgate_catalog::elements::{self, ElementState};
use headgate_catalog::feeds;
use headgate_database::Tx;
use headgate_types::ElementId;
use headgate_types::channel::ChannelState;

use super::{Outcome, StepFailure};
use crate::announce;
use crate::orders::OrderKind;
use crate::worker::Worker;
use crate::worker::turn::Turn;

impl Worker {
    /// What was checked when the order was accepted may have changed while it waited.
    pub(super) async fn settle_validate(&self, tx: &mut Tx, turn: &mut Turn) -> Result<Outcome, StepFailure> {
        let tenant = tenants::get(tx, turn.order.tenant).await?;
        if tenant.state != TenantState::Active {
            return Err(StepFailure::permanent("tenant_suspended", "the tenant is not active"));
        }
        let state = turn.channel.state;
        let expected = match turn.order.kind() {
            OrderKind::Create => state == ChannelState::Provisioning,
            OrderKind::RotateCredentials => !state.is_final() && state != ChannelState::Deleting,
            // A change leaves a paused channel paused: in UPDATING the engine would run it.
            OrderKind::Change if turn.was_paused() => state == ChannelState::Paused,
            _ => state == ChannelState::Updating,
        };
        if !expected {
            let message = format!("the channel is {state} by now");
            return Err(StepFailure::permanent("channel_state", message));
        }
        if turn.order.kind() == OrderKind::Create {
            self.parts.profiles.profile(turn.channel.direction, &turn.channel.profile)?;
        }
        Ok(Outcome::DONE)
    }

    pub(super) async fn settle_publish(&self, tx: &mut Tx, turn: &mut Turn) -> Result<Outcome, StepFailure> {
        let now = self.parts.clock.now();
        for element in unpublished(tx, turn).await? {
            elements::publish(tx, turn.order.tenant, element, now).await?;
            announce::element_published(tx, &self.parts.clock, turn, element).await?;
        }
        Ok(Outcome::DONE)
    }

    pub(super) async fn settle_ready(&self, tx: &mut Tx, turn: &mut Turn) -> Result<Outcome, StepFailure> {
        announce::channel_ready(tx, &self.parts.clock, turn).await?;
        Ok(Outcome::DONE)
    }

    /// Elements that were to be born with the channel are given up with it, so that their names
    /// are free again.
    pub(super) async fn discard_elements(&self, tx: &mut Tx, turn: &Turn) -> Result<(), StepFailure> {
        let (tenant, channel) = (turn.order.tenant, turn.order.channel);
        let unborn = unpublished(tx, turn).await?;
        if unborn.is_empty() {
            return Ok(());
        }
        feeds::remove(tx, tenant, channel).await?;
        for element in unborn {
            // Another channel of the owner may have been ordered to write into it.
            if feeds::for_element(tx, tenant, element).await?.is_empty() {
                elements::remove(tx, tenant, element).await?;
            }
        }
        Ok(())
    }
}

/// The elements of the channel's feeds that nobody else can see yet.
async fn unpublished(tx: &mut Tx, turn: &Turn) -> Result<Vec<ElementId>, StepFailure> {
    let mut found = Vec::new();
    for feed in feeds::list(tx, turn.order.tenant, turn.order.channel).await? {
        let element = elements::get(tx, turn.order.tenant, feed.element).await?;
        if element.state == ElementState::Provisioning && !found.contains(&element.id) {
            found.push(element.id);
        }
    }
    Ok(found)
}
