//! Orders: what was asked for, how far it is, and what it may still become.

mod kind;
mod plan;
mod state;

pub use kind::OrderKind;
pub use plan::{Phase, StepName};
pub use state::{Ending, OrderState};
