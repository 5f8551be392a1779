//! A contiguous range of one element's records.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use chrono::{DateTime, Utc};
use headgate_types::{ElementId, SchemaId};

use crate::error::Result;
use crate::layout::INGESTED_AT;

/// Records `first..=last` of one element, with the columns of [`crate::arrow_schema`].
///
/// Batches of one read follow each other without gap. In a batch of the log or of a scan every
/// offset of the range has its row; in a batch of an entity's snapshot the rows are those live at
/// the snapshot, in the order of their `_offset`, and the range says what has been covered.
#[derive(Debug, Clone)]
pub struct LakeBatch {
    /// The element.
    pub element: ElementId,
    /// The epoch of the records.
    pub epoch: u32,
    /// The first offset covered.
    pub first: u64,
    /// The last offset covered.
    pub last: u64,
    /// The schema of the declared columns.
    pub schema_id: SchemaId,
    /// When the newest of the records was committed.
    pub committed_at: DateTime<Utc>,
    /// The records.
    pub batch: RecordBatch,
}

impl LakeBatch {
    /// The bytes the records take in memory.
    #[must_use]
    pub fn memory(&self) -> usize {
        // A slice keeps the whole of its buffers alive, but what a reader was given is its share.
        self.batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum()
    }

    /// The records after offset `after`; `None` when there are none. Only for batches in which
    /// every offset has its row.
    #[must_use]
    pub fn after(self: &Arc<Self>, after: u64) -> Option<Arc<Self>> {
        self.between(after, self.last)
    }

    /// The records in `(after, to]`; `None` when there are none. Only for batches in which every
    /// offset has its row.
    #[must_use]
    pub fn between(self: &Arc<Self>, after: u64, to: u64) -> Option<Arc<Self>> {
        let first = self.first.max(after + 1);
        let last = self.last.min(to);
        if first > last {
            return None;
        }
        if first == self.first && last == self.last {
            return Some(Arc::clone(self));
        }
        let batch = self.batch.slice((first - self.first) as usize, (last - first + 1) as usize);
        Some(Arc::new(Self { first, last, batch, ..Self::clone(self) }))
    }
}

/// The log's columns with `_offset` counting from `first` and one `_ingested_at`.
pub(crate) fn with_positions(
    batch: &RecordBatch,
    schema: &SchemaRef,
    first: u64,
    committed_at: DateTime<Utc>,
) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let first = first as i64;
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(Int64Array::from_iter_values(first..first + rows as i64)));
    columns.push(Arc::new(
        TimestampMicrosecondArray::from_value(committed_at.timestamp_micros(), rows).with_timezone("UTC"),
    ));
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

/// The newest `_ingested_at`; the epoch of Unix time when there is none.
pub(crate) fn newest_time(batch: &RecordBatch) -> DateTime<Utc> {
    let times = batch.column_by_name(INGESTED_AT).and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
    let newest = times.and_then(arrow::compute::max).unwrap_or(0);
    DateTime::from_timestamp_micros(newest).unwrap_or_default()
}
