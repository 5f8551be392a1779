//! What is known of each element's records: counted as they come, by a loop of its own.
//!
//! Events are folded in batch by batch. An entity's rows are counted anew from its snapshot when
//! it changed, because a value that left cannot be taken out of a minimum or a sketch.

mod column;
mod fold;
mod refresh;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use headgate_lake::{Lake, LakeBatch, LakeError};
use headgate_types::ElementId;
use headgate_types::engine::ElementStatistics;
use headgate_types::schema::{ElementKind, Schema};
use parking_lot::Mutex;
use tokio::time::Instant;

use fold::Fold;
pub use refresh::StatisticsLoop;

/// Bytes read from the lake at once.
const READ_BYTES: usize = 8 << 20;
/// An entity is counted anew at most this often.
const RECOUNT: Duration = Duration::from_secs(10);

/// The statistics of every element looked at in this process.
#[derive(Debug, Clone)]
pub struct Statistics {
    lake: Lake,
    elements: Arc<Mutex<HashMap<ElementId, Known>>>,
}

#[derive(Debug, Clone)]
struct Known {
    through: u64,
    fold: Fold,
    counted: Instant,
}

impl Statistics {
    /// Statistics over a lake.
    #[must_use]
    pub fn new(lake: Lake) -> Self {
        Self { lake, elements: Arc::default() }
    }

    /// What is known so far; nothing for an element not looked at yet.
    #[must_use]
    pub fn get(&self, element: ElementId) -> Option<ElementStatistics> {
        self.elements.lock().get(&element).map(|known| known.fold.statistics())
    }

    /// Brings an element's statistics up to the end of its log. `true` when they changed.
    pub async fn refresh(&self, element: ElementId, kind: ElementKind, schema: &Schema) -> Result<bool, LakeError> {
        let head = self.lake.log().head(element);
        let known = self.elements.lock().get(&element).cloned();
        if known.as_ref().is_some_and(|known| known.through >= head) {
            return Ok(false);
        }
        let next = match kind {
            ElementKind::Events => self.fold_events(element, schema, known, head).await?,
            ElementKind::Entity | ElementKind::View => {
                // A large table that changes all the time is not counted all the time.
                if known.as_ref().is_some_and(|known| known.counted.elapsed() < RECOUNT) {
                    return Ok(false);
                }
                self.count_entity(element, schema, head).await?
            }
        };
        self.elements.lock().insert(element, next);
        Ok(true)
    }

    async fn fold_events(
        &self,
        element: ElementId,
        schema: &Schema,
        known: Option<Known>,
        head: u64,
    ) -> Result<Known, LakeError> {
        let mut known = known.unwrap_or_else(|| Known { through: 0, fold: Fold::new(schema), counted: Instant::now() });
        known.fold.widen(schema);
        while known.through < head {
            let batches = self.lake.read(element, known.through, READ_BYTES).await?;
            let Some(last) = batches.last().map(|batch| batch.last) else { break };
            known.fold = fold_in(known.fold, batches).await;
            known.through = last;
        }
        Ok(known)
    }

    async fn count_entity(&self, element: ElementId, schema: &Schema, head: u64) -> Result<Known, LakeError> {
        let mut fold = Fold::new(schema);
        let mut snapshot = self.lake.snapshot(element, head, 0).boxed();
        while let Some(batch) = snapshot.next().await {
            fold = fold_in(fold, vec![batch?]).await;
        }
        Ok(Known { through: head, fold, counted: Instant::now() })
    }

    /// Forgets elements that are gone.
    pub fn retain(&self, alive: impl Fn(ElementId) -> bool) {
        self.elements.lock().retain(|element, _| alive(*element));
    }
}

/// Folds off the runtime's threads: a batch can take milliseconds.
async fn fold_in(fold: Fold, batches: Vec<Arc<LakeBatch>>) -> Fold {
    let before = fold.clone();
    let folded = tokio::task::spawn_blocking(move || {
        let mut fold = fold;
        batches.iter().for_each(|batch| fold.add(batch));
        fold
    });
    match folded.await {
        Ok(fold) => fold,
        Err(error) => {
            tracing::error!(%error, "failed to count a batch; its records are missing from the statistics");
            before
        }
    }
}
