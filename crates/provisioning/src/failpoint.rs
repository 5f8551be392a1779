//! Places where a test ends the worker, as a crash would.

use std::fmt::Debug;
use std::sync::Arc;

use crate::driver::{cloudformation, embedded};
use crate::orders::{Phase, StepName};

/// When, within the turn of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Moment {
    /// The order is leased and what the step is about to do is written down.
    Claimed,
    /// The step has acted on the world outside the database.
    Acted,
    /// The outcome is in the open transaction.
    Settled,
    /// The outcome is committed; the lease is still held.
    Saved,
}

impl Moment {
    /// Every moment, in order.
    pub const ALL: [Self; 4] = [Self::Claimed, Self::Acted, Self::Settled, Self::Saved];
}

/// A place where the worker can be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failpoint {
    /// Around a step.
    Step(Phase, StepName, Moment),
    /// After one side effect of the embedded driver.
    Effect(embedded::Effect),
    /// After one side effect of the CloudFormation driver.
    Stack(cloudformation::Effect),
}

impl Failpoint {
    /// Every place there is, made from the lists of steps and effects so that a new one is
    /// exercised without anybody naming it.
    pub fn all() -> impl Iterator<Item = Self> {
        let steps = Phase::ALL.into_iter().flat_map(|phase| {
            StepName::ALL
                .iter()
                .flat_map(move |step| Moment::ALL.into_iter().map(move |moment| Self::Step(phase, *step, moment)))
        });
        let made = embedded::Effect::ALL.iter().map(|effect| Self::Effect(*effect));
        steps.chain(made).chain(cloudformation::Effect::ALL.iter().map(|effect| Self::Stack(*effect)))
    }
}

/// The worker was ended at a failpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("killed at {0:?}")]
pub struct Killed(pub Failpoint);

/// Decides whether the worker ends here.
pub trait Failpoints: Debug + Send + Sync {
    /// Called at every failpoint.
    ///
    /// # Errors
    /// [`Killed`] ends the worker on the spot: open transactions are dropped, leases stay.
    fn reach(&self, at: Failpoint) -> Result<(), Killed>;
}

/// Shared by the worker and its driver.
pub type SharedFailpoints = Arc<dyn Failpoints>;

/// Outside of this crate's tests: the process itself ends where [`headgate_types::failpoint`] says, which in a release is
/// nowhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFailpoints;

impl NoFailpoints {
    /// Ready to be shared.
    #[must_use]
    pub fn shared() -> SharedFailpoints {
        Arc::new(Self)
    }
}

impl Failpoints for NoFailpoints {
    fn reach(&self, at: Failpoint) -> Result<(), Killed> {
        use headgate_types::Failpoint as Place;
        headgate_types::reach(match at {
            Failpoint::Step(_, _, Moment::Claimed) => Place::OrderClaimed,
            Failpoint::Step(_, _, Moment::Acted) => Place::OrderActed,
            Failpoint::Step(_, _, Moment::Settled) => Place::OrderSettled,
            Failpoint::Step(_, _, Moment::Saved) => Place::OrderSaved,
            Failpoint::Effect(_) | Failpoint::Stack(_) => Place::DriverActed,
        });
        Ok(())
    }
}
