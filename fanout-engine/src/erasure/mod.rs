//! What a tenant leaves behind when it ends: removed from the lake once its channels are gone.

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::time::Duration;

use headgate_access::tenants;
use headgate_catalog::{channels, elements};
use headgate_database::Db;
use headgate_lake::Lake;
use headgate_types::{ElementId, TenantId};
use parking_lot::Mutex;
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
    /// Tenants of which nothing is left. No tenant comes back.
    erased: Mutex<HashSet<TenantId>>,
}

impl Erasure {
    /// An erasure over what `ingest` writes.
    #[must_use]
    pub fn new(control: Db, data: Db, lake: Lake, ingest: std::sync::Arc<Ingest>) -> Self {
        Self { control, data, lake, ingest, erased: Mutex::default() }
    }

    /// Runs until the process stops.
    pub async fn run(self, shutdown: CancellationToken) {
        while passes::next(EVERY, &shutdown).await {
            if let Err(error) = self.run_once().await {
                tracing::warn!(%error, "failed to remove what an offboarded tenant left; will retry");
            }
        }
    }

    /// One pass over the tenants that were offboarded and of which nothing runs any more.
    ///
    /// # Errors
    /// When a store fails; what is left goes with the next pass.
    pub async fn run_once(&self) -> Result<(), EngineFault> {
        let mut tx = self.control.read_platform().await?;
        let mut gone = HashSet::new();
        for tenant in tenants::offboarded(&mut tx).await? {
            if !self.erased.lock().contains(&tenant) && channels::count_open(&mut tx, tenant).await? == 0 {
                gone.insert(tenant);
            }
        }
        if gone.is_empty() {
            return Ok(());
        }
        let withdrawn = elements::retired(&mut tx).await?;
        drop(tx);
        let mut kept = HashSet::new();
        for (owner, element) in withdrawn {
            if gone.contains(&owner) && self.is_kept(element) {
                kept.insert(owner);
                self.ingest.forget(element)?;
                self.lake.remove(element).await?;
                tracing::info!(%owner, %element, "removed an element of an offboarded tenant");
            }
        }
        for tenant in gone {
            self.erase_rows(tenant).await?;
            // As long as it had elements, rows may still have been derived from them.
            if !kept.contains(&tenant) {
                self.erased.lock().insert(tenant);
            }
        }
        Ok(())
    }

    /// Whether there is anything of the element. The stores themselves are the mark of what is done.
    fn is_kept(&self, element: ElementId) -> bool {
        self.lake.holds(element) || self.ingest.projection(element).exists()
    }

    /// Removes its rows: a tenant that owned nothing has them too, of what its receivers refused.
    async fn erase_rows(&self, tenant: TenantId) -> Result<(), EngineFault> {
        let mut tx = self.data.platform().await?;
        tx.act_for(tenant).await?;
        crate::ingest::erase_rows(&mut tx, tenant).await?;
        refusals::erase(&mut tx, tenant).await?;
        tx.commit().await?;
        Ok(())
    }
}
