//! Ranges over one column, found by the elementary interval a value lies in.
//!
//! The end points of all ranges cut the line into points and the gaps between them. A segment tree
//! over those holds each range at a few nodes; a value finds its place by binary search and meets
//! its ranges on the way to the root. A hundred thousand ranges cost a value about 35 steps.

use std::ops::Bound;

/// Ranges over values of type `K`, each with a number.
#[derive(Debug)]
pub struct Intervals<K> {
    /// End points, sorted.
    points: Vec<K>,
    /// Leaves: the gap before each point, the point, …, the gap behind the last one.
    leaves: usize,
    /// What every value below a node of the tree meets: `starts[node]..starts[node + 1]`.
    starts: Vec<u32>,
    held: Vec<u32>,
}

/// A range and its number.
pub type Numbered<K> = (Bound<K>, Bound<K>, u32);

impl<K: Ord + Clone> Intervals<K> {
    /// Over these ranges.
    pub fn new(ranges: &[Numbered<K>]) -> Self {
        let ends = |(low, high, _): &Numbered<K>| [value(low).cloned(), value(high).cloned()];
        let mut points: Vec<K> = ranges.iter().flat_map(ends).flatten().collect();
        points.sort();
        points.dedup();
        let leaves = 2 * points.len() + 1;
        let mut pairs: Vec<(u32, u32)> = Vec::new();
        for (low, high, number) in ranges {
            let place = |key: &K| points.binary_search(key).map_or_else(|gap| 2 * gap, |point| 2 * point + 1);
            let mut from = leaves
                + match low {
                    Bound::Unbounded => 0,
                    Bound::Included(key) => place(key),
                    Bound::Excluded(key) => place(key) + 1,
                };
            let mut to = leaves
                + match high {
                    Bound::Unbounded => leaves,
                    Bound::Included(key) => place(key) + 1,
                    Bound::Excluded(key) => place(key),
                };
            while from < to {
                if from % 2 == 1 {
                    pairs.push((from as u32, *number));
                    from += 1;
                }
                if to % 2 == 1 {
                    to -= 1;
                    pairs.push((to as u32, *number));
                }
                (from, to) = (from / 2, to / 2);
            }
        }
        pairs.sort_unstable();
        let mut starts = vec![0; 2 * leaves + 1];
        for (node, _) in &pairs {
            starts[*node as usize + 1] += 1;
        }
        for node in 1..starts.len() {
            starts[node] += starts[node - 1];
        }
        Self { points, leaves, starts, held: pairs.into_iter().map(|(_, number)| number).collect() }
    }

    /// Nodes there are.
    pub const fn len(&self) -> usize {
        2 * self.leaves
    }

    /// Calls `meet` for every node of the tree that holds ranges with this value in them. No two
    /// of those hold the same range.
    pub fn nodes<Q: ?Sized + Ord>(&self, value: &Q, mut meet: impl FnMut(u32))
    where
        K: std::borrow::Borrow<Q>,
    {
        let found = self.points.binary_search_by(|point| point.borrow().cmp(value));
        let mut node = self.leaves + found.map_or_else(|gap| 2 * gap, |point| 2 * point + 1);
        while node > 0 {
            if self.starts[node] < self.starts[node + 1] {
                meet(node as u32);
            }
            node /= 2;
        }
    }

    /// The numbers of the ranges a node holds.
    pub fn held(&self, node: u32) -> &[u32] {
        let node = node as usize;
        &self.held[self.starts[node] as usize..self.starts[node + 1] as usize]
    }
}

const fn value<K>(bound: &Bound<K>) -> Option<&K> {
    match bound {
        Bound::Included(key) | Bound::Excluded(key) => Some(key),
        Bound::Unbounded => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::ops::RangeBounds;

    fn bound() -> impl Strategy<Value = Bound<i64>> {
        prop_oneof![
            Just(Bound::Unbounded),
            (-9..9_i64).prop_map(Bound::Included),
            (-9..9_i64).prop_map(Bound::Excluded)
        ]
    }

    proptest! {
        #[test]
        fn a_value_meets_exactly_the_ranges_it_lies_in(bounds in proptest::collection::vec((bound(), bound()), 0..40)) {
            let ranges: Vec<_> = (0_u32..).zip(&bounds).map(|(at, (low, high))| (*low, *high, at)).collect();
            let intervals = Intervals::new(&ranges);
            for value in -11..11_i64 {
                let mut found: Vec<u32> = Vec::new();
                intervals.nodes(&value, |node| found.extend(intervals.held(node)));
                found.sort_unstable();
                let expected: Vec<u32> =
                    ranges.iter().filter(|(low, high, _)| (*low, *high).contains(&value)).map(|range| range.2).collect();
                prop_assert_eq!(found, expected, "{}", value);
            }
        }
    }
}
