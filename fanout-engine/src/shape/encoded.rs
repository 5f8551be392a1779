//! A shaped range, encoded once: an arena of JSON records that sinks share by reference.

use std::ops::Range;

use arrow::array::{
    Array, AsArray, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use chrono::{DateTime, Utc};
use headgate_lake::LakeBatch;
use headgate_types::ElementId;
use headgate_types::checksum::Checksum;
use headgate_types::schema::DataType;

use super::ShapeError;
use super::canonical::{Integers, write_float, write_integer, write_nested, write_string};
use super::identity::{PlanId, RecordId};
use super::plan::Plan;
use super::transition::{Shaped, Transition};
use super::types::{date_text, timestamp_text};

/// The shaped records of one range of one element under one plan.
///
/// Rows are in the order of their offsets (a snapshot's in the order of its rows). Every record is
/// one JSON object with sorted members: the output fields, `_id`, and for keyed elements `_op`.
#[derive(Debug)]
pub struct Encoded {
    plan: PlanId,
    element: ElementId,
    epoch: u32,
    first: u64,
    last: u64,
    committed_at: DateTime<Utc>,
    keyed: bool,
    shaped: Shaped,
    arena: Vec<u8>,
    /// Where each record ends in the arena.
    ends: Vec<usize>,
    /// Length of each record's canonical form, cumulative.
    sizes: Vec<u64>,
    checksums: Vec<Checksum>,
}

impl Encoded {
    pub(super) fn new(plan: &Plan, range: &LakeBatch, shaped: Shaped) -> Result<Self, ShapeError> {
        let rows = shaped.offsets.len();
        let mut arena = Vec::with_capacity(rows * 128);
        let (mut ends, mut sizes) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        let mut checksums = Vec::with_capacity(rows);
        let (mut scratch, mut total) = (Vec::new(), 0);
        let members = members(plan, &shaped.batch)?;
        for row in 0..rows {
            let start = arena.len();
            let record = Record { id: shaped.ids[row], transition: shaped.transitions[row], row };
            let beyond = record.write(&mut arena, &members, Integers::Exact);
            let mut checksum = Checksum::EMPTY;
            let size = if beyond {
                scratch.clear();
                record.write(&mut scratch, &members, Integers::Canonical);
                checksum.add(&scratch);
                scratch.len()
            } else {
                checksum.add(&arena[start..]);
                arena.len() - start
            };
            total += size as u64;
            ends.push(arena.len());
            sizes.push(total);
            checksums.push(checksum);
        }
        arena.shrink_to_fit();
        Ok(Self {
            plan: plan.id(),
            element: range.element,
            epoch: range.epoch,
            first: range.first,
            last: range.last,
            committed_at: range.committed_at,
            keyed: plan.is_keyed(),
            shaped,
            arena,
            ends,
            sizes,
            checksums,
        })
    }

    /// The plan that shaped it.
    #[must_use]
    pub const fn plan(&self) -> PlanId {
        self.plan
    }

    /// The element.
    #[must_use]
    pub const fn element(&self) -> ElementId {
        self.element
    }

    /// The epoch of the offsets.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The first offset of the range that was looked at.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// The last offset of the range that was looked at.
    #[must_use]
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// When the newest record of the range was committed.
    #[must_use]
    pub const fn committed_at(&self) -> DateTime<Utc> {
        self.committed_at
    }

    /// Whether records replace one another by key.
    #[must_use]
    pub const fn is_keyed(&self) -> bool {
        self.keyed
    }

    /// The number of records in scope.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether none is in scope.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The output fields as columns, one row per record; a delete has its key fields only.
    #[must_use]
    pub const fn batch(&self) -> &RecordBatch {
        &self.shaped.batch
    }

    /// The offset of a record in the element's log. Internal: receivers see [`Encoded::id`].
    #[must_use]
    pub fn offset(&self, row: usize) -> u64 {
        self.shaped.offsets[row]
    }

    /// The id the receiver sees.
    #[must_use]
    pub fn id(&self, row: usize) -> RecordId {
        self.shaped.ids[row]
    }

    /// What happened to a record.
    #[must_use]
    pub fn transition(&self, row: usize) -> Transition {
        self.shaped.transitions[row]
    }

    /// Whether a record left the scope.
    #[must_use]
    pub fn is_delete(&self, row: usize) -> bool {
        self.transition(row) == Transition::Delete
    }

    /// A stable hash of a record's key; `None` for an element without a key.
    #[must_use]
    pub fn key_hash(&self, row: usize) -> Option<u64> {
        self.shaped.key_hashes.get(row).copied()
    }

    /// A record as it is sent: one JSON object, members sorted, no white space.
    #[must_use]
    pub fn json(&self, row: usize) -> &[u8] {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.arena[start..self.ends[row]]
    }

    /// Length in bytes of a record's canonical form: what is billed.
    #[must_use]
    pub fn size(&self, row: usize) -> u64 {
        self.bytes(row..row + 1)
    }

    /// Billed bytes of some records.
    #[must_use]
    pub fn bytes(&self, rows: Range<usize>) -> u64 {
        let until = |row: usize| row.checked_sub(1).map_or(0, |before| self.sizes[before]);
        until(rows.end) - until(rows.start)
    }

    /// Delivery checksum over some records.
    #[must_use]
    pub fn checksum(&self, rows: Range<usize>) -> Checksum {
        self.checksums[rows].iter().fold(Checksum::EMPTY, |sum, record| sum.plus(*record))
    }

    /// Billed bytes of all records.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.sizes.last().copied().unwrap_or(0)
    }

    /// Delivery checksum over all records.
    #[must_use]
    pub fn total_checksum(&self) -> Checksum {
        self.checksum(0..self.len())
    }

    /// The rows whose offsets lie in `(after, to]`. Not for a snapshot, whose rows are not in the
    /// order of their offsets across batches.
    #[must_use]
    pub fn rows_between(&self, after: u64, to: u64) -> Range<usize> {
        let start = self.shaped.offsets.partition_point(|offset| *offset <= after);
        let end = self.shaped.offsets.partition_point(|offset| *offset <= to);
        start..end.max(start)
    }

    /// Bytes it occupies in memory, about.
    #[must_use]
    pub fn memory(&self) -> usize {
        let per_row = size_of::<(usize, u64, Checksum, Transition, u64, RecordId, u64)>();
        self.arena.len() + self.len() * per_row + self.shaped.batch.get_array_memory_size()
    }
}

