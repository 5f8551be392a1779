//! Finding the records a target refuses, without losing order and without giving up the rest.

use crate::technology::{Delivery, Slice};

/// What to do about a refused delivery.
#[derive(Debug)]
pub enum Cut {
    /// It is one record: that is the one.
    Found {
        /// Its place in the flow.
        offset: u64,
    },
    /// Try these instead, in this order.
    Parts(Vec<Delivery>),
}

/// Cuts a refused delivery. `named` are the offsets the target refused by name; without them the
/// delivery is halved.
#[must_use]
pub fn cut(delivery: &Delivery, named: &[u64]) -> Cut {
    let count = delivery.len();
    if count == 0 {
        // Nothing was sent that could have been refused; the caller treats it as a failure.
        return Cut::Parts(Vec::new());
    }
    let offsets = || delivery.rows().map(|(encoded, row)| encoded.offset(row));
    if count == 1 {
        return Cut::Found { offset: offsets().next().unwrap_or(delivery.to) };
    }
    let first_named = match named {
        [one] => offsets().position(|offset| offset == *one),
        _ => None,
    };
    match first_named {
        // Before it, it alone, and behind it.
        Some(row) => Cut::Parts(split(delivery, &[row, row + 1])),
        None => Cut::Parts(split(delivery, &[count / 2])),
    }
}

/// Splits a delivery before the given rows; empty parts are left out, and the parts' ranges are
/// contiguous.
fn split(delivery: &Delivery, before: &[usize]) -> Vec<Delivery> {
    let count = delivery.len();
    let mut parts = Vec::new();
    let (mut start, mut after) = (0, delivery.after);
    for end in before.iter().copied().chain([count]) {
        if end <= start {
            continue;
        }
        let slices = slices(delivery, start, end);
        let to = if end == count { delivery.to } else { last_offset(&slices).unwrap_or(after) };
        parts.push(Delivery { after, to, parts: slices, ..delivery.clone() });
        (start, after) = (end, to);
    }
    parts
}

fn slices(delivery: &Delivery, start: usize, end: usize) -> Vec<Slice> {
    let mut passed = 0;
    let mut slices = Vec::new();
    for part in &delivery.parts {
        let (from, to) = (start.max(passed), end.min(passed + part.rows.len()));
        if from < to {
            let base = part.rows.start;
            let rows = base + from - passed..base + to - passed;
            slices.push(Slice { encoded: part.encoded.clone(), rows });
        }
        passed += part.rows.len();
    }
    slices
}

fn last_offset(slices: &[Slice]) -> Option<u64> {
    let last = slices.last()?;
    Some(last.encoded.offset(last.rows.end - 1))
}
