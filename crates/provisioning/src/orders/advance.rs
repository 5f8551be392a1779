//! Moves an order on: the one place that turns an event into rows.

use chrono::{DateTime, Utc};
use headgate_database::Tx;
use headgate_types::SharedClock;

use super::order::{Order, OrderFailure};
use super::plan::{Phase, StepName, plan};
use super::state::{Ending, OrderEvent, OrderState, Standing};
use super::store::{self, Save};
use crate::announce;
use crate::error::OrderError;

impl Order {
    /// What the state machine looks at.
    pub(crate) const fn standing(&self) -> Standing {
        Standing { state: self.state, ending: self.ending }
    }
}

/// Where an order goes next.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Move {
    /// The step stays; it is looked at again at a time.
    Stay {
        /// Failed attempts so far.
        attempts: i64,
        /// When to look again.
        run_at: DateTime<Utc>,
        /// When the step began.
        began: DateTime<Utc>,
    },
    /// The step at this position follows.
    Next {
        /// Its position in the phase.
        position: i64,
    },
    /// The order is turned back.
    Undo(Ending),
}

/// Moves an order that was read as `order` (with what the step wrote into `result` and `error`)
/// and announces its end, all in `tx`. False when it was cancelled or superseded meanwhile; then
/// nothing of `tx` may be committed.
pub(crate) async fn advance(tx: &mut Tx, clock: &SharedClock, order: &mut Order, to: Move) -> Result<bool, OrderError> {
    let now = clock.now();
    let from = order.standing();
    let (mut event, phase, mut position, attempts, run_at, began) = match to {
        Move::Stay { attempts, run_at, began } => {
            let position = position_of(order);
            (OrderEvent::TakenUp, order.phase, position, attempts, run_at, Some(began))
        }
        Move::Next { position } => (OrderEvent::StepDone, order.phase, position, 0, now, None),
        Move::Undo(ending) => {
            let event = match ending {
                Ending::Failed => OrderEvent::StepFailed,
                Ending::Cancelled => OrderEvent::Cancelled,
            };
            (event, Phase::Undo, 0, 0, now, None)
        }
    };
    let steps = plan(order.kind(), order.direction, phase);
    let mut standing = allowed(from, event)?;
    let step = usize::try_from(position).ok().and_then(|at| steps.get(at)).copied();
    if step.is_none() {
        // A phase without (further) steps is over at once.
        if !matches!(to, Move::Undo(_)) {
            standing = from;
        }
        event = OrderEvent::PhaseDone;
        standing = allowed(standing, event)?;
        position = i64::try_from(steps.len()).unwrap_or(i64::MAX);
    }
    let saved = store::save(
        tx,
        Save {
            tenant: order.tenant,
            id: order.id,
            from,
            from_step: (order.phase, order.step),
            to: standing,
            phase,
            position,
            step,
            result: &order.result,
            error: order.error.as_ref(),
            attempts,
            run_at,
            step_started_at: began,
            now,
        },
    )
    .await?;
    if !saved {
        return Ok(false);
    }
    if matches!(to, Move::Undo(_)) {
        store::skip_steps(tx, order.tenant, order.id, Phase::Do).await?;
        store::insert_steps(tx, order.tenant, order.id, Phase::Undo, steps).await?;
    }
    order.state = standing.state;
    order.ending = standing.ending;
    order.phase = phase;
    order.step = step;
    order.updated_at = now;
    order.finished_at = standing.state.is_final().then_some(now);
    if standing.state.is_final() {
        announce::order_ended(tx, clock, order).await?;
    }
    Ok(true)
}

/// Ends an order whose place a delete order takes. Its channel is undone by that order.
pub(crate) async fn supersede(tx: &mut Tx, order: &Order, now: DateTime<Utc>) -> Result<bool, OrderError> {
    let to = allowed(order.standing(), OrderEvent::Superseded)?;
    let saved = store::save(
        tx,
        Save {
            tenant: order.tenant,
            id: order.id,
            from: order.standing(),
            from_step: (order.phase, order.step),
            to,
            phase: order.phase,
            position: position_of(order),
            step: None,
            result: &order.result,
            error: order.error.as_ref(),
            attempts: 0,
            run_at: now,
            step_started_at: None,
            now,
        },
    )
    .await?;
    if saved {
        store::skip_steps(tx, order.tenant, order.id, order.phase).await?;
    }
    Ok(saved)
}

fn allowed(from: Standing, event: OrderEvent) -> Result<Standing, OrderError> {
    from.after(event).ok_or(OrderError::Finished(from.state))
}

/// The position of the step an order is at.
pub(crate) fn position_of(order: &Order) -> i64 {
    let steps = plan(order.kind(), order.direction, order.phase);
    let at = order.step.and_then(|step: StepName| steps.iter().position(|planned| *planned == step));
    at.and_then(|at| i64::try_from(at).ok()).unwrap_or_default()
}

/// Adds to the reason of a failure, keeping the first: it is the cause.
pub(crate) fn blame(order: &mut Order, step: StepName, code: &str, detail: &str) {
    if order.error.is_none() && order.state != OrderState::Succeeded {
        order.error =
            Some(OrderFailure { code: code.to_owned(), detail: detail.to_owned(), step, leftovers: Vec::new() });
    }
}
