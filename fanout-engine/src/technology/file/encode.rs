//! Records as the bytes of one file.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use headgate_lake::parquet_properties;
use parquet::arrow::ArrowWriter;
use parquet::basic::Encoding;
use parquet::schema::types::ColumnPath;
use serde_json::{Map, Value};

use super::settings::Format;
use crate::technology::{OutputElement, Slice};

/// Why records cannot be written in a format.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// Arrow or Parquet refuse the columns.
    #[error("failed to write Parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// The columns of one file do not fit together.
    #[error("failed to put columns together: {0}")]
    Columns(#[from] arrow::error::ArrowError),
    /// A shaped record is not a JSON object.
    #[error("a shaped record is no JSON object: {0}")]
    Record(#[from] serde_json::Error),
}

/// The file that holds these rows.
pub fn encode(format: Format, output: &OutputElement, parts: &[Slice]) -> Result<Vec<u8>, EncodeError> {
    match format {
        Format::Ndjson => Ok(ndjson(parts)),
        Format::Csv => csv(output, parts),
        Format::Parquet => parquet(parts),
    }
}

fn ndjson(parts: &[Slice]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        for row in part.rows.clone() {
            bytes.extend_from_slice(part.encoded.json(row));
            bytes.push(b'\n');
        }
    }
    bytes
}

fn csv(output: &OutputElement, parts: &[Slice]) -> Result<Vec<u8>, EncodeError> {
    let keyed = parts.first().is_some_and(|part| part.encoded.is_keyed());
    let mut columns: Vec<&str> = output.schema.fields.iter().map(|field| field.name.as_str()).collect();
    columns.push("_id");
    if keyed {
        columns.push("_op");
    }
    let mut bytes = columns.join(",").into_bytes();
    bytes.extend_from_slice(b"\r\n");
    for part in parts {
        for row in part.rows.clone() {
            let record: Map<String, Value> = serde_json::from_slice(part.encoded.json(row))?;
            for (index, column) in columns.iter().enumerate() {
                if index > 0 {
                    bytes.push(b',');
                }
                write_field(&mut bytes, record.get(*column));
            }
            bytes.extend_from_slice(b"\r\n");
        }
    }
    Ok(bytes)
}

/// A CSV library writes no value and an empty text alike; receivers must be able to tell.
fn write_field(bytes: &mut Vec<u8>, value: Option<&Value>) {
    let text = match value {
        None | Some(Value::Null) => return,
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    if text.is_empty() || text.contains([',', '"', '\r', '\n']) {
        bytes.push(b'"');
        bytes.extend_from_slice(text.replace('"', "\"\"").as_bytes());
        bytes.push(b'"');
    } else {
        bytes.extend_from_slice(text.as_bytes());
    }
}

fn parquet(parts: &[Slice]) -> Result<Vec<u8>, EncodeError> {
    let batches: Vec<RecordBatch> = parts.iter().map(columns).collect::<Result<_, _>>()?;
    let schema = batches.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
    let id = ColumnPath::from("_id");
    let properties = parquet_properties(&schema)?
        // Each differs from the one before in its last digits.
        .set_column_dictionary_enabled(id.clone(), false)
        .set_column_encoding(id, Encoding::DELTA_BYTE_ARRAY)
        .set_created_by("headgate".to_owned())
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, schema, Some(properties))?;
    for batch in &batches {
        writer.write(batch)?;
    }
    writer.close()?;
    Ok(bytes)
}

/// The output columns of some rows, with `_id` and, for keyed elements, `_op`.
fn columns(part: &Slice) -> Result<RecordBatch, EncodeError> {
    let encoded = &part.encoded;
    let batch = encoded.batch().slice(part.rows.start, part.rows.len());
    let mut fields: Vec<Field> = batch.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    let mut arrays: Vec<ArrayRef> = batch.columns().to_vec();
    let ids = part.rows.clone().map(|row| encoded.id(row).to_string());
    fields.push(Field::new("_id", DataType::Utf8, false));
    arrays.push(Arc::new(StringArray::from_iter_values(ids)));
    if encoded.is_keyed() {
        let operations = part.rows.clone().map(|row| if encoded.is_delete(row) { "delete" } else { "upsert" });
        fields.push(Field::new("_op", DataType::Utf8, false));
        arrays.push(Arc::new(StringArray::from_iter_values(operations)));
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}
