//! The data plane: what happens to a record between a source's `202` and its arrival in every
//! channel that ordered it.
//!
//! Owns conforming payloads into records (`conform`, `ingest`), the current rows of entities
//! (`projection`), shaping (`shape`), delivery (`delivery`), one folder per channel profile
//! (`technology`), the data listener and the engine's internal API. Its tables are
//! `ingest_cursor`, `receipts`, `dead_letters`, `flows`, `quota_spent` and `refused_deliveries`, in the data
//! database; projections are files.
//!
//! The binary starts it; the control plane asks it through `headgate_types::engine::Engine` only.
//!
//! Never knows orders, templates or the control API; never writes a catalog row other than what it
//! observes of a channel.

pub mod addresses;
#[cfg(test)]
#[path = "../../tests/aws/account.rs"]
mod aws_account;
mod calls;
pub mod cloud;
pub mod conform;
mod dead_letters;
pub mod delivery;
mod engine;
mod erasure;
mod error;
mod events;
#[cfg(test)]
#[path = "../../tests/fuzz/mod.rs"]
mod fuzz;
#[cfg(test)]
mod fuzzed;
pub mod ingest;
pub mod internal;
pub mod listener;
mod passes;
#[cfg(test)]
#[path = "../../tests/power_cut/mod.rs"]
mod power_cut;
pub mod projection;
pub mod runtime;
pub mod shape;
mod sqlite;
pub mod statistics;
pub mod technology;
mod tenant_quotas;
pub mod units;

pub use engine::{Engine, EngineConfig, EngineDeps, books};
pub use error::EngineFault;
pub use events::events;
pub use tenant_quotas::TenantQuotas;
