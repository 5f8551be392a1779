//! The options of a file channel.

use std::time::Duration;

use headgate_types::FieldError;
use indexmap::IndexMap;
use serde_json::{Value, json};

const DEFAULT_ROLL_BYTES: u64 = 8 << 20;
const MAX_ROLL_BYTES: u64 = 1 << 30;
const DEFAULT_ROLL_SECONDS: u64 = 60;
const MAX_ROLL_SECONDS: u64 = 86_400;

/// How records are written into a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line.
    Ndjson,
    /// RFC 4180 with a header row. No value is an empty field, an empty text is `""`.
    Csv,
    /// Apache Parquet, zstd.
    Parquet,
}

impl Format {
    const ALL: [Self; 3] = [Self::Ndjson, Self::Csv, Self::Parquet];

    /// The word in options and the ending of file names.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }

    /// The media type of a file.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }
}

/// What and when to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The format.
    pub format: Format,
    /// Canonical bytes after which a file is full.
    pub roll_bytes: u64,
    /// How long the first record of a file waits for others.
    pub roll_age: Duration,
}

/// The JSON Schema of the options.
pub fn schema() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "format": {"enum": Format::ALL.map(Format::as_str), "default": "ndjson"},
            "roll_bytes": {
                "type": "integer", "minimum": 1, "maximum": MAX_ROLL_BYTES, "default": DEFAULT_ROLL_BYTES,
                "description": "A file is closed when its records reach this size as JSON; the channel's memory bounds it too."
            },
            "roll_seconds": {
                "type": "integer", "minimum": 1, "maximum": MAX_ROLL_SECONDS, "default": DEFAULT_ROLL_SECONDS,
                "description": "A file is closed when its first record has waited this long."
            }
        }
    })
}

impl Settings {
    /// Reads the options; the errors point into them.
    pub fn read(options: &IndexMap<String, Value>) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        for name in options.keys().filter(|name| !["format", "roll_bytes", "roll_seconds"].contains(&name.as_str())) {
            let detail =
                format!("file channels have no option {name:?}; they have format, roll_bytes and roll_seconds");
            errors.push(FieldError::new(format!("/{name}"), "unknown_option", detail));
        }
        let format = match options.get("format") {
            None => Some(Format::Ndjson),
            Some(value) => Format::ALL.into_iter().find(|format| value.as_str() == Some(format.as_str())),
        };
        if format.is_none() {
            errors.push(FieldError::new("/format", "unknown_format", "the format is one of ndjson, csv, parquet"));
        }
        let mut number = |name: &str, default: u64, most: u64| match options.get(name) {
            None => default,
            Some(value) => value.as_u64().filter(|number| (1..=most).contains(number)).unwrap_or_else(|| {
                let detail = format!("{name} is a whole number from 1 to {most}");
                errors.push(FieldError::new(format!("/{name}"), "out_of_range", detail));
                default
            }),
        };
        let roll_bytes = number("roll_bytes", DEFAULT_ROLL_BYTES, MAX_ROLL_BYTES);
        let roll_age = Duration::from_secs(number("roll_seconds", DEFAULT_ROLL_SECONDS, MAX_ROLL_SECONDS));
        match format {
            Some(format) if errors.is_empty() => Ok(Self { format, roll_bytes, roll_age }),
            _ => Err(errors),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_have_defaults_and_wrong_ones_are_named() {
        let read = |options: Value| {
            let options = serde_json::from_value(options).unwrap();
            Settings::read(&options).map_err(|errors| errors.into_iter().map(|error| error.pointer).collect::<Vec<_>>())
        };
        assert_eq!(read(json!({})).unwrap().format, Format::Ndjson);
        assert_eq!(read(json!({"format": "parquet", "roll_seconds": 5})).unwrap().roll_age, Duration::from_secs(5));
        let wrong = json!({"format": "xls", "roll_bytes": 0, "roll": 1});
        assert_eq!(read(wrong), Err(vec!["/roll".to_owned(), "/format".to_owned(), "/roll_bytes".to_owned()]));
    }
}
