//! The lake: landing zone, element log, Delta tables.
//!
//! Owns its files under one directory: raw payloads until they are conformed (`landing/`), the
//! newest commits of every element (`log/`), and per element the Delta tables everything older
//! lives in (`tables/`). A reader of a range never needs to know which of the two holds it.
//!
//! Called by the engine: ingest lands and appends, delivery scans. The binary runs the writer that
//! rolls the log into Delta.
//!
//! Never knows tenants' names, channels' settings or prices; never decides what a record means.

mod batch;
mod committer;
mod config;
mod delta;
mod durable;
mod error;
mod extent;
#[cfg(test)]
mod figures;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
#[path = "../../../tests/fuzz/mod.rs"]
mod fuzz;
mod keys;
#[cfg(test)]
mod kill;
mod lake;
mod landing;
mod layout;
mod log;
mod poison;
#[cfg(test)]
mod power;
#[cfg(test)]
#[path = "../../../tests/power_cut/mod.rs"]
mod power_cut;
mod reserve;
mod scan;
mod snapshot;
mod sqlite;
mod writer;

pub use batch::LakeBatch;
pub use config::LakeConfig;
pub use delta::parquet_properties;
pub use error::{LakeError, Result};
pub use extent::Extent;
pub use lake::Lake;
pub use landing::{Body, Checkpoint, Landed, Landing, LandingUsage, NewPayload, Payload, Share, StoredBody};
pub use layout::{
    BEFORE, ElementLayout, INGESTED_AT, OFFSET, OP, adapt, arrow_schema, arrow_type, declared_fields, is_keyed,
    log_schema,
};
pub use log::{Appended, Fenced, Log, LogExtent, NewCommit, Position, SideEntry};
pub use sqlite::give_back;
pub use writer::LakeWriter;
