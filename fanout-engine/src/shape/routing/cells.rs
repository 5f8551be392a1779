//! A batch's columns in the form the index looks values up in.

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType as ArrowType, Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};

use super::access::ordered;

/// The values of one column.
pub enum Cells<'a> {
    /// Numbers, times and truth values, as [`super::access::Key::Number`].
    Numbers(Cow<'a, [i64]>, Option<&'a NullBuffer>),
    /// Text.
    Texts(&'a StringArray),
}

/// The columns named by `wanted`, floats of which are plain; the others are `None`.
pub fn cells<'a>(batch: &'a RecordBatch, wanted: &[usize]) -> Vec<Option<Cells<'a>>> {
    let mut cells: Vec<Option<Cells<'a>>> = (0..batch.num_columns()).map(|_| None).collect();
    for column in wanted {
        cells[*column] = of(batch.column(*column));
    }
    cells
}

/// `None` for types that no key has.
fn of(column: &ArrayRef) -> Option<Cells<'_>> {
    let numbers: Cow<'_, [i64]> = match column.data_type() {
        ArrowType::Utf8 => return column.as_string_opt::<i32>().map(Cells::Texts),
        ArrowType::Boolean => column.as_boolean_opt()?.values().iter().map(i64::from).collect(),
        ArrowType::Int64 => Cow::Borrowed(column.as_primitive_opt::<Int64Type>()?.values()),
        ArrowType::Date32 => column.as_primitive_opt::<Date32Type>()?.values().iter().copied().map(i64::from).collect(),
        ArrowType::Timestamp(..) => Cow::Borrowed(column.as_primitive_opt::<TimestampMicrosecondType>()?.values()),
        ArrowType::Float64 => column.as_primitive_opt::<Float64Type>()?.values().iter().copied().map(ordered).collect(),
        _ => return None,
    };
    Some(Cells::Numbers(numbers, column.nulls()))
}
