//! Stop, start and finish.

use headgate_catalog::channels;
use headgate_database::Tx;
use headgate_types::channel::{ChannelState, ConditionStatus, ConditionType};

use super::{Outcome, StepFailure};
use crate::announce;
use crate::desired;
use crate::orders::{OrderKind, Phase};
use crate::worker::Worker;
use crate::worker::turn::Turn;

impl Worker {
    pub(super) async fn settle_stop(&self, tx: &mut Tx, turn: &mut Turn) -> Result<Outcome, StepFailure> {
        desired::ask_anew(tx, &self.parts.clock, &turn.channel, ConditionType::Drained).await?;
        desired::lanes(tx, &self.parts.clock, &turn.channel, desired::STOPPED).await?;
        Ok(Outcome::DONE)
    }

    pub(super) async fn settle_start(&self, tx: &mut Tx, turn: &mut Turn) -> Result<Outcome, StepFailure> {
        desired::ask_anew(tx, &self.parts.clock, &turn.channel, ConditionType::Drained).await?;
        desired::lanes(tx, &self.parts.clock, &turn.channel, desired::running(&turn.channel.spec)).await?;
        Ok(Outcome::DONE)
    }

    /// An update ends where the order leads, or where it began.
    pub(super) async fn settle_finish(&self, tx: &mut Tx, turn: &mut Turn) -> Result<Outcome, StepFailure> {
        let before = turn.previous.as_ref().map_or(ChannelState::Active, |previous| previous.state);
        let to = match (turn.order.phase, turn.order.kind()) {
            (Phase::Do, OrderKind::Pause) => ChannelState::Paused,
            (Phase::Do, OrderKind::Resume) => ChannelState::Active,
            _ => before,
        };
        let (clock, tenant, id) = (&self.parts.clock, turn.order.tenant, turn.order.channel);
        let reason = (to == ChannelState::Paused).then_some("paused by its tenant");
        channels::transition(tx, tenant, id, &[ChannelState::Updating], to, reason, clock.now()).await?;
        let (status, words) = if to == ChannelState::Active {
            (ConditionStatus::True, ("Ready", "the channel is in use"))
        } else {
            (ConditionStatus::False, ("Paused", "the channel is paused"))
        };
        desired::condition(tx, clock, &turn.channel, ConditionType::Ready, status, words).await?;
        if turn.order.phase == Phase::Do {
            turn.channel.state = to;
            announce::channel_updated(tx, clock, turn).await?;
        }
        Ok(Outcome::DONE)
    }
}

impl Turn {
    /// Whether the channel was paused when the order was placed.
    pub(super) fn was_paused(&self) -> bool {
        self.previous.as_ref().is_some_and(|previous| previous.state == ChannelState::Paused)
    }
}
