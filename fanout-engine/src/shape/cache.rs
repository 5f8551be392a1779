//! Encode once: channels with the same plan share one encoding of a range.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use headgate_lake::LakeBatch;
use headgate_types::ElementId;
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::identity::PlanId;
use super::plan::Plan;
use super::{Candidates, Encoded, ShapeError};

/// Records found up to which encoding them takes less than handing them to another thread.
const FEW_RECORDS: usize = 64;

/// Shaped ranges by plan and range, bounded in bytes; the least recently used go first.
///
/// Whoever asks first shapes, whoever asks meanwhile waits for it. What was evicted is shaped
/// again: holding a result does not need the cache.
#[derive(Debug, Clone)]
pub struct PlanCache(Arc<Mutex<Entries>>);

type Key = (PlanId, ElementId, u32, u64, u64);
type Cell = Arc<OnceCell<Arc<Encoded>>>;

#[derive(Debug)]
struct Entries {
    capacity: usize,
    bytes: usize,
    clock: u64,
    entries: HashMap<Key, Entry>,
    by_use: BTreeMap<u64, Key>,
    shaped: u64,
}

#[derive(Debug)]
struct Entry {
    cell: Cell,
    bytes: usize,
    used: u64,
}

impl PlanCache {
    /// A cache that keeps about `capacity` bytes.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self(Arc::new(Mutex::new(Entries {
            capacity,
            bytes: 0,
            clock: 0,
            entries: HashMap::new(),
            by_use: BTreeMap::new(),
            shaped: 0,
        })))
    }

    /// The range under the plan, shaped now unless somebody did it before.
    ///
    /// # Errors
    /// As [`Plan::shape`]; a failure is not remembered.
    pub async fn encode(&self, plan: &Arc<Plan>, range: &Arc<LakeBatch>) -> Result<Arc<Encoded>, ShapeError> {
        self.encode_found(plan, range, None).await
    }

    /// As [`PlanCache::encode`], looking only at the rows that the routing index found, if it did.
    ///
    /// # Errors
    /// As [`Plan::shape`]; a failure is not remembered.
    pub async fn encode_found(
        &self,
        plan: &Arc<Plan>,
        range: &Arc<LakeBatch>,
        found: Option<&Candidates>,
    ) -> Result<Arc<Encoded>, ShapeError> {
        let key = (plan.id(), range.element, range.epoch, range.first, range.last);
        let cell = self.0.lock().cell(key);
        let encoded = cell
            .get_or_try_init(|| async {
                let encoded = match found {
                    Some(found) if found.rows().is_some_and(|rows| rows.len() <= FEW_RECORDS) => {
                        plan.encode_routed(range, found)?
                    }
                    _ => {
                        let (plan, range, found) = (Arc::clone(plan), Arc::clone(range), found.cloned());
                        let shaped = tokio::task::spawn_blocking(move || match &found {
                            Some(found) => plan.encode_routed(&range, found),
                            None => plan.encode(&range),
                        });
                        shaped.await.map_err(|_| ShapeError::Interrupted)??
                    }
                };
                let encoded = Arc::new(encoded);
                self.0.lock().filled(key, &cell, encoded.memory());
                Ok::<_, ShapeError>(encoded)
            })
            .await;
        if encoded.is_err() {
            self.0.lock().forget(key, &cell);
        }
        encoded.cloned()
    }

    /// Bytes kept, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.lock().bytes
    }

    /// Ranges shaped since the cache was made.
    #[must_use]
    pub fn shaped(&self) -> u64 {
        self.0.lock().shaped
    }
}

impl Entries {
    fn cell(&mut self, key: Key) -> Cell {
        self.clock += 1;
        let used = self.clock;
        let entry = self.entries.entry(key).or_insert_with(|| Entry { cell: Cell::default(), bytes: 0, used });
        self.by_use.remove(&entry.used);
        entry.used = used;
        self.by_use.insert(used, key);
        Arc::clone(&entry.cell)
    }

    fn filled(&mut self, key: Key, cell: &Cell, bytes: usize) {
        self.shaped += 1;
        // Evicted while it was being made: it belongs to those who hold it.
        let Some(entry) = self.entries.get_mut(&key).filter(|entry| Arc::ptr_eq(&entry.cell, cell)) else { return };
        entry.bytes = bytes;
        self.bytes += bytes;
        while self.bytes > self.capacity {
            let Some((_, oldest)) = self.by_use.pop_first() else { return };
            if let Some(entry) = self.entries.remove(&oldest) {
                self.bytes -= entry.bytes;
            }
        }
    }

    fn forget(&mut self, key: Key, cell: &Cell) {
        let same = self.entries.get(&key).is_some_and(|entry| Arc::ptr_eq(&entry.cell, cell) && !cell.initialized());
        if same && let Some(entry) = self.entries.remove(&key) {
            self.by_use.remove(&entry.used);
        }
    }
}
