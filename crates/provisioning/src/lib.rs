//! Orders and what they make real: the state machine, the worker that carries orders out one step
//! at a time, drivers, and the profiles that say what can be ordered.
//!
//! Owns the tables `orders`, `order_steps`, `resources` and `order_leases`. `control-api` places
//! orders inside its own transaction and wakes the worker after the commit; the binary runs
//! [`Worker`], [`Sweep`] and [`ChannelHours`]. It never sees records, HTTP or a technology's code: the engine is
//! reached through the channel's row in the catalog (binding, lanes, conditions) and through
//! [`headgate_types::engine::Engine`].

mod announce;
mod desired;
pub mod driver;
mod endpoint;
mod error;
pub mod failpoint;
#[cfg(test)]
#[path = "../../../tests/fuzz/mod.rs"]
mod fuzz;
mod hours;
pub mod orders;
pub mod profiles;
mod resources;
#[cfg(test)]
mod snapshot;
mod steps;
mod suspend;
#[cfg(test)]
mod tests;
pub mod worker;

pub use announce::events;
pub use driver::cloudformation::{CloudFormationDriver, CloudFormationSettings};
pub use driver::embedded::EmbeddedDriver;
pub use driver::{Driver, DriverError, Drivers};
pub use endpoint::{ChannelEndpoint, ChannelStream, CloudEndpoint};
pub use error::OrderError;
pub use hours::ChannelHours;
pub use profiles::Profiles;
pub use resources::Sweep;
pub use suspend::{release_channels, suspend_channels};
pub use worker::{Turned, Worker, WorkerConfig, WorkerError, WorkerParts};
