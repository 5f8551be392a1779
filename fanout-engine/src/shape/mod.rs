//! Shaping: which records of an element a channel gets, and what they look like.
//!
//! A [`Plan`] is a compiled scope: policy, row filter, columns and output model over one version
//! of one element's schema. It is evaluated once per range of the log and encoded once, whoever
//! asks ([`PlanCache`]); sinks share the result by reference. The delivery loop and the check of
//! an order call it; it never knows channels, targets or prices.

mod cache;
mod canonical;
mod constants;
mod encoded;
mod evaluate;
mod expression;
mod filter;
mod functions;
#[cfg(test)]
mod fuzzed;
mod identity;
mod images;
mod literal;
mod output;
mod plan;
mod preview;
mod routing;
mod transition;
mod types;

#[cfg(test)]
mod properties;
#[cfg(test)]
pub(crate) mod testing;

pub use cache::PlanCache;
pub use canonical::{write_string, write_value};
pub use encoded::Encoded;
pub use filter::Filter;
pub use identity::{FilterId, PlanId, RecordId};
pub use output::OutputColumn;
pub use plan::{Plan, PlanInput};
pub use preview::{Looking, check_scope};
pub use routing::{Candidates, Routed, Routes, Snapshot};
pub use transition::{Shaped, Transition};
pub use types::{date_text, timestamp_text};

/// Why a range could not be shaped. A value never causes it: an expression without a value for a
/// record is null, and an unknown predicate does not match.
#[derive(Debug, thiserror::Error)]
pub enum ShapeError {
    /// The batch does not have the columns of the schema the plan was compiled for.
    #[error("the batch does not fit the plan: {0}")]
    Batch(String),
    /// The columnar engine failed.
    #[error("failed to evaluate a plan: {0}")]
    Evaluate(#[from] arrow::error::ArrowError),
    /// The lake could not be read.
    #[error("failed to read the lake: {0}")]
    Lake(String),
    /// The task that shaped the range ended before its time.
    #[error("shaping records crashed, which is a fault of Headgate, or the process ends")]
    Interrupted,
}
