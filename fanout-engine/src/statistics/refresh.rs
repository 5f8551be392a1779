//! The loop that keeps the catalog's statistics up to date.

use std::time::Duration;

use chrono::TimeDelta;
use headgate_catalog::elements;
use headgate_database::Db;
use headgate_types::{ElementId, SharedClock, TenantId};
use tokio_util::sync::CancellationToken;

use super::Statistics;
use crate::error::EngineFault;
use crate::passes;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(5);
/// Elements looked at per pass.
const BATCH: u32 = 200;

/// Counts elements and writes what it found into the catalog.
#[derive(Debug)]
pub struct StatisticsLoop {
    control: Db,
    statistics: Statistics,
    clock: SharedClock,
}

impl StatisticsLoop {
    /// A loop over the published elements.
    #[must_use]
    pub fn new(control: Db, statistics: Statistics, clock: SharedClock) -> Self {
        Self { control, statistics, clock }
    }

    /// Runs until the process stops.
    pub async fn run(self, shutdown: CancellationToken) {
        while passes::next(EVERY, &shutdown).await {
            if let Err(error) = self.run_once().await {
                tracing::warn!(%error, "failed to count elements; will retry");
            }
        }
    }

    /// One pass over the elements that were looked at longest ago.
    ///
    /// # Errors
    /// When the catalog cannot be read; an element that cannot be counted is only logged.
    pub async fn run_once(&self) -> Result<(), EngineFault> {
        let before = self.clock.now() - TimeDelta::from_std(EVERY).unwrap_or_default();
        let mut tx = self.control.read_platform().await?;
        let due = elements::published_without_statistics_since(&mut tx, before, BATCH).await?;
        drop(tx);
        // With more elements than one pass takes, those without news are dated too, or they would
        // stand at the head of the line for ever.
        let date_all = due.len() == BATCH as usize;
        for (owner, element) in due {
            if let Err(error) = self.count(owner, element, date_all).await {
                tracing::warn!(%element, %error, "failed to count an element; will retry");
            }
        }
        Ok(())
    }

    async fn count(&self, owner: TenantId, element: ElementId, date: bool) -> Result<(), EngineFault> {
        let mut tx = self.control.read_platform().await?;
        let Some(found) = elements::find(&mut tx, element).await? else { return Ok(()) };
        let version = elements::schema(&mut tx, element).await?;
        drop(tx);
        let changed = self.statistics.refresh(element, found.kind, &version.schema).await?;
        let Some(statistics) = self.statistics.get(element).filter(|_| changed || date) else { return Ok(()) };
        let mut tx = self.control.platform().await?;
        tx.act_for(owner).await?;
        elements::put_statistics(&mut tx, owner, element, &statistics, self.clock.now()).await?;
        tx.commit().await?;
        Ok(())
    }
}
