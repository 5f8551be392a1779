//! Delivery: one flow per channel, element and lane, from the lake into the channel's resource.
//!
//! A flow pulls from its own cursor, is told by the [`Router`] which commits concern it while it keeps
//! up, shapes through the shared plan cache, and is driven by its channel's [`Worker`], which knows the size's limits, the quota, the timing, retries and the
//! books. Technologies are called through `technology::Sink` only; lake and catalog never call
//! back. A slow channel costs its own worker's time.

mod accounts;
mod bisect;
mod books;
mod bucket;
mod flow;
mod ledger;
#[cfg(test)]
pub(crate) mod limits;
mod looked;
mod quota;
pub mod refusals;
mod retry;
mod router;
pub mod store;
mod terms;
#[cfg(test)]
mod tests;
mod ticks;
mod window;
mod worker;

use std::time::Duration;

use headgate_database::{Db, DbError};
use headgate_lake::{Lake, LakeError};
use headgate_types::SharedClock;

use crate::error::EngineFault;
use crate::shape::{PlanCache, ShapeError};
use crate::technology::SinkError;
use crate::tenant_quotas::TenantQuotas;

pub use accounts::cut as cut_usage;
pub(crate) use bucket::Throttle;
pub use flow::{Flow, TOGETHER};
#[cfg(test)]
pub(crate) use ledger::Fault;
pub use ledger::Ledger;
pub use looked::Looked;
pub use router::{Following, Route, Router};
pub use terms::{Standing, Terms};
pub use ticks::Ticks;
pub use worker::{EMPTY_RANGE, Turn, Waiting, Worker};

/// A target may hold more than is booked when the process dies in between, but never this many
/// offsets more: what is raised goes on behind them.
pub(crate) const IN_FLIGHT: u64 = 1 << 20;

/// What every worker works with.
#[derive(Debug, Clone)]
pub struct Context {
    /// The engine's tables and the usage records.
    pub data: Db,
    /// Writes the books.
    pub ledger: Ledger,
    /// Where records come from.
    pub lake: Lake,
    /// Shaped ranges, shared by all channels.
    pub shaper: PlanCache,
    /// Which commits concern which flows.
    pub router: Router,
    /// Time.
    pub clock: SharedClock,
    /// Usage is cut at whole multiples of this: an hour, or a whole fraction of one.
    pub usage_span: Duration,
    /// Which tenants have used up their month.
    pub tenant_quotas: TenantQuotas,
}

/// Holds every log against the cursors over it (rule 5): one that is shorter, because a tail was lost
/// or a file restored, goes on above the greatest cursor in a new epoch, or channels would take new
/// records for old ones. To be called before anything is written to the logs; the lake then tells
/// what was raised ([`Lake::take_fenced`]), now or when an element is registered.
///
/// # Errors
/// When the books cannot be read or a log cannot be raised.
pub async fn fence(data: &Db, lake: &Lake) -> Result<(), EngineFault> {
    let mut tx = data.read_platform().await?;
    let seen = store::seen(&mut tx).await?;
    drop(tx);
    for (element, seen) in seen {
        // Elements that were removed are unknown to the log for good; noting them is no harm.
        if lake.log().head(element) < seen {
            lake.fence(element, seen + IN_FLIGHT).await?;
        }
    }
    Ok(())
}

/// Why a delivery did not happen. The worker pauses and tries again.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The target is in the way.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The lake could not be read.
    #[error("failed to read the lake: {0}")]
    Lake(#[from] LakeError),
    /// The records could not be shaped.
    #[error("failed to shape records: {0}")]
    Shape(#[from] ShapeError),
    /// The books could not be written.
    #[error("failed to keep the books: {0}")]
    Database(#[from] DbError),
    /// Usage could not be recorded.
    #[error("failed to record usage: {0}")]
    Metering(#[from] headgate_metering::MeteringError),
    /// Books of several flows could not be written.
    #[error(transparent)]
    Together(std::sync::Arc<DeliveryError>),
    /// The process stops.
    #[error("the engine is stopping")]
    Stopped,
    /// The terms changed before it began.
    #[error("the channel's terms changed")]
    Superseded,
    /// Another worker moved the books of this flow.
    #[error("the flow is being delivered elsewhere")]
    Elsewhere,
}

impl DeliveryError {
    /// What the channel's owner is told. What the platform's own stores say may name offsets (rule 23), and is for its log.
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Self::Lake(_) => "the lake cannot be read at the moment; it is tried again".to_owned(),
            Self::Database(_) | Self::Metering(_) => {
                "the platform's books cannot be kept at the moment; it is tried again".to_owned()
            }
            Self::Together(error) => error.told(),
            Self::Sink(_) | Self::Shape(_) | Self::Stopped | Self::Superseded | Self::Elsewhere => self.to_string(),
        }
    }
}
