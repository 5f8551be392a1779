//! Orders: what was asked for, how far it is, and what it may still become.

pub(crate) mod advance;
mod cancel;
mod create;
mod kind;
mod order;
pub(crate) mod plan;
mod read;
mod request;
pub(crate) mod state;
pub(crate) mod store;

pub use cancel::cancel;
pub use create::{NewOrder, create};
pub use kind::OrderKind;
pub use order::{IssuedCredential, Leftover, Order, OrderFailure, OrderResult, OrderStep, Progress, StepState};
pub use plan::{Phase, StepName};
pub use read::{OrderFilter, get, list, list_all};
pub(crate) use request::Previous;
pub use request::{ChannelChange, OrderRequest, PinnedSize};
pub use state::{Ending, OrderState};
