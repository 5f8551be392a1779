//! Provision and release: the steps that ask the driver.

use headgate_catalog::channels::ChannelSpec;
use headgate_database::{DbError, Tx};
use headgate_types::channel::{ConditionStatus, ConditionType};
use indexmap::IndexMap;
use serde_json::Value;

use super::{Acted, Outcome, StepFailure};
use crate::desired;
use crate::driver::{Ensured, Released, ResourceSpec};
use crate::orders::{Leftover, OrderRequest, Phase, PinnedSize};
use crate::resources::{ResourceState, store};
use crate::worker::Worker;
use crate::worker::turn::Turn;

/// The options of an output model that are about the resource itself, and the template's parameters for them.
const OPTIONS: [(&str, &str); 3] =
    [("ordered", "Ordered"), ("visibility_seconds", "VisibilitySeconds"), ("max_receives", "MaxReceives")];

/// Adds what the order's options say about the resource itself; a template without the parameter is not given it.
fn ordered_options(spec: &ChannelSpec, mut parameters: IndexMap<String, Value>) -> IndexMap<String, Value> {
    let ChannelSpec::Out(spec) = spec else { return parameters };
    let options = &spec.output_data_model.options;
    let ordered = OPTIONS.into_iter().filter_map(|(option, parameter)| Some((parameter, options.get(option)?)));
    parameters.extend(ordered.map(|(parameter, value)| (parameter.to_owned(), value.clone())));
    parameters
}

impl Worker {
    /// The intent is committed before the driver makes anything, so nothing it makes is unknown.
    pub(super) async fn prepare_provision(&self, tx: &mut Tx, turn: &Turn) -> Result<(), DbError> {
        let whose = (turn.order.tenant, turn.order.channel, turn.order.id);
        store::want(tx, whose, turn.driver_name(), self.parts.clock.now()).await
    }

    pub(super) async fn act_provision(&self, turn: &Turn) -> Result<Acted, StepFailure> {
        let wanted = Self::wanted_size(turn);
        let channel = &turn.channel;
        let offer = self.parts.profiles.offer(channel.direction, &channel.profile, &wanted.size);
        let (driver, client_principal) = (turn.driver()?, channel.spec.client_principal());
        if client_principal.is_some() && !driver.admits_clients() {
            let message = "channels of this profile are not held by a cloud here: leave client_principal out";
            return Err(StepFailure::permanent("client_principal_unsupported", message));
        }
        let spec = ResourceSpec {
            tenant: turn.order.tenant,
            channel: turn.order.channel,
            order: turn.order.id,
            attempt: u32::try_from(turn.attempts).unwrap_or(u32::MAX),
            direction: channel.direction,
            profile: channel.profile.clone(),
            size: wanted.size,
            revision: wanted.revision,
            limits: wanted.limits,
            // A size that is no longer offered still has its pinned limits.
            parameters: ordered_options(&channel.spec, offer.map(|offer| offer.parameters.clone()).unwrap_or_default()),
            client_principal: client_principal.map(str::to_owned),
        };
        Ok(Acted::Ensured(driver.ensure(&spec).await?))
    }

    /// The size the channel's resource shall have: the old one when a change is undone.
    fn wanted_size(turn: &Turn) -> PinnedSize {
        let present = || PinnedSize::present(&turn.channel);
        match (&turn.order.request, turn.order.phase) {
            (OrderRequest::Change(change), Phase::Do) => change.size.clone().unwrap_or_else(present),
            (OrderRequest::Change(_), Phase::Undo) => {
                turn.previous.as_ref().map_or_else(present, |previous| previous.size.clone())
            }
            _ => present(),
        }
    }

    pub(super) async fn settle_provision(
        &self,
        tx: &mut Tx,
        turn: &mut Turn,
        acted: Acted,
    ) -> Result<Outcome, StepFailure> {
        let binding = match acted {
            Acted::Ensured(Ensured::Ready(binding)) => binding,
            Acted::Ensured(Ensured::Pending { after, message, progress }) => {
                return Ok(Outcome::Wait { after, message, progress });
            }
            _ => return Err(StepFailure::retry("the driver gave no answer")),
        };
        let (clock, whose) = (&self.parts.clock, (turn.order.tenant, turn.order.channel));
        store::set(tx, whose, ResourceState::Present, Some(&binding.url), None, clock.now()).await?;
        desired::bind(tx, clock, &turn.channel, Some(&binding)).await?;
        let words = ("Provisioned", "the resource is there");
        let provisioned = ConditionType::Provisioned;
        desired::condition(tx, clock, &turn.channel, provisioned, ConditionStatus::True, words).await?;
        Ok(Outcome::DONE)
    }

    pub(super) async fn prepare_release(&self, tx: &mut Tx, turn: &Turn) -> Result<(), DbError> {
        let whose = (turn.order.tenant, turn.order.channel);
        store::set(tx, whose, ResourceState::Leaving, None, None, self.parts.clock.now()).await
    }

    pub(super) async fn act_release(&self, turn: &Turn) -> Result<Acted, StepFailure> {
        Ok(Acted::Released(turn.driver()?.release(turn.order.tenant, turn.order.channel).await?))
    }

    pub(super) async fn settle_release(
        &self,
        tx: &mut Tx,
        turn: &mut Turn,
        acted: Acted,
    ) -> Result<Outcome, StepFailure> {
        match acted {
            Acted::Released(Released::Gone) => {}
            Acted::Released(Released::Pending { after, message, progress }) => {
                return Ok(Outcome::Wait { after, message, progress });
            }
            _ => return Err(StepFailure::retry("the driver gave no answer")),
        }
        let (clock, whose) = (&self.parts.clock, (turn.order.tenant, turn.order.channel));
        store::set(tx, whose, ResourceState::Gone, None, None, clock.now()).await?;
        desired::bind(tx, clock, &turn.channel, None).await?;
        let words = ("Released", "the resource was removed");
        let provisioned = ConditionType::Provisioned;
        desired::condition(tx, clock, &turn.channel, provisioned, ConditionStatus::False, words).await?;
        Ok(Outcome::DONE)
    }

    /// The driver gave up removing: the order lists it and the sweep goes on.
    pub(crate) async fn leave_over(&self, tx: &mut Tx, turn: &mut Turn, reason: &str) -> Result<(), DbError> {
        let whose = (turn.order.tenant, turn.order.channel);
        store::set(tx, whose, ResourceState::LeftOver, None, Some(reason), self.parts.clock.now()).await?;
        let leftover =
            Leftover { driver: turn.driver_name().to_owned(), channel: turn.order.channel, reason: reason.to_owned() };
        if let Some(error) = &mut turn.order.error {
            error.leftovers.push(leftover);
        }
        Ok(())
    }
}
