//! Values between Arrow columns, SQLite and text.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use chrono::{DateTime, NaiveDate, Utc};
use headgate_types::schema::{DAYS, DataType, MICROS};
use rusqlite::types::{Value, ValueRef};

use super::table::Column;
use crate::shape::{date_text, timestamp_text, write_string, write_value};

/// The value of a cell as SQLite keeps it; null where the column has another type.
pub fn stored(batch: &RecordBatch, place: usize, data_type: DataType, row: usize) -> Value {
    let array = batch.column(place);
    if array.is_null(row) {
        return Value::Null;
    }
    let value = match data_type {
        DataType::Bool => array.as_boolean_opt().map(|a| Value::Integer(i64::from(a.value(row)))),
        DataType::Int64 => array.as_primitive_opt::<Int64Type>().map(|a| Value::Integer(a.value(row))),
        DataType::Float64 => array.as_primitive_opt::<Float64Type>().map(|a| Value::Real(a.value(row))),
        DataType::Timestamp => {
            array.as_primitive_opt::<TimestampMicrosecondType>().map(|a| Value::Integer(a.value(row)))
        }
        DataType::Date => array.as_primitive_opt::<Date32Type>().map(|a| Value::Integer(i64::from(a.value(row)))),
        DataType::String | DataType::Json => array.as_string_opt::<i32>().map(|a| Value::Text(a.value(row).to_owned())),
    };
    value.unwrap_or(Value::Null)
}

/// Appends a stored value as JSON, in the form every channel gives it.
pub fn write_json(out: &mut Vec<u8>, data_type: DataType, value: ValueRef<'_>) {
    match (data_type, value) {
        (DataType::Bool, ValueRef::Integer(value)) => {
            out.extend_from_slice(if value == 0 { b"false" } else { b"true" })
        }
        (DataType::Int64, ValueRef::Integer(value)) => out.extend_from_slice(value.to_string().as_bytes()),
        (DataType::Json, ValueRef::Text(text)) => out.extend_from_slice(text),
        (DataType::Float64, ValueRef::Real(value)) => write_value(out, &serde_json::Value::from(value)),
        (_, value) => match text(data_type, value) {
            Some(text) => write_string(out, &text),
            None => out.extend_from_slice(b"null"),
        },
    }
}

/// A stored value as text, for CSV and for keys in paths; `None` for null.
pub fn text(data_type: DataType, value: ValueRef<'_>) -> Option<String> {
    match (data_type, value) {
        (_, ValueRef::Null | ValueRef::Blob(_)) => None,
        (DataType::Bool, ValueRef::Integer(value)) => Some((value != 0).to_string()),
        (DataType::Timestamp, ValueRef::Integer(micros)) => timestamp_text(micros),
        (DataType::Date, ValueRef::Integer(days)) => date_text(i32::try_from(days).ok()?),
        (_, ValueRef::Integer(value)) => Some(value.to_string()),
        (_, ValueRef::Real(value)) => {
            let mut out = Vec::new();
            write_value(&mut out, &serde_json::Value::from(value));
            String::from_utf8(out).ok()
        }
        (_, ValueRef::Text(text)) => Some(String::from_utf8_lossy(text).into_owned()),
    }
}

/// Reads a value of a column from text, as a filter or a path has it.
///
/// # Errors
/// Says what the column wants.
pub fn parse(column: &Column, text: &str) -> Result<Value, String> {
    let value = match column.data_type {
        DataType::Bool => text.parse::<bool>().ok().map(|value| Value::Integer(i64::from(value))),
        DataType::Int64 => text.parse().ok().map(Value::Integer),
        DataType::Float64 => text.parse().ok().filter(|value: &f64| value.is_finite()).map(Value::Real),
        DataType::Timestamp => moment(text)
            .map(|time| time.timestamp_micros())
            .filter(|micros| MICROS.contains(micros))
            .map(Value::Integer),
        DataType::Date => NaiveDate::parse_from_str(text, "%Y-%m-%d")
            .map(|date| date.signed_duration_since(DateTime::UNIX_EPOCH.date_naive()).num_days())
            .ok()
            .filter(|days| i32::try_from(*days).is_ok_and(|days| DAYS.contains(&days)))
            .map(Value::Integer),
        DataType::String | DataType::Json => Some(Value::Text(text.to_owned())),
    };
    value.ok_or_else(|| format!("{text:?} is not a value of {:?}, which is a {}", column.name, column.data_type))
}

/// RFC 3339, or a day, which means its beginning in UTC.
fn moment(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.with_timezone(&Utc));
    }
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(day.and_time(chrono::NaiveTime::MIN).and_utc())
}
