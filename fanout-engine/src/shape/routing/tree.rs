//! The tree of tests: equality by hash, then ranges by elementary interval.
//!
//! A conjunction is stored under the values of its equality tests, the column with the most
//! distinct values first, and below those under its range. Rows come down together and split up by
//! value; a row that meets nobody's value costs one look-up, however many conjunctions there are.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::{Bound, Range};

use arrow::array::Array;

use super::access::{Access, Conjunction, Key, Test, Values};
use super::cells::Cells;
use super::intervals::{Intervals, Numbered};

/// The most places one conjunction is stored at: `a IN (…) AND b IN (…)` multiplies.
const MAX_PLACES: usize = 4_096;

/// Which rows each of many predicates accepts. Predicates go by their place in the list given.
#[derive(Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    /// Columns that are looked at.
    columns: Vec<usize>,
    /// Whether what a predicate's rows met is all it asks for.
    decides: Vec<bool>,
}

#[derive(Debug, Default)]
struct Node {
    /// Predicates that accept every row that comes here.
    here: Vec<u32>,
    equal: Vec<Equal>,
    ranges: Vec<(usize, Ranges)>,
}

/// Equality tests on one column.
#[derive(Debug)]
struct Equal {
    column: usize,
    children: Children,
    /// The node of each child.
    nodes: Vec<u32>,
}

/// Children by value.
#[derive(Debug)]
enum Children {
    Numbers(Places<i64>),
    Texts(Places<Box<str>>),
}

/// Numbers by value. Every row is looked up, so the hash is a fast one; it is seeded in each process.
type Places<K> = HashMap<K, u32, foldhash::fast::RandomState>;

#[derive(Debug)]
enum Ranges {
    Numbers(Intervals<i64>),
    Texts(Intervals<Box<str>>),
}

/// Rows and who accepts them.
#[derive(Debug, Default)]
pub struct Found {
    /// Row numbers; lists are ranges of it.
    pub rows: Vec<u32>,
    /// A predicate and some rows it accepts. A predicate may occur several times.
    pub lists: Vec<(u32, Range<u32>)>,
    /// Values looked up.
    pub lookups: u64,
}

