//! What a flow has pulled and shaped, and not yet delivered.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use crate::shape::Encoded;
use crate::technology::{Delivery, FlowKey, Slice};

/// A contiguous stretch of one flow, from the last delivered offset on.
#[derive(Debug)]
pub struct Window {
    /// Everything through here is delivered.
    after: u64,
    /// Everything through here is in the window.
    to: u64,
    parts: VecDeque<Part>,
    records: usize,
    bytes: u64,
}

#[derive(Debug)]
struct Part {
    encoded: Arc<Encoded>,
    rows: Range<usize>,
    to: u64,
}

impl Window {
    /// An empty window behind `after`.
    #[must_use]
    pub const fn new(after: u64) -> Self {
        Self { after, to: after, parts: VecDeque::new(), records: 0, bytes: 0 }
    }

    /// Everything through here is delivered.
    #[must_use]
    pub const fn after(&self) -> u64 {
        self.after
    }

    /// Everything through here is in the window.
    #[must_use]
    pub const fn to(&self) -> u64 {
        self.to
    }

    /// Everything through here needs nothing more: it is delivered, or was found out of scope. The
    /// cursor follows later, because moving it costs a transaction.
    #[must_use]
    pub fn done(&self) -> u64 {
        if self.records == 0 { self.to } else { self.after }
    }

    /// Records waiting.
    #[must_use]
    pub const fn records(&self) -> usize {
        self.records
    }

    /// Their canonical size in bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds what was shaped out of the range from the window's end to `to`. Rows the window is
    /// already past are left out: a pull may begin in the middle of a batch.
    pub fn push(&mut self, encoded: Arc<Encoded>, to: u64) {
        let rows = encoded.rows_between(self.to, to);
        self.to = self.to.max(to);
        if rows.is_empty() {
            return;
        }
        self.records += rows.len();
        self.bytes += encoded.bytes(rows.clone());
        self.parts.push_back(Part { encoded, rows, to });
    }

    /// Says that nothing between the window's end and `to` is in scope.
    pub fn skip(&mut self, to: u64) {
        self.to = self.to.max(to);
    }

    /// The first `records` records, and the range they make up. When that is all there is, the
    /// range reaches to the window's end.
    #[must_use]
    pub fn delivery(&self, flow: FlowKey, records: usize, repeated: bool) -> Delivery {
        let mut delivery = Delivery { flow, after: self.after, to: self.after, parts: Vec::new(), repeated };
        let mut left = records;
        for part in &self.parts {
            let rows = part.rows.start..part.rows.end.min(part.rows.start + left);
            if rows.is_empty() {
                return delivery;
            }
            left -= rows.len();
            let whole = rows.end == part.rows.end;
            delivery.to = if whole { part.to } else { part.encoded.offset(rows.end - 1) };
            delivery.parts.push(Slice { encoded: Arc::clone(&part.encoded), rows });
            if !whole {
                return delivery;
            }
        }
        delivery.to = self.to;
        delivery
    }

    /// The canonical sizes of the records waiting, in order.
    pub fn sizes(&self) -> impl Iterator<Item = u64> {
        self.parts.iter().flat_map(|part| part.rows.clone().map(|row| part.encoded.size(row)))
    }

    /// Forgets everything through `to`.
    pub fn advance(&mut self, to: u64) {
        self.after = self.after.max(to);
        self.to = self.to.max(to);
        while let Some(part) = self.parts.front_mut() {
            let keep = part.rows.clone().find(|row| part.encoded.offset(*row) > to).unwrap_or(part.rows.end);
            let gone = part.rows.start..keep;
            self.records -= gone.len();
            self.bytes -= part.encoded.bytes(gone);
            part.rows.start = keep;
            if !part.rows.is_empty() {
                break;
            }
            self.parts.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::testing::sensors;
    use headgate_types::channel::Lane;
    use headgate_types::schema::ElementKind;
    use serde_json::json;

    #[test]
    fn deliveries_of_any_size_tile_the_window() {
        let element = sensors(ElementKind::Events);
        let flow = FlowKey { element: element.id, lane: Lane::Live };
        let plan = element.plan("site = 'in'");
        for size in 1..12 {
            let mut window = Window::new(0);
            for first in [1_u64, 11, 21] {
                // Every third record is in scope; the last range has none.
                let site = |id: u64| if id.is_multiple_of(3) && first < 21 { "in" } else { "out" };
                let rows: Vec<_> = (first..first + 10).map(|id| json!({"id": id, "site": site(id)})).collect();
                window.push(Arc::new(plan.encode(&element.rows(first, &rows)).unwrap()), first + 9);
            }
            assert_eq!(window.sizes().count(), window.records());
            let (mut seen, mut after) = (Vec::new(), 0);
            while window.records() > 0 {
                let delivery = window.delivery(flow, size, false);
                assert_eq!((delivery.after, window.done()), (after, after));
                assert!(delivery.len() <= size && !delivery.is_empty());
                seen.extend(delivery.rows().map(|(encoded, row)| encoded.offset(row)));
                assert!(seen.last().is_some_and(|last| *last <= delivery.to));
                after = delivery.to;
                window.advance(after);
            }
            assert_eq!(seen, [3, 6, 9, 12, 15, 18], "{size}");
            assert_eq!((window.after(), window.to(), window.bytes()), (30, 30, 0));
            // What is out of scope needs no delivery: nothing is behind, although the cursor is.
            let nothing = element.rows(31, &[json!({"id": 31, "site": "out"})]);
            window.push(Arc::new(plan.encode(&nothing).unwrap()), 31);
            assert_eq!((window.after(), window.done()), (30, 31));
        }
    }
}
