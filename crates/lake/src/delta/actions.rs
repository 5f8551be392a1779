//! Delta log entries, one JSON object a line
//! (<https://github.com/delta-io/delta/blob/master/PROTOCOL.md>).

use arrow::datatypes::{DataType, Field, Schema};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::data_file::DataFile;

/// Reader and writer versions: the oldest that hold what the tables use.
const PROTOCOL: (u32, u32) = (1, 2);
/// The application whose `txn` says up to which offset a table goes.
pub(super) const APPLICATION: &str = "headgate-lake";

pub(super) fn commit_info(operation: &str, mode: Option<&str>, at: DateTime<Utc>) -> Value {
    let parameters: Map<String, Value> = mode.map(|mode| ("mode".to_owned(), json!(mode))).into_iter().collect();
    json!({"commitInfo": {
        "timestamp": at.timestamp_millis(),
        "operation": operation,
        "operationParameters": parameters,
        "isBlindAppend": mode == Some("Append"),
        "engineInfo": concat!("headgate-lake/", env!("CARGO_PKG_VERSION")),
    }})
}

pub(super) fn protocol() -> Value {
    json!({"protocol": {"minReaderVersion": PROTOCOL.0, "minWriterVersion": PROTOCOL.1}})
}

pub(super) fn metadata(id: &str, name: &str, schema: &str, log_retention_hours: u64, at: i64) -> Value {
    json!({"metaData": {
        "id": id,
        "name": name,
        "format": {"provider": "parquet", "options": {}},
        "schemaString": schema,
        "partitionColumns": [],
        "configuration": {"delta.logRetentionDuration": format!("interval {log_retention_hours} hours")},
        "createdTime": at,
    }})
}

pub(super) fn txn(version: u64, at: DateTime<Utc>) -> Value {
    json!({"txn": {"appId": APPLICATION, "version": version, "lastUpdated": at.timestamp_millis()}})
}

pub(super) fn add(file: &DataFile, stats: &str, at: DateTime<Utc>, data_change: bool) -> Value {
    json!({"add": {
        "path": file.path,
        "partitionValues": {},
        "size": file.bytes,
        "modificationTime": at.timestamp_millis(),
        "dataChange": data_change,
        "stats": stats,
    }})
}

pub(super) fn remove(file: &DataFile, at: DateTime<Utc>, data_change: bool) -> Value {
    json!({"remove": {
        "path": file.path,
        "deletionTimestamp": at.timestamp_millis(),
        "dataChange": data_change,
        "extendedFileMetadata": true,
        "partitionValues": {},
        "size": file.bytes,
    }})
}

/// The lines of a log entry.
pub(super) fn lines(actions: &[Value]) -> String {
    actions.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")
}

/// The Delta form of an Arrow schema made by `layout`.
pub(super) fn schema_string(schema: &Schema) -> String {
    struct_type(schema.fields().iter().map(AsRef::as_ref)).to_string()
}

fn struct_type<'a>(fields: impl Iterator<Item = &'a Field>) -> Value {
    let fields: Vec<Value> = fields
        .map(|field| {
            json!({"name": field.name(), "type": delta_type(field.data_type()), "nullable": true, "metadata": {}})
        })
        .collect();
    json!({"type": "struct", "fields": fields})
}

fn delta_type(data_type: &DataType) -> Value {
    match data_type {
        DataType::Boolean => json!("boolean"),
        DataType::Int64 => json!("long"),
        DataType::Float64 => json!("double"),
        DataType::Timestamp(..) => json!("timestamp"),
        DataType::Date32 => json!("date"),
        DataType::Struct(fields) => struct_type(fields.iter().map(AsRef::as_ref)),
        _ => json!("string"),
    }
}
