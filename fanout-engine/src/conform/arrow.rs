//! Rows into Arrow columns and back.

use std::sync::Arc;

use ::arrow::array::{
    Array, ArrayRef, AsArray, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, RecordBatch, StringBuilder,
    TimestampMicrosecondBuilder,
};
use ::arrow::datatypes::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use ::arrow::error::ArrowError;
use headgate_types::schema::{DataType, Schema};

use super::Scalar;

/// The columns of `schema`, one row of values each.
///
/// # Errors
/// A value does not have the form of its field's type; the conformer never makes one.
pub fn declared_batch<'a, R>(schema: &Schema, rows: R) -> Result<Vec<ArrayRef>, ArrowError>
where
    R: IntoIterator<Item = Option<&'a [Scalar]>> + Clone,
{
    let column = |(index, field): (usize, &headgate_types::schema::Field)| {
        let values = rows.clone().into_iter().map(|row| row.and_then(|row| row.get(index)).unwrap_or(&Scalar::Null));
        build(field.data_type, values)
    };
    schema.fields.iter().enumerate().map(column).collect()
}

macro_rules! fill {
    ($builder:expr, $values:expr, $($pattern:pat => $value:expr),*) => {{
        let mut builder = $builder;
        for value in $values {
            match value {
                Scalar::Null => builder.append_null(),
                $($pattern => builder.append_value($value),)*
                other => return Err(ArrowError::InvalidArgumentError(format!("a value does not fit its column: {other:?}"))),
            }
        }
        Arc::new(builder.finish()) as ArrayRef
    }};
}

fn build<'a>(data_type: DataType, values: impl Iterator<Item = &'a Scalar>) -> Result<ArrayRef, ArrowError> {
    let rows = values.size_hint().0;
    Ok(match data_type {
        DataType::Bool => fill!(BooleanBuilder::with_capacity(rows), values, Scalar::Bool(value) => *value),
        DataType::Int64 => fill!(Int64Builder::with_capacity(rows), values, Scalar::Int(value) => *value),
        DataType::Float64 => fill!(Float64Builder::with_capacity(rows), values, Scalar::Float(value) => *value),
        DataType::String | DataType::Json => {
            fill!(StringBuilder::with_capacity(rows, rows), values, Scalar::Text(value) => value)
        }
        DataType::Timestamp => {
            let builder = TimestampMicrosecondBuilder::with_capacity(rows).with_timezone("UTC");
            fill!(builder, values, Scalar::Micros(value) => *value)
        }
        DataType::Date => fill!(Date32Builder::with_capacity(rows), values, Scalar::Days(value) => *value),
    })
}

/// The declared columns of a batch as rows of values; columns the batch lacks are without value.
///
/// # Errors
/// A column has another type than its field.
pub fn rows_of(schema: &Schema, batch: &RecordBatch) -> Result<Vec<Vec<Scalar>>, ArrowError> {
    let mut rows = vec![vec![Scalar::Null; schema.fields.len()]; batch.num_rows()];
    for (index, field) in schema.fields.iter().enumerate() {
        let Some(column) = batch.column_by_name(&field.name) else { continue };
        let values = read(field.data_type, column)
            .ok_or_else(|| ArrowError::SchemaError(format!("column {:?} is {}", field.name, column.data_type())))?;
        for (row, value) in rows.iter_mut().zip(values) {
            row[index] = value;
        }
    }
    Ok(rows)
}

fn read(data_type: DataType, column: &ArrayRef) -> Option<Vec<Scalar>> {
    fn all<T>(values: impl Iterator<Item = Option<T>>, wrap: impl Fn(T) -> Scalar) -> Vec<Scalar> {
        values.map(|value| value.map_or(Scalar::Null, &wrap)).collect()
    }
    Some(match data_type {
        DataType::Bool => all(column.as_boolean_opt()?.iter(), Scalar::Bool),
        DataType::Int64 => all(column.as_primitive_opt::<Int64Type>()?.iter(), Scalar::Int),
        DataType::Float64 => all(column.as_primitive_opt::<Float64Type>()?.iter(), Scalar::Float),
        DataType::String | DataType::Json => {
            all(column.as_string_opt::<i32>()?.iter(), |text: &str| Scalar::Text(text.into()))
        }
        DataType::Timestamp => all(column.as_primitive_opt::<TimestampMicrosecondType>()?.iter(), Scalar::Micros),
        DataType::Date => all(column.as_primitive_opt::<Date32Type>()?.iter(), Scalar::Days),
    })
}
