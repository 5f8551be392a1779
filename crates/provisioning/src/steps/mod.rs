//! What each step does. A step writes down what it is about to do (`prepare`), acts on the world
//! outside the database (`act`), and takes in what came of it (`settle`) in the transaction that
//! saves the order. Every part may be repeated after a crash.

mod change;
mod create;
mod credentials;
mod delete;
mod pause;
mod resource;
mod serve;

use std::time::Duration;

use headgate_database::{DbError, Tx};
use headgate_types::engine::{ChannelStatistics, EngineError};
use headgate_types::technology::TechnologyDescriptor;
use headgate_types::{Coded, ErrorKind};

use crate::driver::{Admission, DriverError, Ensured, Released};
use crate::error::OrderError;
use crate::failpoint::Killed;
use crate::orders::{Progress, StepName};
use crate::worker::Worker;
use crate::worker::turn::Turn;

/// What acting came to.
#[derive(Debug)]
pub(crate) enum Acted {
    /// The step only touches the database.
    Nothing,
    /// The driver was asked for the resource.
    Ensured(Ensured),
    /// The driver was asked to remove the resource.
    Released(Released),
    /// The engine described the channel's technology, and the driver let the client in.
    Admitted(Box<TechnologyDescriptor>, Admission),
    /// The engine counted what it delivered.
    Statistics(ChannelStatistics),
}

/// How far the step is.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is done.
    Done {
        /// What it came to, where that can be counted.
        progress: Option<Progress>,
    },
    /// It waits for something.
    Wait {
        /// When to look again.
        after: Duration,
        /// For what, for the order's owner.
        message: String,
        /// How far it is.
        progress: Option<Progress>,
    },
}

impl Outcome {
    const DONE: Self = Self::Done { progress: None };
}

/// Why a step could not be done.
#[derive(Debug)]
pub(crate) enum StepFailure {
    /// It may work later.
    Retry { message: String, after: Option<Duration> },
    /// It will not.
    Permanent { code: &'static str, message: String },
    /// A test ended the worker.
    Killed(Killed),
}

impl StepFailure {
    pub(crate) fn retry(message: impl Into<String>) -> Self {
        Self::Retry { message: message.into(), after: None }
    }

    pub(crate) fn permanent(code: &'static str, message: impl Into<String>) -> Self {
        Self::Permanent { code, message: message.into() }
    }
}

impl From<DriverError> for StepFailure {
    fn from(error: DriverError) -> Self {
        match error {
            DriverError::Retry { message, after } => Self::Retry { message, after },
            DriverError::Permanent { code, message } => Self::Permanent { code, message },
            DriverError::Killed(killed) => Self::Killed(killed),
        }
    }
}

impl From<EngineError> for StepFailure {
    fn from(error: EngineError) -> Self {
        Self::retry(error.to_string())
    }
}

impl From<OrderError> for StepFailure {
    fn from(error: OrderError) -> Self {
        match error.kind() {
            // The text may name statements or files, and the order's owner is a tenant.
            ErrorKind::Internal => {
                tracing::error!(%error, "a step failed on our side");
                Self::retry("the step failed on our side; it is tried again")
            }
            ErrorKind::Unavailable => Self::retry(error.to_string()),
            _ => Self::Permanent { code: error.code(), message: error.to_string() },
        }
    }
}

macro_rules! through_order_error {
    ($($error:ty),*) => {
        $(
            impl From<$error> for StepFailure {
                fn from(error: $error) -> Self {
                    OrderError::from(error).into()
                }
            }
        )*
    };
}

through_order_error!(
    DbError,
    headgate_access::AccessError,
    headgate_catalog::CatalogError,
    headgate_events::EventsError,
    crate::profiles::ProfilesError
);

impl Worker {
    /// Writes down what the step is about to do, in the transaction that leases it.
    pub(crate) async fn prepare(&self, tx: &mut Tx, turn: &Turn) -> Result<(), DbError> {
        match turn.step {
            StepName::Provision => self.prepare_provision(tx, turn).await,
            StepName::Release => self.prepare_release(tx, turn).await,
            StepName::Credentials | StepName::Rotate => self.prepare_admission(tx, turn).await,
            _ => Ok(()),
        }
    }

    /// Acts outside the database.
    pub(crate) async fn act(&self, turn: &Turn) -> Result<Acted, StepFailure> {
        match turn.step {
            StepName::Provision => self.act_provision(turn).await,
            StepName::Release => self.act_release(turn).await,
            StepName::Credentials | StepName::Rotate => self.act_credentials(turn).await,
            StepName::InitialLoad => self.act_initial_load(turn).await,
            StepName::Revoke => self.act_revoke(turn).await,
            _ => Ok(Acted::Nothing),
        }
    }

    /// Takes in what came of it, in the transaction that saves the order.
    pub(crate) async fn settle(&self, tx: &mut Tx, turn: &mut Turn, acted: Acted) -> Result<Outcome, StepFailure> {
        match turn.step {
            StepName::Validate => self.settle_validate(tx, turn).await,
            StepName::Provision => self.settle_provision(tx, turn, acted).await,
            StepName::Serve => self.settle_serve(tx, turn).await,
            StepName::Credentials => self.settle_credentials(tx, turn, acted).await,
            StepName::InitialLoad => self.settle_initial_load(tx, turn, acted).await,
            StepName::Live => self.settle_live(tx, turn).await,
            StepName::Publish => self.settle_publish(tx, turn).await,
            StepName::Ready => self.settle_ready(tx, turn).await,
            StepName::Apply => self.settle_apply(tx, turn).await,
            StepName::Restore => self.settle_restore(tx, turn).await,
            StepName::Finish => self.settle_finish(tx, turn).await,
            StepName::Stop => self.settle_stop(tx, turn).await,
            StepName::Revoke => self.settle_revoke(tx, turn).await,
            StepName::Drain => self.settle_drain(tx, turn).await,
            StepName::Release => self.settle_release(tx, turn, acted).await,
            StepName::Tombstone => self.settle_tombstone(tx, turn).await,
            StepName::Discard => self.settle_discard(tx, turn).await,
            StepName::Rotate => self.settle_rotate(tx, turn, acted).await,
        }
    }
}
