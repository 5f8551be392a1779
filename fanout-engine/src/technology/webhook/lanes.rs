//! Which lane a record takes, and how far each lane is.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::batch::Row;
use crate::technology::{Delivery, FlowKey};

/// How far each lane of each flow is within the range being delivered. Lives in memory: the
/// durable cursor is the range's, so a crash repeats at most one range, under the same record ids.
#[derive(Debug, Default)]
pub struct Places(Mutex<HashMap<(FlowKey, usize), u64>>);

impl Places {
    /// Forgets places at or below the start of a range: a range that starts earlier than a place
    /// was ordered again and is sent again.
    fn of(&self, delivery: &Delivery, lane: usize) -> u64 {
        let place = self.0.lock().get(&(delivery.flow, lane)).copied().unwrap_or(0);
        if place > delivery.after && place <= delivery.to { place } else { delivery.after }
    }

    /// A lane has delivered everything through `offset`.
    pub fn reached(&self, flow: FlowKey, lane: usize, offset: u64) {
        self.0.lock().insert((flow, lane), offset);
    }

    /// The whole range was delivered; the durable cursor takes over.
    pub fn settled(&self, flow: FlowKey) {
        self.0.lock().retain(|(of, _), _| *of != flow);
    }
}

/// What each lane still has to send of a delivery, in order; lanes without work are left out.
pub fn split<'a>(delivery: &'a Delivery, lanes: usize, keyed: bool, places: &Places) -> Vec<(usize, Vec<Row<'a>>)> {
    // Without a key there is nothing to order by but the offset: one lane.
    let lanes = if keyed { lanes } else { 1 };
    let starts: Vec<u64> = (0..lanes).map(|lane| places.of(delivery, lane)).collect();
    let mut split: Vec<Vec<Row<'a>>> = vec![Vec::new(); lanes];
    for (encoded, row) in delivery.rows() {
        let record = Row { offset: encoded.offset(row), json: encoded.json(row) };
        let lane = usize::try_from(encoded.key_hash(row) % lanes as u64).unwrap_or(0);
        if record.offset > starts[lane] {
            split[lane].push(record);
        }
    }
    split.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty()).collect()
}
