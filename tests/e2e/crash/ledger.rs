//! What the sources know: which payload holds which rows, and what its sender was told.
//!
//! The ledger is the checker's only source of truth. It never asks the product.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::Value;

/// What a sender knows of a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It heard 202.
    Acknowledged {
        /// The receipt in the answer.
        receipt: String,
    },
    /// It heard a refusal, or could not connect: nothing of it may appear.
    Refused,
    /// The connection died before an answer, and the sender gave up: all of it or nothing.
    Unknown,
}

/// One row of a payload.
#[derive(Debug, Clone)]
pub struct Row {
    /// Unique among events; the key of an entity's record.
    pub id: String,
    /// As it was sent.
    pub json: Value,
    /// Whether it breaks the schema, so that it must become a dead letter.
    pub wrong: bool,
}

/// One payload.
#[derive(Debug, Clone)]
pub struct Payload {
    /// The index of the data-in channel it went to.
    pub channel: usize,
    /// The feed it went to.
    pub feed: String,
    /// Its idempotency key.
    pub key: String,
    /// Its rows in order.
    pub rows: Vec<Row>,
    /// What is known of it.
    pub fate: Fate,
}

/// Everything that was sent in one round.
#[derive(Debug, Default)]
pub struct Sent {
    /// Payloads of events.
    pub events: Vec<Payload>,
    /// Payloads of entity records; none is [`Fate::Unknown`], its source insists on an answer.
    pub things: Vec<Payload>,
    /// What went against a promise while sending.
    pub problems: Vec<String>,
    /// Payloads sent again under the same key.
    pub resent: u64,
}

/// [`Sent`], shared by the sources.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Mutex<Sent>>);

impl Ledger {
    /// The entries; held for moments only.
    pub fn lock(&self) -> MutexGuard<'_, Sent> {
        self.0.lock().unwrap()
    }

    /// Notes something that must not happen.
    pub fn problem(&self, what: impl Into<String>) {
        self.lock().problems.push(what.into());
    }
}

impl Sent {
    /// Acknowledged, refused and unknown payloads.
    pub fn fates(&self) -> (u64, u64, u64) {
        let mut counts = (0, 0, 0);
        for payload in self.events.iter().chain(&self.things) {
            match payload.fate {
                Fate::Acknowledged { .. } => counts.0 += 1,
                Fate::Refused => counts.1 += 1,
                Fate::Unknown => counts.2 += 1,
            }
        }
        counts
    }

    /// The states each key of the entity went through, in order; `None` is deleted. A key's first
    /// state follows its absence.
    pub fn states(&self) -> BTreeMap<String, Vec<Option<Value>>> {
        let mut states = BTreeMap::<String, Vec<Option<Value>>>::new();
        let acknowledged = |payload: &&Payload| matches!(payload.fate, Fate::Acknowledged { .. });
        for row in self.things.iter().filter(acknowledged).flat_map(|payload| &payload.rows) {
            let state = (row.json.get("_op").is_none()).then(|| row.json.clone());
            states.entry(row.id.clone()).or_default().push(state);
        }
        states
    }
}
