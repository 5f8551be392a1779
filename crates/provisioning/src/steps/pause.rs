//! Stop and finish.

use headgate_catalog::channels;
use headgate_database::Tx;
use headgate_types::channel::{ChannelState, ConditionStatus, ConditionType};

use super::{Outcome, StepFailure};
use crate::announce;
use crate::desired;
use crate::orders::{OrderKind, Phase};
use crate::worker::Worker;
use crate::worker::turn::Turn;

const PAUSED: &str = "paused by its tenant";

impl Worker {
    /// The engine goes by the channel's state: it holds a PAUSED channel and closes a DELETING one.
    pub(super) async fn settle_stop(&self, tx: &mut Tx, turn: &mut Turn) -> Result<Outcome, StepFailure> {
        let undoing = turn.order.phase == Phase::Undo;
        let reason = if undoing { undone_because(turn) } else { PAUSED.to_owned() };
        let (from, to) = if undoing {
            (ChannelState::Provisioning, ChannelState::Deleting)
        } else {
            (ChannelState::Updating, ChannelState::Paused)
        };
        let (tenant, id, now) = (turn.order.tenant, turn.order.channel, self.parts.clock.now());
        channels::transition(tx, tenant, id, &[from], to, Some(&reason), now).await?;
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
        let from = turn.channel.state;
        let (clock, tenant, id) = (&self.parts.clock, turn.order.tenant, turn.order.channel);
        // A channel that the platform suspended meanwhile stays suspended.
        if from != to && from != ChannelState::Suspended {
            let reason = (to == ChannelState::Paused).then_some(PAUSED);
            channels::transition(tx, tenant, id, &[from], to, reason, clock.now()).await?;
            turn.channel.state = to;
        }
        let (status, words) = match turn.channel.state {
            ChannelState::Active => (ConditionStatus::True, ("Ready", "the channel is in use")),
            ChannelState::Paused => (ConditionStatus::False, ("Paused", PAUSED)),
            _ => (ConditionStatus::False, ("Suspended", "the platform stopped the channel")),
        };
        desired::condition(tx, clock, &turn.channel, ConditionType::Ready, status, words).await?;
        if turn.order.phase == Phase::Do {
            announce::channel_updated(tx, clock, turn).await?;
        }
        Ok(Outcome::DONE)
    }
}

/// Why a channel that was to be made is taken back.
fn undone_because(turn: &Turn) -> String {
    let error = turn.order.error.as_ref().map(|error| error.detail.clone());
    error.unwrap_or_else(|| "its order was cancelled".to_owned())
}

impl Turn {
    /// Whether the channel was paused when the order was placed.
    pub(super) fn was_paused(&self) -> bool {
        self.previous.as_ref().is_some_and(|previous| previous.state == ChannelState::Paused)
    }
}
