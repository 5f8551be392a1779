//! What a range of the log means inside a scope.
//!
//! The predicate is evaluated on the image before and the image after a change (rule 1):
//! (∉,∈) inserts, (∈,∈) updates, (∈,∉) deletes, and a change only in columns that do not reach the
//! receiver is skipped, undelivered and unbilled.

use std::hash::Hasher;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array,
};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{and, concat, take};
use arrow::datatypes::{DataType as ArrowType, Date32Type, Int64Type, TimestampMicrosecondType};
use headgate_lake::{LakeBatch, arrow_type};

use super::identity::RecordId;
use super::images::{self, Changes, Floats, Images, Picked};
use super::plan::Plan;
use super::routing::Candidates;
use super::{Encoded, ShapeError};

/// What happened to a record, seen from inside a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transition {
    /// It came into scope.
    Insert,
    /// It changed within the scope.
    Update,
    /// It left the scope.
    Delete,
}

/// A range of an element as a scope sees it. Rows out of scope are absent; parallel lists have
/// one entry per row, in the order of the offsets.
#[derive(Debug)]
pub struct Shaped {
    /// What happened to each record.
    pub transitions: Vec<Transition>,
    /// Its offset in the element's log.
    pub offsets: Vec<u64>,
    /// The id the receiver sees.
    pub ids: Vec<RecordId>,
    /// A stable hash of its key; empty for elements without a key.
    pub key_hashes: Vec<u64>,
    /// The output fields. A delete has its key fields only.
    pub batch: RecordBatch,
}

impl Plan {
    /// Shapes a range of the log or of a scan.
    ///
    /// # Errors
    /// The batch does not have the columns of the plan's schema.
    pub fn shape(&self, range: &LakeBatch) -> Result<Shaped, ShapeError> {
        self.shape_batch(&range.batch, false)
    }

    /// Shapes rows of a snapshot: every one in scope is an insert.
    ///
    /// # Errors
    /// As [`Plan::shape`].
    pub fn shape_snapshot(&self, range: &LakeBatch) -> Result<Shaped, ShapeError> {
        self.shape_batch(&range.batch, true)
    }

    /// Shapes and encodes a range of the log or of a scan.
    ///
    /// # Errors
    /// As [`Plan::shape`].
    pub fn encode(&self, range: &LakeBatch) -> Result<Encoded, ShapeError> {
        Encoded::new(self, range, self.shape(range)?)
    }

    /// Shapes and encodes rows of a snapshot.
    ///
    /// # Errors
    /// As [`Plan::shape`].
    pub fn encode_snapshot(&self, range: &LakeBatch) -> Result<Encoded, ShapeError> {
        Encoded::new(self, range, self.shape_snapshot(range)?)
    }

    /// Shapes and encodes what the routing index found in a range: the same records as
    /// [`Plan::encode`] gives, without a look at the others.
    ///
    /// # Errors
    /// As [`Plan::shape`].
    pub fn encode_routed(&self, range: &LakeBatch, found: &Candidates) -> Result<Encoded, ShapeError> {
        Encoded::new(self, range, self.shape_routed(found)?)
    }

    /// Shapes what the routing index found in a range.
    ///
    /// # Errors
    /// As [`Plan::shape`].
    pub fn shape_routed(&self, found: &Candidates) -> Result<Shaped, ShapeError> {
        let images = found.images();
        let decided = match found.rows() {
            rows if found.decided() => Decided::inserts(rows.map_or_else(|| every(&images.after), <[u32]>::to_vec)),
            None => self.decide(&images.after, images.changes.as_ref())?,
            Some(rows) => {
                let (after, changes) = images.among(&rows.to_vec().into(), &self.used)?;
                let mut decided = self.decide(&after, changes.as_ref())?;
                decided.rows.iter_mut().for_each(|row| *row = rows[*row as usize]);
                decided
            }
        };
        self.shaped(images, decided)
    }

    pub(super) fn shape_batch(&self, batch: &RecordBatch, snapshot: bool) -> Result<Shaped, ShapeError> {
        let changes = self.is_keyed() && !snapshot;
        let images = Images::of(batch, &self.declared, Floats::Of(&self.used), changes)?;
        let decided = self.decide(&images.after, images.changes.as_ref())?;
        self.shaped(&images, decided)
    }

    /// The rows that `decided` names, as the receiver sees them.
    fn shaped(&self, images: &Images, decided: Decided) -> Result<Shaped, ShapeError> {
        let offsets: Vec<u64> = decided.rows.iter().map(|row| images.offsets.value(*row as usize) as u64).collect();
        let before = images.changes.as_ref().and_then(|changes| changes.before.as_ref());
        Ok(Shaped {
            ids: self.record_ids.all(&offsets),
            offsets,
            key_hashes: self.key_hashes(&images.after, &decided.rows),
            batch: self.outputs(&images.after, before, &decided)?,
            transitions: decided.transitions,
        })
    }

    /// The declared columns of a batch, an older schema widened, floats plain.
    pub(super) fn declared(&self, batch: &RecordBatch) -> Result<RecordBatch, ShapeError> {
        images::plain(batch, &self.declared, Floats::Of(&self.used))
    }

