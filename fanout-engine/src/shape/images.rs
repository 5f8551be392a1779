//! The images of a batch's rows in the columns of one schema: prepared once, read by every plan.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, StringArray, StructArray,
    UInt32Array,
};
use arrow::compute::take;
use arrow::datatypes::{Int64Type, SchemaRef};
use headgate_lake::{BEFORE, OFFSET, OP, adapt};

use super::ShapeError;
use super::types::plain_floats;

/// Which columns' floats are made plain.
#[derive(Debug, Clone, Copy)]
pub(super) enum Floats<'a> {
    /// All: the images are shared.
    All,
    /// Those of the columns that are read.
    Of(&'a [usize]),
}

/// The declared columns of a batch: an older schema widened, floats plain.
#[derive(Debug, Clone)]
pub(super) struct Images {
    /// After each change.
    pub after: RecordBatch,
    /// Of an element whose records replace one another.
    pub changes: Option<Changes>,
    /// Where each row is in the log.
    pub offsets: Int64Array,
}

/// What a keyed element's rows were before.
#[derive(Debug, Clone)]
pub(super) struct Changes {
    /// Before each change; `None` when no row has such an image.
    pub before: Option<RecordBatch>,
    /// Which rows have one.
    pub had: BooleanArray,
    /// Which rows are deletes: their image after the change is none.
    pub deleted: BooleanArray,
}

impl Images {
    /// The images of `batch`. `changes` asks for those before the changes as well.
    pub fn of(
        batch: &RecordBatch,
        declared: &SchemaRef,
        floats: Floats<'_>,
        changes: bool,
    ) -> Result<Self, ShapeError> {
        let after = plain(batch, declared, floats)?;
        let offsets = column(batch, OFFSET)?.as_primitive_opt::<Int64Type>().ok_or_else(|| not(OFFSET))?.clone();
        let changes = if changes { Some(Changes::of(batch, declared, floats)?) } else { None };
        Ok(Self { after, changes, offsets })
    }

    /// The images of only these rows, ascending, with the values of `columns` only: what other columns
    /// hold is undefined.
    pub fn among(&self, rows: &UInt32Array, columns: &[usize]) -> Result<(RecordBatch, Option<Changes>), ShapeError> {
        if rows.len() == self.after.num_rows() {
            return Ok((self.after.clone(), self.changes.clone()));
        }
        let changes = match &self.changes {
            Some(changes) => Some(Changes {
                before: changes.before.as_ref().map(|before| chosen(before, rows, columns)).transpose()?,
                had: take(&changes.had, rows, None)?.as_boolean().clone(),
                deleted: take(&changes.deleted, rows, None)?.as_boolean().clone(),
            }),
            None => None,
        };
        Ok((chosen(&self.after, rows, columns)?, changes))
    }
}

/// Some rows of a batch. A column is taken when it is asked for.
pub(super) struct Picked<'a> {
    batch: &'a RecordBatch,
    /// `None`: all rows.
    rows: Option<UInt32Array>,
    /// The rows of what expressions read.
    read: Option<RecordBatch>,
}

impl<'a> Picked<'a> {
    /// These rows, ascending. Expressions read the columns `read`, if there are any expressions.
    pub fn new(batch: &'a RecordBatch, rows: Vec<u32>, read: Option<&[usize]>) -> Result<Self, ShapeError> {
        if rows.len() == batch.num_rows() {
            return Ok(Self { batch, rows: None, read: None });
        }
        let rows = UInt32Array::from(rows);
        let read = read.map(|columns| chosen(batch, &rows, columns)).transpose()?;
        Ok(Self { batch, rows: Some(rows), read })
    }

    /// A column.
    pub fn column(&self, index: usize) -> Result<ArrayRef, ShapeError> {
        let column = self.batch.column(index);
        Ok(match &self.rows {
            Some(rows) => take(column, rows, None)?,
            None => Arc::clone(column),
        })
    }

    /// The rows with all that expressions read; what they do not read is undefined.
    pub fn read(&self) -> &RecordBatch {
        self.read.as_ref().unwrap_or(self.batch)
    }
}

impl Changes {
    fn of(batch: &RecordBatch, declared: &SchemaRef, floats: Floats<'_>) -> Result<Self, ShapeError> {
        let ops = column(batch, OP)?.as_any().downcast_ref::<StringArray>().ok_or_else(|| not(OP))?;
        let images = column(batch, BEFORE)?.as_any().downcast_ref::<StructArray>().ok_or_else(|| not(BEFORE))?;
        let had = match images.nulls() {
            Some(nulls) => BooleanArray::new(nulls.inner().clone(), None),
            None => BooleanArray::from(vec![true; images.len()]),
        };
        // Without any before-image nothing can leave the scope or change within it.
        let before = if images.null_count() == images.len() {
            None
        } else {
            let options = RecordBatchOptions::new().with_row_count(Some(images.len()));
            let schema = Arc::new(arrow::datatypes::Schema::new(images.fields().clone()));
            let before = RecordBatch::try_new_with_options(schema, images.columns().to_vec(), &options)?;
            Some(plain(&before, declared, floats)?)
        };
        let deleted = (0..ops.len()).map(|row| Some(ops.value(row) == "delete")).collect();
        Ok(Self { before, had, deleted })
    }
}

/// The declared columns of a batch, an older schema widened, floats plain.
pub(super) fn plain(batch: &RecordBatch, declared: &SchemaRef, floats: Floats<'_>) -> Result<RecordBatch, ShapeError> {
    let adapted = adapt(batch, declared).map_err(|error| ShapeError::Batch(error.to_string()))?;
    let mut columns = adapted.columns().to_vec();
    match floats {
        Floats::All => columns.iter_mut().for_each(|column| *column = plain_floats(column)),
        Floats::Of(used) => used.iter().for_each(|index| columns[*index] = plain_floats(&columns[*index])),
    }
    rebuilt(&adapted, columns)
}

/// Some rows; the columns not asked for keep their type and length, and whatever values.
fn chosen(batch: &RecordBatch, rows: &UInt32Array, columns: &[usize]) -> Result<RecordBatch, ShapeError> {
    let mut kept: Vec<ArrayRef> = batch.columns().iter().map(|column| column.slice(0, rows.len())).collect();
    for index in columns {
        kept[*index] = take(batch.column(*index), rows, None)?;
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    Ok(RecordBatch::try_new_with_options(batch.schema(), kept, &options)?)
}

fn rebuilt(batch: &RecordBatch, columns: Vec<ArrayRef>) -> Result<RecordBatch, ShapeError> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(batch.schema(), columns, &options)?)
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, ShapeError> {
    batch.column_by_name(name).ok_or_else(|| ShapeError::Batch(format!("the column {name} is missing")))
}

fn not(name: &str) -> ShapeError {
    ShapeError::Batch(format!("the column {name} has another type"))
}
