//! Orders and what they make real: the state machine, the worker that carries orders out one step
//! at a time, drivers, and the profiles that say what can be ordered.
//!
//! Owns the tables `orders`, `order_steps`, `resources` and `order_leases`. `control-api` creates
//! orders inside its own transaction; the binary runs the [`Worker`]. It never sees records, HTTP
//! or a technology's code: the engine is reached through the channel's row in the catalog (lanes,
//! conditions) and through [`headgate_types::engine::Engine`].

pub mod driver;
pub mod failpoint;
pub mod orders;
pub mod profiles;
#[cfg(test)]
mod snapshot;

pub use driver::embedded::EmbeddedDriver;
pub use driver::{Driver, DriverError};
pub use profiles::Profiles;
