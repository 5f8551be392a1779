//! Steps that wait for the engine.

use std::time::Duration;

use headgate_access::tenants::{self, TenantState};
use headgate_catalog::channels::{self, ChannelSpec, Condition, History};
use headgate_database::Tx;
use headgate_types::channel::{ChannelState, ConditionStatus, ConditionType, Lane};

use super::{Acted, Outcome, StepFailure};
use crate::desired;
use crate::orders::{OrderKind, Phase, Progress};
use crate::worker::Worker;
use crate::worker::turn::{Turn, delta};

impl Worker {
    pub(super) async fn settle_serve(&self, tx: &mut Tx, turn: &mut Turn) -> Result<Outcome, StepFailure> {
        if turn.was_paused() && turn.order.kind() == OrderKind::Change {
            // The engine takes the new spec up when the channel is resumed.
            return Ok(Outcome::DONE);
        }
        desired::lanes(tx, &self.parts.clock, &turn.channel, desired::running(&turn.channel.spec)).await?;
        let conditions = self.conditions(tx, turn).await?;
        let observed = turn.channel.observed_generation >= turn.channel.generation;
        // A refusal may be that of an earlier spec.
        if let Some(refused) = find(&conditions, ConditionType::SchemaCompatible)
            && refused.status == ConditionStatus::False
            && (observed || refused.last_transition_time >= turn.began)
        {
            return Err(StepFailure::permanent("schema_incompatible", refused.message.clone()));
        }
        if holds(&conditions, ConditionType::Serving) && observed {
            return Ok(Outcome::DONE);
        }
        let seen = find(&conditions, ConditionType::Serving).map(|condition| condition.message.as_str());
        if self.parts.clock.now() - turn.began >= delta(self.parts.config.serve_deadline) {
            let seen = seen.unwrap_or("it said nothing");
            let message = format!("the engine did not open the channel in time: {seen}");
            return Err(StepFailure::permanent("engine_timeout", message));
        }
        Ok(self.wait(turn, seen.unwrap_or("the engine opens the channel"), None))
    }

    pub(super) async fn act_initial_load(&self, turn: &Turn) -> Result<Acted, StepFailure> {
        Ok(Acted::Statistics(self.parts.engine.channel_statistics(turn.order.channel).await?))
    }

    /// Takes as long as it takes: the channel's size, timing and quota decide. It can be cancelled.
    pub(super) async fn settle_initial_load(
        &self,
        tx: &mut Tx,
        turn: &mut Turn,
        acted: Acted,
    ) -> Result<Outcome, StepFailure> {
        if !matches!(&turn.channel.spec, ChannelSpec::Out(spec) if spec.history == History::All) {
            return Ok(Outcome::DONE);
        }
        let (progress, trouble) = match acted {
            Acted::Statistics(statistics) => {
                let history = || statistics.flows.iter().filter(|flow| flow.lane == Lane::Backfill);
                let done = history().map(|flow| flow.records).sum::<u64>();
                // How much there is stays unsaid where a grant withholds some of it.
                let behind = history().map(|flow| flow.lag_records).sum::<Option<u64>>();
                let progress = Progress { done, total: behind.map(|behind| done + behind), unit: "records".to_owned() };
                (Some(progress), statistics.last_error)
            }
            _ => (None, None),
        };
        let conditions = self.conditions(tx, turn).await?;
        if holds(&conditions, ConditionType::InitialLoadComplete) {
            return Ok(Outcome::Done { progress });
        }
        let said = find(&conditions, ConditionType::InitialLoadComplete).map(|condition| condition.message.clone());
        let message = trouble.or(said);
        Ok(self.wait(turn, message.as_deref().unwrap_or("the history is being delivered"), progress))
    }

    pub(super) async fn settle_live(&self, tx: &mut Tx, turn: &mut Turn) -> Result<Outcome, StepFailure> {
        let conditions = self.conditions(tx, turn).await?;
        let flows = match turn.channel.spec {
            // A data-in channel that serves takes payloads; there is nothing else to wait for.
            ChannelSpec::In(_) => holds(&conditions, ConditionType::Serving),
            // A used-up quota or a receiver that is away is no reason to call the channel unfinished.
            ChannelSpec::Out(_) => find(&conditions, ConditionType::Syncing)
                .is_some_and(|condition| condition.status != ConditionStatus::Unknown),
        };
        if !flows {
            return Ok(self.wait(turn, "the engine starts the flow of new records", None));
        }
        // A suspension stops the channels it finds running; this one is about to be.
        if tenants::hold(tx, turn.order.tenant).await?.is_none_or(|tenant| tenant.state != TenantState::Active) {
            return Ok(self.wait(turn, "the tenant is suspended; the channel is ready once it is released", None));
        }
        let (clock, channel) = (&self.parts.clock, &turn.channel);
        let (tenant, id) = (channel.tenant, channel.id);
        let from = [ChannelState::Provisioning];
        channels::transition(tx, tenant, id, &from, ChannelState::Active, None, clock.now()).await?;
        let words = ("Ready", "the channel is in use");
        desired::condition(tx, clock, channel, ConditionType::Ready, ConditionStatus::True, words).await?;
        Ok(Outcome::DONE)
    }

    pub(super) async fn settle_drain(&self, tx: &mut Tx, turn: &mut Turn) -> Result<Outcome, StepFailure> {
        if turn.channel.binding.is_none() {
            // The engine never had anything to open.
            return Ok(Outcome::DONE);
        }
        let conditions = self.conditions(tx, turn).await?;
        let pausing = turn.order.kind() == OrderKind::Pause;
        let drained = if pausing {
            !holds(&conditions, ConditionType::Syncing)
        } else {
            holds(&conditions, ConditionType::Drained)
        };
        if drained {
            return Ok(Outcome::DONE);
        }
        let waited = self.parts.clock.now() - turn.began;
        let undoing = turn.order.phase == Phase::Undo;
        if (undoing || pausing) && waited >= delta(self.parts.config.drain_deadline) {
            // Nobody was told of a channel that is undone, so nothing that is in flight matters to
            // anybody; a channel that is PAUSED is held by its state, sooner or later.
            return Ok(Outcome::DONE);
        }
        let message = find(&conditions, ConditionType::Drained).map(|condition| condition.message.clone());
        Ok(self.wait(turn, message.as_deref().unwrap_or("what is in flight comes to its end"), None))
    }

    async fn conditions(&self, tx: &mut Tx, turn: &Turn) -> Result<Vec<Condition>, StepFailure> {
        Ok(channels::conditions(tx, turn.order.tenant, turn.order.channel).await?)
    }

    /// Looks often while a step is young and less often later.
    fn wait(&self, turn: &Turn, message: &str, progress: Option<Progress>) -> Outcome {
        let waited = (self.parts.clock.now() - turn.began).to_std().unwrap_or_default();
        let after = (waited / 4).clamp(Duration::from_millis(100), Duration::from_secs(2));
        Outcome::Wait { after, message: message.to_owned(), progress }
    }
}

fn find(conditions: &[Condition], wanted: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.condition == wanted)
}

fn holds(conditions: &[Condition], wanted: ConditionType) -> bool {
    find(conditions, wanted).is_some_and(|condition| condition.status == ConditionStatus::True)
}
