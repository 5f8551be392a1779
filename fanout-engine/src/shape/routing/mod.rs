//! Which plans a range of the log concerns, found by looking values up instead of evaluating every
//! plan's predicate (DATA-PLANE rule 21).
//!
//! [`Routes`] holds the predicates of the plans over one version of one element's schema. A
//! [`Snapshot`] of it finds, for every predicate, a superset of its rows: both images of a change are
//! looked up (rule 1). What cannot be looked up is evaluated once per distinct predicate. The one
//! compiled expression decides about the rows found, except where all it asks for was looked up
//! (ADR 19). It never knows channels.

mod access;
mod cells;
mod intervals;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use headgate_lake::LakeBatch;

pub(super) use self::access::Access;
use self::cells::cells;
use self::tree::{Found, Tree};
use super::filter::Filter;
use super::identity::FilterId;
use super::images::{Floats, Images};
use super::{Plan, ShapeError};

/// Additions are kept apart until there are this many, or a share of all.
const FEW: usize = 256;

/// The predicates of the plans over one version of one element's schema.
#[derive(Debug)]
pub struct Routes {
    declared: SchemaRef,
    keyed: bool,
    known: HashMap<FilterId, Known>,
    /// In the greater level; some may be gone.
    base: Arc<Level>,
    base_ids: HashSet<FilterId>,
    gone: usize,
    current: Option<Arc<Snapshot>>,
}

#[derive(Debug)]
struct Known {
    filter: Arc<Filter>,
    plans: usize,
}

impl Routes {
    /// Routes for plans like this one: of its element, under its version of the schema.
    #[must_use]
    pub fn like(plan: &Plan) -> Self {
        Self {
            declared: Arc::clone(&plan.declared),
            keyed: plan.is_keyed(),
            known: HashMap::new(),
            base: Arc::new(Level::new(Vec::new())),
            base_ids: HashSet::new(),
            gone: 0,
            current: None,
        }
    }

    /// Adds a plan; plans of the same predicate share their place.
    pub fn add(&mut self, plan: &Plan) {
        let filter = &plan.filter;
        debug_assert_eq!(filter.declared, self.declared, "plans of one schema");
        let known = self.known.entry(filter.id()).or_insert_with(|| {
            self.current = None;
            self.gone -= usize::from(self.base_ids.contains(&filter.id()));
            Known { filter: Arc::clone(filter), plans: 0 }
        });
        known.plans += 1;
    }

    /// Removes a plan of this predicate that was added.
    pub fn remove(&mut self, id: FilterId) {
        let Some(known) = self.known.get_mut(&id) else { return };
        known.plans -= 1;
        if known.plans == 0 {
            self.known.remove(&id);
            self.current = None;
            self.gone += usize::from(self.base_ids.contains(&id));
        }
    }

    /// Whether no plan is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// The routes as they are now. Additions since the greater level was built are in a level of
    /// their own, so that one more plan costs in proportion to those.
    pub fn snapshot(&mut self) -> Arc<Snapshot> {
        if let Some(current) = &self.current {
            return Arc::clone(current);
        }
        let most = FEW.max(self.base_ids.len() / 4);
        if self.known.len() + self.gone - self.base_ids.len() > most || self.gone > most {
            self.base_ids = self.known.keys().copied().collect();
            self.base = Arc::new(Level::new(self.known.values().map(|known| Arc::clone(&known.filter)).collect()));
            self.gone = 0;
        }
        let recent = self.known.iter().filter(|(id, _)| !self.base_ids.contains(id));
        let recent = Arc::new(Level::new(recent.map(|(_, known)| Arc::clone(&known.filter)).collect()));
        let gone = match self.gone {
            0 => HashSet::new(),
            _ => self.base_ids.iter().filter(|id| !self.known.contains_key(id)).copied().collect(),
        };
        let levels = [Arc::clone(&self.base), recent];
        let snapshot = Arc::new(Snapshot { declared: Arc::clone(&self.declared), keyed: self.keyed, levels, gone });
        self.current = Some(Arc::clone(&snapshot));
        snapshot
    }
}

/// Predicates that were indexed together.
#[derive(Debug)]
struct Level {
    /// Found by the tree, by their numbers in it.
    found: Vec<Arc<Filter>>,
    tree: Tree,
    /// Evaluated over every row.
    open: Vec<Arc<Filter>>,
    /// Matched by every row.
    unfiltered: Vec<Arc<Filter>>,
}

impl Level {
    fn new(filters: Vec<Arc<Filter>>) -> Self {
        let (mut found, mut open, mut unfiltered) = (Vec::new(), Vec::new(), Vec::new());
        for filter in filters {
            match (filter.access.is_open(), filter.access.decides) {
                (false, _) => found.push(filter),
                (true, true) => unfiltered.push(filter),
                (true, false) => open.push(filter),
            }
        }
        let tree = Tree::new(found.iter().map(|filter| &filter.access));
        Self { found, tree, open, unfiltered }
    }
}

/// Routes as they were at some time. Immutable.
#[derive(Debug)]
pub struct Snapshot {
    declared: SchemaRef,
    keyed: bool,
    levels: [Arc<Level>; 2],
    gone: HashSet<FilterId>,
}

