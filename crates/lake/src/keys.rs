//! Which keys a range of changes touches.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::row::{RowConverter, SortField};

use crate::delta::offsets;
use crate::error::{LakeError, Result};
use crate::layout::{ElementLayout, OP};

/// The last offset at which each key changed, over the ranges observed. Holds keys, not rows.
pub(crate) struct ChangedKeys {
    converter: RowConverter,
    columns: Vec<usize>,
    last: HashMap<Box<[u8]>, u64>,
}

impl ChangedKeys {
    pub(crate) fn new(layout: &ElementLayout) -> Result<Self> {
        let columns = layout.key_indices();
        if columns.is_empty() {
            return Err(LakeError::Damaged(format!("{} has no key", layout.element)));
        }
        let schema = layout.arrow_schema();
        let fields = columns.iter().map(|index| SortField::new(schema.field(*index).data_type().clone())).collect();
        Ok(Self { converter: RowConverter::new(fields)?, columns, last: HashMap::new() })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    /// Takes note of changes, which come in offset order.
    pub(crate) fn observe(&mut self, batch: &RecordBatch) -> Result<()> {
        let rows = self.converter.convert_columns(&self.key_columns(batch))?;
        for (row, offset) in rows.iter().zip(offsets(batch)?) {
            self.last.insert(row.data().into(), *offset as u64);
        }
        Ok(())
    }

    /// The rows whose keys did not change.
    pub(crate) fn unchanged(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = self.converter.convert_columns(&self.key_columns(batch))?;
        let keep: BooleanArray = rows.iter().map(|row| Some(!self.last.contains_key(row.data()))).collect();
        Ok(filter_record_batch(batch, &keep)?)
    }

    /// The changes that are the last of their key and no delete.
    pub(crate) fn live(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = self.converter.convert_columns(&self.key_columns(batch))?;
        let ops = batch.column_by_name(OP).and_then(|column| column.as_string_opt::<i32>());
        let ops: &StringArray = ops.ok_or_else(|| LakeError::Damaged(format!("changes without {OP}")))?;
        let keep: BooleanArray = rows
            .iter()
            .zip(offsets(batch)?)
            .enumerate()
            .map(|(index, (row, offset))| {
                let is_delete = ops.is_valid(index) && ops.value(index) == "delete";
                Some(!is_delete && self.last.get(row.data()) == Some(&(*offset as u64)))
            })
            .collect();
        Ok(filter_record_batch(batch, &keep)?)
    }

    fn key_columns(&self, batch: &RecordBatch) -> Vec<ArrayRef> {
        self.columns.iter().map(|index| batch.column(*index).clone()).collect()
    }
}
