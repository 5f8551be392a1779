//! Writes down how a step came out. The order's row is always written before its steps' rows, as
//! cancelling does, so that the two never wait for each other.

use headgate_database::Tx;

use super::backoff::backoff;
use super::turn::{Turn, delta};
use super::{Worker, WorkerError};
use crate::orders::advance::{self, Move, advance, position_of};
use crate::orders::store::{self, SaveStep};
use crate::orders::{Ending, Phase, Progress, StepName, StepState};
use crate::steps::{Outcome, StepFailure};

/// What a step's row gets to show.
#[derive(Debug)]
struct Shown<'a> {
    state: StepState,
    message: Option<&'a str>,
    progress: Option<&'a Progress>,
}

impl Worker {
    /// Shows the step as running, from the moment it is leased. False when it was cancelled or
    /// superseded between the read and the write.
    pub(super) async fn begin(&self, tx: &mut Tx, turn: &mut Turn) -> Result<bool, WorkerError> {
        let stay = Move::Stay { attempts: turn.attempts, run_at: self.parts.clock.now(), began: turn.began };
        if !turn.fresh {
            return Ok(advance(tx, &self.parts.clock, &mut turn.order, stay).await?);
        }
        self.go(tx, turn, stay, Shown { state: StepState::Running, message: None, progress: None }).await
    }

    /// Saves an outcome; false when the order was cancelled or superseded meanwhile.
    pub(super) async fn record(&self, tx: &mut Tx, turn: &mut Turn, outcome: Outcome) -> Result<bool, WorkerError> {
        let (to, state, message, progress) = match &outcome {
            Outcome::Done { progress } => {
                (Move::Next { position: position_of(&turn.order) + 1 }, StepState::Done, None, progress)
            }
            Outcome::Wait { after, message, progress } => {
                let run_at = self.parts.clock.now() + delta(*after);
                let stay = Move::Stay { attempts: turn.attempts, run_at, began: turn.began };
                (stay, StepState::Running, Some(message.as_str()), progress)
            }
        };
        self.go(tx, turn, to, Shown { state, message, progress: progress.as_ref() }).await
    }

    /// Saves a failed attempt: another one later, or the end of the order's way.
    pub(super) async fn record_failure(
        &self,
        tx: &mut Tx,
        turn: &mut Turn,
        failure: StepFailure,
    ) -> Result<bool, WorkerError> {
        let config = &self.parts.config;
        turn.attempts += 1;
        let (code, message, again) = match failure {
            StepFailure::Killed(killed) => return Err(killed.into()),
            StepFailure::Permanent { code, message } => (code, message, None),
            StepFailure::Retry { message, after } => {
                let wait = backoff(config.retry_base, config.retry_cap, turn.attempts - 1, rand::random());
                ("step_failed", message, Some(after.unwrap_or_default().max(wait)))
            }
        };
        tracing::warn!(order = %turn.order.id, channel = %turn.order.channel, step = %turn.step,
            attempts = turn.attempts, code, message, "a step of an order failed");
        let tries_left = turn.attempts < i64::from(config.max_attempts);
        if let Some(wait) = again.filter(|_| tries_left) {
            let run_at = self.parts.clock.now() + delta(wait);
            let stay = Move::Stay { attempts: turn.attempts, run_at, began: turn.began };
            let shown = Shown { state: StepState::Running, message: Some(&message), progress: None };
            return self.go(tx, turn, stay, shown).await;
        }
        self.give_up(tx, turn, code, &message).await
    }

    /// The step will not be done. Going forward, the order turns back; turning back, it goes on
    /// with what can be undone and lists the rest.
    async fn give_up(&self, tx: &mut Tx, turn: &mut Turn, code: &str, message: &str) -> Result<bool, WorkerError> {
        let undoing = turn.order.phase == Phase::Undo;
        if !undoing || turn.step == StepName::Release {
            advance::blame(&mut turn.order, turn.step, code, message);
        }
        if turn.step == StepName::Release {
            self.leave_over(tx, turn, message).await?;
        }
        let to =
            if undoing { Move::Next { position: position_of(&turn.order) + 1 } } else { Move::Undo(Ending::Failed) };
        self.go(tx, turn, to, Shown { state: StepState::Failed, message: Some(message), progress: None }).await
    }

    async fn go(&self, tx: &mut Tx, turn: &mut Turn, to: Move, shown: Shown<'_>) -> Result<bool, WorkerError> {
        let (tenant, id) = (turn.order.tenant, turn.order.id);
        let at = (turn.order.phase, turn.step);
        if !advance(tx, &self.parts.clock, &mut turn.order, to).await? {
            return Ok(false);
        }
        let Shown { state, message, progress } = shown;
        let save = SaveStep { state, attempts: turn.attempts, message, progress, now: self.parts.clock.now() };
        store::save_step(tx, tenant, id, at, save).await?;
        Ok(true)
    }
}