/// What was found in a range.
#[derive(Debug)]
pub struct Routed {
    /// The predicates that any row of the range may match, with those rows.
    pub found: Vec<(FilterId, Candidates)>,
    /// Values looked up.
    pub lookups: u64,
    /// Predicates evaluated over all rows because they cannot be looked up.
    pub evaluated: u64,
}

/// A superset of the rows of a range that a predicate matches, in either image.
#[derive(Debug, Clone)]
pub struct Candidates {
    range: Arc<Prepared>,
    /// `None`: all rows.
    rows: Option<Range<u32>>,
    decided: bool,
}

/// What all candidates of a range share.
#[derive(Debug)]
struct Prepared {
    images: Images,
    rows: Vec<u32>,
}

impl Candidates {
    /// The rows, ascending; `None`: all.
    #[must_use]
    pub fn rows(&self) -> Option<&[u32]> {
        let rows = self.rows.as_ref()?;
        Some(&self.range.rows[rows.start as usize..rows.end as usize])
    }

    /// The images the rows are of.
    pub(super) fn images(&self) -> &Images {
        &self.range.images
    }

    /// Whether all of them match, so that nothing is left to evaluate.
    pub(super) const fn decided(&self) -> bool {
        self.decided
    }
}

impl Snapshot {
    /// Finds the rows of every predicate in a range of the log or of a scan.
    ///
    /// # Errors
    /// The batch does not have the columns of the schema.
    pub fn route(&self, range: &LakeBatch) -> Result<Routed, ShapeError> {
        let images = Images::of(&range.batch, &self.declared, Floats::All, self.keyed)?;
        let mut gathered = Gathered::default();
        for level in &self.levels {
            self.look_up(level, &images, &mut gathered);
            self.evaluate(level, &images, &mut gathered)?;
            gathered.all.extend(level.unfiltered.iter().map(|filter| filter.id()));
        }
        let Gathered { rows, found, all, lookups, evaluated } = gathered;
        let prepared = Arc::new(Prepared { images, rows });
        // Only an insert is decided by its one image.
        let settled = !self.keyed;
        let some = found.into_iter().map(|(id, rows, decides)| (id, Some(rows), decides && settled));
        let all = all.into_iter().map(|id| (id, None, settled));
        let found = some
            .chain(all)
            .filter(|(id, ..)| !self.gone.contains(id))
            .map(|(id, rows, decided)| (id, Candidates { range: Arc::clone(&prepared), rows, decided }));
        Ok(Routed { found: found.collect(), lookups, evaluated })
    }

    fn look_up(&self, level: &Level, images: &Images, gathered: &mut Gathered) {
        let (tree, rows) = (&level.tree, images.after.num_rows() as u32);
        if level.found.is_empty() {
            return;
        }
        let mut found = Found { rows: std::mem::take(&mut gathered.rows), ..Found::default() };
        tree.find(0..rows, &cells(&images.after, tree.columns()), &mut found);
        if let Some((changes, before)) = images.changes.as_ref().and_then(|all| Some((all, all.before.as_ref()?))) {
            let had = changes.had.values().set_indices().map(|row| row as u32);
            tree.find(had, &cells(before, tree.columns()), &mut found);
        }
        gathered.lookups += found.lookups;
        let Found { mut rows, mut lists, .. } = found;
        lists.sort_unstable_by_key(|(predicate, rows)| (*predicate, rows.start));
        for lists in lists.chunk_by(|one, other| one.0 == other.0) {
            let predicate = lists[0].0;
            let list = match lists {
                [(_, only)] => only.clone(),
                several => {
                    let mut all: Vec<u32> = Vec::new();
                    several.iter().for_each(|(_, list)| all.extend(&rows[list.start as usize..list.end as usize]));
                    all.sort_unstable();
                    all.dedup();
                    let start = rows.len() as u32;
                    rows.extend(all);
                    start..rows.len() as u32
                }
            };
            gathered.found.push((level.found[predicate as usize].id(), list, tree.decides(predicate)));
        }
        gathered.rows = rows;
    }

    fn evaluate(&self, level: &Level, images: &Images, gathered: &mut Gathered) -> Result<(), ShapeError> {
        for filter in &level.open {
            if self.gone.contains(&filter.id()) {
                continue;
            }
            gathered.evaluated += 1;
            let Some(mut matches) = filter.matches(&images.after)? else { continue };
            if let Some((changes, before)) = images.changes.as_ref().and_then(|all| Some((all, all.before.as_ref()?))) {
                // A null image has whatever values; whether it was there is looked at with the rest.
                let before = filter.matches(before)?.unwrap_or_else(|| changes.had.clone());
                matches = arrow::compute::or(&matches, &before)?;
            }
            let start = gathered.rows.len() as u32;
            gathered.rows.extend(matches.values().set_indices().map(|row| row as u32));
            let end = gathered.rows.len() as u32;
            if start < end {
                gathered.found.push((filter.id(), start..end, true));
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct Gathered {
    rows: Vec<u32>,
    found: Vec<(FilterId, Range<u32>, bool)>,
    all: Vec<FilterId>,
    lookups: u64,
    evaluated: u64,
}
