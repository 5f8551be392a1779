//! Starts the product as a user would, as a process of its own, and talks to it over its APIs.
//!
//! The clients are the demo's own: they know nothing that a tenant's program could not know. What
//! to expect is computed by the tests, from the input.

pub mod platform;
pub mod records;
pub mod stage;

#[path = "../../../crates/headgate/src/demo/client.rs"]
pub mod client;
#[path = "../../../crates/headgate/src/demo/read.rs"]
pub mod read;
#[path = "../../../crates/headgate/src/demo/receiver.rs"]
pub mod receiver;
#[path = "../../../crates/headgate/src/demo/world.rs"]
pub mod world;

pub use client::ApiClient;
pub use platform::{Database, Options, Platform};
pub use stage::{PATIENCE, Stage, eventually, settled};
