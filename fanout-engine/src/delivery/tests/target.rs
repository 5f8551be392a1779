//! A target in memory that fails, refuses and forgets on demand.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::technology::{Committed, Delivery, FlowKey, Flush, Sink, SinkError, Written};

#[derive(Debug, Default)]
pub struct Target {
    /// Whether the target commits a cursor with its records.
    pub keeps_cursor: bool,
    /// Whether records are held durably only once flushed.
    pub collects: bool,
    pub state: Mutex<State>,
}

#[derive(Debug, Default)]
pub struct State {
    pub held: HashMap<FlowKey, u64>,
    pub collected: HashMap<FlowKey, u64>,
    /// Everything written, repetitions included.
    pub written: Vec<(FlowKey, u64)>,
    /// Offsets it refuses.
    pub refused: HashSet<u64>,
    /// Offsets it panics over.
    pub panics: HashSet<u64>,
    /// Whether it says which records it refuses.
    pub names_refused: bool,
    /// Whether the channel's order is still being carried out.
    pub incomplete: bool,
    /// An offset it never answers about.
    pub hangs: Option<u64>,
    /// Whether each range that it took was marked as one that may come again.
    pub marks: Vec<bool>,
    /// Writes that fail before one succeeds.
    pub failures: u32,
    pub writes: u32,
}

impl Target {
    pub fn offsets(&self) -> Vec<u64> {
        self.state.lock().written.iter().map(|(_, offset)| *offset).collect()
    }
}

#[async_trait]
impl Sink for Target {
    async fn cursor(&self, flow: FlowKey) -> Result<Option<Committed>, SinkError> {
        let held = self.state.lock().held.get(&flow).copied().unwrap_or(0);
        Ok(self.keeps_cursor.then_some(Committed::through(held)))
    }

    async fn write(&self, delivery: &Delivery) -> Result<Written, SinkError> {
        let hangs = self.state.lock().hangs;
        if hangs.is_some_and(|offset| delivery.after < offset && offset <= delivery.to) {
            std::future::pending::<()>().await;
        }
        let mut state = self.state.lock();
        state.writes += 1;
        if state.incomplete {
            return Err(SinkError::NotYet("no secret yet"));
        }
        if state.failures > 0 {
            state.failures -= 1;
            return Err(SinkError::Retry { after: Some(Duration::ZERO), reason: "away".to_owned() });
        }
        let offsets: Vec<u64> = delivery.rows().map(|(encoded, row)| encoded.offset(row)).collect();
        assert!(!offsets.iter().any(|offset| state.panics.contains(offset)), "a fault of the sink");
        let refused: Vec<u64> = offsets.iter().copied().filter(|offset| state.refused.contains(offset)).collect();
        if !refused.is_empty() {
            let records = if state.names_refused { refused } else { Vec::new() };
            return Err(SinkError::Reject { records, reason: "not for me".to_owned() });
        }
        state.marks.push(delivery.repeated);
        let held = if self.keeps_cursor { state.held.get(&delivery.flow).copied().unwrap_or(0) } else { 0 };
        let new = offsets.into_iter().filter(|offset| *offset > held).map(|offset| (delivery.flow, offset));
        state.written.extend(new.collect::<Vec<_>>());
        if self.collects {
            state.collected.insert(delivery.flow, delivery.to);
            return Ok(Written { through: state.held.get(&delivery.flow).copied().unwrap_or(0) });
        }
        state.held.insert(delivery.flow, delivery.to.max(held));
        Ok(Written { through: delivery.to.max(held) })
    }

    async fn flush(&self, flow: FlowKey, why: Flush) -> Result<Written, SinkError> {
        let mut state = self.state.lock();
        if why == Flush::Now
            && let Some(collected) = state.collected.get(&flow).copied()
        {
            state.held.insert(flow, collected);
        }
        Ok(Written { through: state.held.get(&flow).copied().unwrap_or(0) })
    }

    async fn stored_bytes(&self) -> u64 {
        0
    }

    async fn close(&self) {}

    fn batch_records(&self) -> usize {
        7
    }
}
