//! Revoke, tombstone and discard.

use headgate_catalog::channels;
use headgate_database::Tx;
use headgate_types::channel::{ChannelState, ConditionStatus, ConditionType};

use super::{Acted, Outcome, StepFailure};
use crate::announce;
use crate::desired;
use crate::orders::Ending;
use crate::worker::Worker;
use crate::worker::turn::Turn;

impl Worker {
    /// A cloud lets clients in by itself, until it is told.
    pub(super) async fn act_revoke(&self, turn: &Turn) -> Result<Acted, StepFailure> {
        turn.driver()?.expel(turn.order.tenant, turn.order.channel).await?;
        Ok(Acted::Nothing)
    }

    /// First of all nobody can get in any more.
    pub(super) async fn settle_revoke(&self, tx: &mut Tx, turn: &mut Turn) -> Result<Outcome, StepFailure> {
        let clock = &self.parts.clock;
        self.parts.access.revoke_credentials(tx, turn.order.tenant, turn.order.channel).await?;
        let words = ("Revoked", "every credential was revoked");
        let issued = ConditionType::CredentialsIssued;
        desired::condition(tx, clock, &turn.channel, issued, ConditionStatus::False, words).await?;
        let words = ("Ending", "the channel is being removed");
        desired::condition(tx, clock, &turn.channel, ConditionType::Ready, ConditionStatus::False, words).await?;
        Ok(Outcome::DONE)
    }

    pub(super) async fn settle_tombstone(&self, tx: &mut Tx, turn: &mut Turn) -> Result<Outcome, StepFailure> {
        // A delete order may have superseded a create order.
        self.discard_elements(tx, turn).await?;
        let (clock, tenant, id) = (&self.parts.clock, turn.order.tenant, turn.order.channel);
        channels::transition(tx, tenant, id, &[ChannelState::Deleting], ChannelState::Deleted, None, clock.now())
            .await?;
        announce::channel_deleted(tx, clock, &turn.order, &turn.channel).await?;
        Ok(Outcome::DONE)
    }

    /// A create order that is undone leaves a channel that says why.
    pub(super) async fn settle_discard(&self, tx: &mut Tx, turn: &mut Turn) -> Result<Outcome, StepFailure> {
        self.discard_elements(tx, turn).await?;
        let (clock, tenant, id) = (&self.parts.clock, turn.order.tenant, turn.order.channel);
        let now = clock.now();
        let from = [ChannelState::Deleting];
        let reason = turn.channel.state_reason.as_deref();
        if turn.order.ending == Some(Ending::Cancelled) {
            channels::transition(tx, tenant, id, &from, ChannelState::Deleted, reason, now).await?;
            announce::channel_deleted(tx, clock, &turn.order, &turn.channel).await?;
        } else {
            channels::transition(tx, tenant, id, &from, ChannelState::Failed, reason, now).await?;
            announce::channel_failed(tx, clock, turn).await?;
        }
        Ok(Outcome::DONE)
    }
}
