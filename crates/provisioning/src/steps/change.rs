//! Apply and restore: the new spec, and the old one again.

use headgate_catalog::channels::{self, SpecChange};
use headgate_database::Tx;

use super::{Outcome, StepFailure};
use crate::orders::{OrderRequest, PinnedSize};
use crate::worker::Worker;
use crate::worker::turn::Turn;

impl Worker {
    pub(super) async fn settle_apply(&self, tx: &mut Tx, turn: &mut Turn) -> Result<Outcome, StepFailure> {
        let OrderRequest::Change(change) = &turn.order.request else { return Ok(Outcome::DONE) };
        let change = SpecChange {
            name: change.name.clone(),
            spec: change.spec.clone(),
            size: change.size.clone().map(Into::into),
        };
        let now = self.parts.clock.now();
        channels::apply_spec(tx, turn.order.tenant, turn.order.channel, &change, None, now).await?;
        Ok(Outcome::DONE)
    }

    pub(super) async fn settle_restore(&self, tx: &mut Tx, turn: &mut Turn) -> Result<Outcome, StepFailure> {
        let Some(previous) = turn.previous.clone() else { return Ok(Outcome::DONE) };
        let channel = &turn.channel;
        let unchanged = channel.name == previous.name
            && channel.spec == previous.spec
            && PinnedSize::present(channel) == previous.size;
        if !unchanged {
            let change =
                SpecChange { name: Some(previous.name), spec: Some(previous.spec), size: Some(previous.size.into()) };
            channels::apply_spec(tx, channel.tenant, channel.id, &change, None, self.parts.clock.now()).await?;
        }
        Ok(Outcome::DONE)
    }
}
