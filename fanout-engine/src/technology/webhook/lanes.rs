//! Which lane a record takes, and how far each lane is.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::batch::Row;
use crate::technology::{Delivery, FlowKey};

/// How far each lane of each flow is within the range being delivered. Lives in memory: the
/// durable cursor is the books', so a crash repeats what one turn sent, under the same record ids.
#[derive(Debug, Default)]
pub struct Places(Mutex<HashMap<(FlowKey, usize), u64>>);

impl Places {
    /// Where a lane goes on within a range.
    fn of(&self, delivery: &Delivery, lane: usize) -> u64 {
        let place = self.0.lock().get(&(delivery.flow, lane)).copied().unwrap_or(0);
        place.max(delivery.after)
    }

    /// A lane has delivered everything through `offset`.
    pub fn reached(&self, flow: FlowKey, lane: usize, offset: u64) {
        self.0.lock().insert((flow, lane), offset);
    }

    /// Everything through `to` was delivered; from there on the durable cursor knows.
    pub fn settled(&self, flow: FlowKey, to: u64) {
        self.0.lock().retain(|(of, _), place| *of != flow || *place > to);
    }
}

/// What each lane still has to send of a delivery, in order; lanes without work are left out.
pub fn split<'a>(delivery: &'a Delivery, lanes: usize, places: &Places) -> Vec<(usize, Vec<Row<'a>>)> {
    let starts: Vec<u64> = (0..lanes).map(|lane| places.of(delivery, lane)).collect();
    let mut split: Vec<Vec<Row<'a>>> = vec![Vec::new(); lanes];
    for (encoded, row) in delivery.rows() {
        let record = Row { offset: encoded.offset(row), json: encoded.json(row) };
        // Without a key there is nothing to order by but the offset: one lane.
        let lane = encoded.key_hash(row).map_or(0, |hash| (hash % lanes as u64) as usize);
        if record.offset > starts[lane] {
            split[lane].push(record);
        }
    }
    split.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty()).collect()
}