    /// Which rows are in scope, and what happened to them.
    fn decide(&self, after: &RecordBatch, changes: Option<&Changes>) -> Result<Decided, ShapeError> {
        let after_matches = self.matches(after)?;
        let Some(changes) = changes else {
            let matching = |matches: BooleanArray| matches.values().set_indices().map(|row| row as u32).collect();
            return Ok(Decided::inserts(after_matches.map_or_else(|| every(after), matching)));
        };
        let before = changes.before.as_ref();
        let before_matches = before.map(|before| self.matches(before)).transpose()?.flatten();
        let unchanged = before.map(|before| self.unchanged(before, after)).transpose()?.flatten();

        let mut decided = Decided { rows: Vec::new(), transitions: Vec::new() };
        for row in 0..after.num_rows() {
            let is = |mask: &Option<BooleanArray>| mask.as_ref().is_none_or(|mask| mask.value(row));
            let was_in = changes.had.value(row) && is(&before_matches);
            let is_in = !changes.deleted.value(row) && is(&after_matches);
            let transition = match (was_in, is_in) {
                (false, false) => continue,
                (false, true) => Transition::Insert,
                (true, false) => Transition::Delete,
                (true, true) if is(&unchanged) => continue,
                (true, true) => Transition::Update,
            };
            decided.rows.push(row as u32);
            decided.transitions.push(transition);
        }
        Ok(decided)
    }

    /// Where no column that reaches the receiver changed. `None` only for a plan without columns.
    fn unchanged(&self, before: &RecordBatch, after: &RecordBatch) -> Result<Option<BooleanArray>, ShapeError> {
        let mut same: Option<BooleanArray> = None;
        for index in &self.sources {
            let column = not_distinct(before.column(*index), after.column(*index))?;
            same = Some(match same {
                Some(same) => and(&same, &column)?,
                None => column,
            });
        }
        Ok(same)
    }

    fn outputs(
        &self,
        after: &RecordBatch,
        before: Option<&RecordBatch>,
        decided: &Decided,
    ) -> Result<RecordBatch, ShapeError> {
        let options = RecordBatchOptions::new().with_row_count(Some(decided.rows.len()));
        let (mut upserts, mut deletes) = (Vec::new(), Vec::new());
        for (row, transition) in decided.rows.iter().zip(&decided.transitions) {
            if *transition == Transition::Delete { deletes.push(*row) } else { upserts.push(*row) }
        }
        let inserted = upserts.len();
        let kept = Picked::new(after, upserts, self.computed.as_deref())?;
        let mut columns: Vec<ArrayRef> =
            self.outputs.iter().map(|output| output.evaluate(&kept)).collect::<Result<_, _>>()?;
        if let (Some(before), false) = (before, deletes.is_empty()) {
            let deleted = deletes.len();
            let gone = Picked::new(before, deletes, self.computed.as_deref())?;
            // Row order again: upserts and deletes are two runs, and each row knows its place.
            let (mut next_kept, mut next_gone) = (0_u32, inserted as u32);
            let places = decided.transitions.iter().map(|transition| {
                let next = if *transition == Transition::Delete { &mut next_gone } else { &mut next_kept };
                *next += 1;
                *next - 1
            });
            let places: UInt32Array = places.collect::<Vec<_>>().into();
            for (output, column) in self.outputs.iter().zip(&mut columns) {
                let tail = if output.is_key {
                    output.evaluate(&gone)?
                } else {
                    new_null_array(&arrow_type(output.field.data_type), deleted)
                };
                *column = take(&concat(&[column.as_ref(), tail.as_ref()])?, &places, None)?;
            }
        }
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.output_arrow), columns, &options)?)
    }

    fn key_hashes(&self, after: &RecordBatch, rows: &[u32]) -> Vec<u64> {
        if self.keys.is_empty() {
            return Vec::new();
        }
        let columns: Vec<_> = self.keys.iter().map(|index| after.column(*index)).collect();
        rows.iter()
            .map(|row| {
                let mut hash = Fnv::default();
                columns.iter().for_each(|column| hash_value(&mut hash, column, *row as usize));
                hash.finish()
            })
            .collect()
    }
}

/// The rows in scope and what happened to them.
struct Decided {
    rows: Vec<u32>,
    transitions: Vec<Transition>,
}

impl Decided {
    fn inserts(rows: Vec<u32>) -> Self {
        Self { transitions: vec![Transition::Insert; rows.len()], rows }
    }
}

fn every(batch: &RecordBatch) -> Vec<u32> {
    (0..batch.num_rows() as u32).collect()
}

/// FNV-1a with a final mix: stable for ever, since lanes keep cursors by it (rule 28).
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        mixed ^ (mixed >> 33)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

fn hash_value(hash: &mut Fnv, column: &ArrayRef, row: usize) {
    if column.is_null(row) {
        return hash.write(&[0]);
    }
    hash.write(&[1]);
    match column.data_type() {
        ArrowType::Boolean => hash.write(&[u8::from(column.as_boolean().value(row))]),
        ArrowType::Int64 => hash.write(&column.as_primitive::<Int64Type>().value(row).to_le_bytes()),
        ArrowType::Date32 => hash.write(&column.as_primitive::<Date32Type>().value(row).to_le_bytes()),
        ArrowType::Timestamp(..) => {
            hash.write(&column.as_primitive::<TimestampMicrosecondType>().value(row).to_le_bytes());
        }
        ArrowType::Utf8 => {
            let text = column.as_string::<i32>().value(row).as_bytes();
            hash.write(&(text.len() as u64).to_le_bytes());
            hash.write(text);
        }
        // Floats and JSON are no keys (`Schema::errors`).
        _ => {}
    }
}