struct Record {
    id: RecordId,
    transition: Transition,
    row: usize,
}

impl Record {
    fn write(&self, out: &mut Vec<u8>, members: &[Member<'_>], integers: Integers) -> bool {
        let (mut beyond, mut first) = (false, true);
        out.push(b'{');
        for member in members {
            if self.transition == Transition::Delete && !member.on_delete {
                continue;
            }
            if !first {
                out.push(b',');
            }
            first = false;
            out.extend_from_slice(&member.name);
            match &member.cells {
                Cells::Id => {
                    out.push(b'"');
                    let start = out.len();
                    out.resize(start + 32, 0);
                    // The length is that of 16 bytes in hexadecimal.
                    let _ = hex::encode_to_slice(self.id.0, &mut out[start..]);
                    out.push(b'"');
                }
                Cells::Op if self.transition == Transition::Delete => out.extend_from_slice(b"\"delete\""),
                Cells::Op => out.extend_from_slice(b"\"upsert\""),
                cells => beyond |= cells.write(out, self.row, integers),
            }
        }
        out.push(b'}');
        beyond
    }
}

struct Member<'a> {
    /// `"name":`
    name: Vec<u8>,
    on_delete: bool,
    cells: Cells<'a>,
}

enum Cells<'a> {
    Id,
    Op,
    Bool(&'a BooleanArray),
    Int64(&'a Int64Array),
    Float64(&'a Float64Array),
    Text(&'a StringArray),
    Timestamp(&'a TimestampMicrosecondArray),
    Date(&'a Date32Array),
    Json(&'a StringArray),
}

/// The members of every record, sorted. Names are ASCII, so bytes order them as RFC 8785 asks.
fn members<'a>(plan: &Plan, batch: &'a RecordBatch) -> Result<Vec<Member<'a>>, ShapeError> {
    let mut members = vec![("_id", true, Cells::Id)];
    if plan.is_keyed() {
        members.push(("_op", true, Cells::Op));
    }
    for (output, column) in plan.outputs.iter().zip(batch.columns()) {
        let cells = match output.field.data_type {
            DataType::Bool => column.as_boolean_opt().map(Cells::Bool),
            DataType::Int64 => column.as_primitive_opt::<Int64Type>().map(Cells::Int64),
            DataType::Float64 => column.as_primitive_opt::<Float64Type>().map(Cells::Float64),
            DataType::String => column.as_string_opt::<i32>().map(Cells::Text),
            DataType::Timestamp => column.as_primitive_opt::<TimestampMicrosecondType>().map(Cells::Timestamp),
            DataType::Date => column.as_primitive_opt::<Date32Type>().map(Cells::Date),
            DataType::Json => column.as_string_opt::<i32>().map(Cells::Json),
        };
        let cells = cells.ok_or_else(|| ShapeError::Batch(format!("{:?} has another type", output.field.name)))?;
        members.push((output.field.name.as_str(), output.is_key, cells));
    }
    members.sort_by_key(|(name, ..)| *name);
    let named = |(name, on_delete, cells): (&str, bool, Cells<'a>)| {
        let mut quoted = Vec::new();
        write_string(&mut quoted, name);
        quoted.push(b':');
        Member { name: quoted, on_delete, cells }
    };
    Ok(members.into_iter().map(named).collect())
}

impl Cells<'_> {
    /// Appends a value; `true` when its exact and canonical forms differ.
    fn write(&self, out: &mut Vec<u8>, row: usize, integers: Integers) -> bool {
        let array: &dyn Array = match self {
            Self::Id | Self::Op => return false,
            Self::Bool(array) => *array,
            Self::Int64(array) => *array,
            Self::Float64(array) => *array,
            Self::Text(array) | Self::Json(array) => *array,
            Self::Timestamp(array) => *array,
            Self::Date(array) => *array,
        };
        if array.is_null(row) {
            out.extend_from_slice(b"null");
            return false;
        }
        match self {
            Self::Id | Self::Op => {}
            Self::Bool(array) => out.extend_from_slice(if array.value(row) { b"true" } else { b"false" }),
            Self::Int64(array) => return write_integer(out, array.value(row), integers),
            Self::Float64(array) => write_float(out, array.value(row)),
            Self::Text(array) => write_string(out, array.value(row)),
            Self::Timestamp(array) => write_text(out, timestamp_text(array.value(row))),
            Self::Date(array) => write_text(out, date_text(array.value(row))),
            Self::Json(array) => match serde_json::from_str(array.value(row)) {
                Ok(value) => return write_nested(out, &value, integers),
                // Conform lets no other text in; were it there, it would still be a value.
                Err(_) => write_string(out, array.value(row)),
            },
        }
        false
    }
}

fn write_text(out: &mut Vec<u8>, text: Option<String>) {
    match text {
        Some(text) => write_string(out, &text),
        None => out.extend_from_slice(b"null"),
    }
}