impl Tree {
    /// A tree over the accesses that tell rows apart.
    pub fn new<'a>(accesses: impl Iterator<Item = &'a Access> + Clone) -> Self {
        let order = ByDistinct::of(accesses.clone());
        let mut builder = Builder { nodes: vec![Growing::default()] };
        let (mut columns, mut decides) = (HashSet::new(), Vec::new());
        for (number, access) in (0..).zip(accesses) {
            let mut whole = access.decides;
            for conjunction in &access.any {
                let tests = order.sorted(conjunction);
                whole &= tests.len() == conjunction.len();
                columns.extend(tests.iter().map(|test| test.column));
                builder.insert(0, &tests, number);
            }
            decides.push(whole);
        }
        let mut columns: Vec<usize> = columns.into_iter().collect();
        columns.sort_unstable();
        Self { nodes: builder.nodes.into_iter().map(Growing::done).collect(), columns, decides }
    }

    /// Columns that are looked at.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// Whether the rows found for a predicate all match.
    pub fn decides(&self, predicate: u32) -> bool {
        self.decides[predicate as usize]
    }

    /// Sends rows down.
    pub fn find(&self, rows: impl Iterator<Item = u32>, cells: &[Option<Cells<'_>>], found: &mut Found) {
        let start = found.rows.len() as u32;
        found.rows.extend(rows);
        self.visit(0, start..found.rows.len() as u32, cells, found);
    }

    fn visit(&self, node: u32, rows: Range<u32>, cells: &[Option<Cells<'_>>], found: &mut Found) {
        let node = &self.nodes[node as usize];
        found.lists.extend(node.here.iter().map(|predicate| (*predicate, rows.clone())));
        for Equal { column, children, nodes } in &node.equal {
            let Some(cells_of) = &cells[*column] else { continue };
            let pairs = children.pairs(cells_of, &found.rows[range(&rows)]);
            found.lookups += u64::from(rows.end - rows.start);
            for (child, rows) in found.grouped(pairs, nodes.len()) {
                self.visit(nodes[child as usize], rows, cells, found);
            }
        }
        for (column, ranges) in &node.ranges {
            let Some(cells_of) = &cells[*column] else { continue };
            let pairs = ranges.pairs(cells_of, &found.rows[range(&rows)]);
            found.lookups += u64::from(rows.end - rows.start);
            for (held, rows) in found.grouped(pairs, ranges.nodes()) {
                let held = match ranges {
                    Ranges::Numbers(intervals) => intervals.held(held),
                    Ranges::Texts(intervals) => intervals.held(held),
                };
                found.lists.extend(held.iter().map(|predicate| (*predicate, rows.clone())));
            }
        }
    }
}

const fn range(rows: &Range<u32>) -> Range<usize> {
    rows.start as usize..rows.end as usize
}

impl Found {
    /// Appends rows in groups, of which there are at most `groups`; rows stay ascending within each.
    fn grouped(&mut self, mut pairs: Vec<u64>, groups: usize) -> Vec<(u32, Range<u32>)> {
        let base = self.rows.len() as u32;
        if pairs.len() < groups {
            pairs.sort_unstable();
            self.rows.extend(pairs.iter().map(|pair| *pair as u32));
            let mut end = base;
            let lists = pairs.chunk_by(|one, other| one >> 32 == other >> 32).map(|list| {
                let start = end;
                end += list.len() as u32;
                ((list[0] >> 32) as u32, start..end)
            });
            return lists.collect();
        }
        // Many rows in few groups: counted, not compared.
        let mut ends = vec![0_u32; groups];
        pairs.iter().for_each(|pair| ends[(pair >> 32) as usize] += 1);
        let (mut end, mut lists) = (base, Vec::new());
        for (group, count) in (0_u32..).zip(&mut ends) {
            let start = end;
            end += *count;
            if start < end {
                lists.push((group, start..end));
            }
            // Grows to the end as rows come.
            *count = start;
        }
        self.rows.resize(end as usize, 0);
        for pair in pairs {
            let next = &mut ends[(pair >> 32) as usize];
            self.rows[*next as usize] = pair as u32;
            *next += 1;
        }
        lists
    }
}

/// Group and row in one number, so that sorting groups.
const fn pair(group: u32, row: u32) -> u64 {
    ((group as u64) << 32) | row as u64
}

impl Equal {
    /// Of nodes by value.
    fn new<K>(column: usize, mut places: Places<K>, children: impl FnOnce(Places<K>) -> Children) -> Self {
        let mut nodes = Vec::with_capacity(places.len());
        for place in places.values_mut() {
            nodes.push(std::mem::replace(place, nodes.len() as u32));
        }
        Self { column, children: children(places), nodes }
    }
}

impl Children {
    fn pairs(&self, cells: &Cells<'_>, rows: &[u32]) -> Vec<u64> {
        let mut pairs = Vec::with_capacity(rows.len());
        match (self, cells) {
            (Self::Numbers(children), Cells::Numbers(values, nulls)) => {
                for row in rows {
                    if nulls.is_none_or(|nulls| nulls.is_valid(*row as usize))
                        && let Some(child) = children.get(&values[*row as usize])
                    {
                        pairs.push(pair(*child, *row));
                    }
                }
            }
            (Self::Texts(children), Cells::Texts(values)) => {
                for row in rows {
                    if values.is_valid(*row as usize)
                        && let Some(child) = children.get(values.value(*row as usize))
                    {
                        pairs.push(pair(*child, *row));
                    }
                }
            }
            // Keys were made for the column's type, which is the batch's.
            _ => {}
        }
        pairs
    }
}

impl Ranges {
    /// Nodes there are.
    const fn nodes(&self) -> usize {
        match self {
            Self::Numbers(intervals) => intervals.len(),
            Self::Texts(intervals) => intervals.len(),
        }
    }

    fn pairs(&self, cells: &Cells<'_>, rows: &[u32]) -> Vec<u64> {
        let mut pairs = Vec::new();
        match (self, cells) {
            (Self::Numbers(intervals), Cells::Numbers(values, nulls)) => {
                for row in rows.iter().filter(|row| nulls.is_none_or(|nulls| nulls.is_valid(**row as usize))) {
                    intervals.nodes(&values[*row as usize], |node| pairs.push(pair(node, *row)));
                }
            }
            (Self::Texts(intervals), Cells::Texts(values)) => {
                for row in rows.iter().filter(|row| values.is_valid(**row as usize)) {
                    intervals.nodes(values.value(*row as usize), |node| pairs.push(pair(node, *row)));
                }
            }
            _ => {}
        }
        pairs
    }
}

/// How many distinct values each column's equality tests name: the more, the fewer rows each keeps.
struct ByDistinct(HashMap<usize, usize>);

impl ByDistinct {
    fn of<'a>(accesses: impl Iterator<Item = &'a Access>) -> Self {
        let mut values: HashMap<usize, HashSet<&Key>> = HashMap::new();
        for test in accesses.flat_map(|access| access.any.iter().flatten()) {
            if let Values::OneOf(keys) = &test.values {
                values.entry(test.column).or_default().extend(keys);
            }
        }
        Self(values.into_iter().map(|(column, values)| (column, values.len())).collect())
    }

    /// Equality tests by selectivity, then one range; what would take too many places is left to
    /// the expression.
    fn sorted<'a>(&self, conjunction: &'a Conjunction) -> Vec<&'a Test> {
        let weight = |test: &Test| self.0.get(&test.column).copied().unwrap_or(0);
        let is_range = |test: &Test| matches!(test.values, Values::Between(..));
        let mut tests: Vec<&Test> = conjunction.iter().collect();
        tests.sort_by_key(|test| (is_range(test), std::cmp::Reverse(weight(test)), test.column));
        let (mut places, mut ranges) = (1_usize, 0);
        tests.retain(|test| match &test.values {
            Values::OneOf(keys) => {
                let more = places.saturating_mul(keys.len());
                let fits = more <= MAX_PLACES || places == 1;
                places = if fits { more } else { places };
                fits
            }
            Values::Between(..) => {
                ranges += 1;
                ranges == 1
            }
        });
        tests
    }
}

