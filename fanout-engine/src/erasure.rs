//! What a tenant leaves behind when it ends: removed from the lake once its channels are gone.

use std::time::Duration;

use headgate_access::tenants::{self, TenantState};
use headgate_catalog::{channels, elements};
use headgate_database::Db;
use headgate_lake::Lake;
use headgate_types::{ElementId, TenantId};
use tokio_util::sync::CancellationToken;

use crate::delivery::refusals;
use crate::error::EngineFault;
use crate::ingest::Ingest;
use crate::passes;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(5);

/// Removes the records of tenants that were offboarded: logs, tables, projections, receipts and dead
/// letters. Usage, books and the audit log stay.
#[derive(Debug)]
pub struct Erasure {
    control: Db,
    data: Db,
    lake: Lake,
    ingest: std::sync::Arc<Ingest>,
}

impl Erasure {
    /// An erasure over what `ingest` writes.
    #[must_use]
    pub fn new(control: Db, data: Db, lake: Lake, ingest: std::sync::Arc<Ingest>) -> Self {
        Self { control, data, lake, ingest }
    }

    /// Runs until the process stops.
    pub async fn run(self, shutdown: CancellationToken) {
        while passes::next(EVERY, &shutdown).await {
            if let Err(error) = self.run_once().await {
                tracing::warn!(%error, "failed to remove what an offboarded tenant left; will retry");
            }
        }
    }

    /// One pass over the elements that were withdrawn and are still in the lake.
    ///
    /// # Errors
    /// When a store fails; what is left goes with the next pass.
    pub async fn run_once(&self) -> Result<(), EngineFault> {
        let mut tx = self.control.read_platform().await?;
        let withdrawn = elements::retired(&mut tx).await?;
        drop(tx);
        for (owner, element) in withdrawn {
            if self.is_kept(element) && self.is_gone(owner).await? {
                self.erase(owner, element).await?;
            }
        }
        Ok(())
    }

    /// Whether there is anything of the element. The lake itself is the mark of what is done.
    fn is_kept(&self, element: ElementId) -> bool {
        self.lake.log().layout(element).is_ok()
            || self.lake.changes_directory(element).exists()
            || self.ingest.projection(element).exists()
    }

    /// Whether a tenant was offboarded and nothing of it runs any more.
    async fn is_gone(&self, tenant: TenantId) -> Result<bool, EngineFault> {
        let mut tx = self.control.read_platform().await?;
        let offboarded = tenants::get(&mut tx, tenant).await?.state == TenantState::Offboarded;
        Ok(offboarded && channels::count_open(&mut tx, tenant).await? == 0)
    }

    async fn erase(&self, owner: TenantId, element: ElementId) -> Result<(), EngineFault> {
        let mut tx = self.data.platform().await?;
        tx.act_for(owner).await?;
        crate::ingest::erase_rows(&mut tx, owner).await?;
        refusals::erase(&mut tx, owner).await?;
        tx.commit().await?;
        self.ingest.forget(element)?;
        self.lake.remove(element).await?;
        tracing::info!(%owner, %element, "removed an element of an offboarded tenant");
        Ok(())
    }
}