/// A tree being built.
struct Builder {
    nodes: Vec<Growing>,
}

#[derive(Default)]
struct Growing {
    here: Vec<u32>,
    numbers: BTreeMap<usize, Places<i64>>,
    texts: BTreeMap<usize, Places<Box<str>>>,
    ranges: BTreeMap<usize, Vec<Numbered<Key>>>,
}

impl Builder {
    fn insert(&mut self, node: u32, tests: &[&Test], predicate: u32) {
        let Some((test, rest)) = tests.split_first() else {
            self.nodes[node as usize].here.push(predicate);
            return;
        };
        match &test.values {
            Values::OneOf(keys) => {
                for key in keys {
                    let child = self.child(node, test.column, key);
                    self.insert(child, rest, predicate);
                }
            }
            Values::Between(low, high) => {
                let ranges = self.nodes[node as usize].ranges.entry(test.column).or_default();
                ranges.push((low.clone(), high.clone(), predicate));
            }
        }
    }

    fn child(&mut self, node: u32, column: usize, key: &Key) -> u32 {
        let next = self.nodes.len() as u32;
        let growing = &mut self.nodes[node as usize];
        let child = match key {
            Key::Number(value) => *growing.numbers.entry(column).or_default().entry(*value).or_insert(next),
            Key::Text(text) => *growing.texts.entry(column).or_default().entry(text.clone()).or_insert(next),
        };
        if child == next {
            self.nodes.push(Growing::default());
        }
        child
    }
}

impl Growing {
    fn done(self) -> Node {
        let numbers = self.numbers.into_iter().map(|(column, places)| Equal::new(column, places, Children::Numbers));
        let texts = self.texts.into_iter().map(|(column, places)| Equal::new(column, places, Children::Texts));
        let ranges = self.ranges.into_iter().map(|(column, ranges)| (column, Ranges::of(ranges)));
        Node { here: self.here, equal: numbers.chain(texts).collect(), ranges: ranges.collect() }
    }
}

impl Ranges {
    fn of(ranges: Vec<Numbered<Key>>) -> Self {
        let number = |key: Key| if let Key::Number(value) = key { Some(value) } else { None };
        let text = |key: Key| if let Key::Text(value) = key { Some(value) } else { None };
        let is_text =
            |bound: &Bound<Key>| matches!(bound, Bound::Included(Key::Text(_)) | Bound::Excluded(Key::Text(_)));
        if ranges.iter().any(|(low, high, _)| is_text(low) || is_text(high)) {
            Self::Texts(Intervals::new(&of_kind(ranges, text)))
        } else {
            Self::Numbers(Intervals::new(&of_kind(ranges, number)))
        }
    }
}

/// The ranges with their keys as plain values; a column has keys of one kind.
fn of_kind<K>(ranges: Vec<Numbered<Key>>, value: impl Fn(Key) -> Option<K>) -> Vec<Numbered<K>> {
    let plain = |bound: Bound<Key>| match bound {
        Bound::Included(key) => value(key).map_or(Bound::Unbounded, Bound::Included),
        Bound::Excluded(key) => value(key).map_or(Bound::Unbounded, Bound::Excluded),
        Bound::Unbounded => Bound::Unbounded,
    };
    ranges.into_iter().map(|(low, high, predicate)| (plain(low), plain(high), predicate)).collect()
}
