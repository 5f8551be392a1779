//! Input and output models: how raw payloads become records, and how records become what the
//! owner of a channel wants. These are documents; the engine compiles them.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::schema::DataType;

/// How a payload is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PayloadFormat {
    /// One JSON object, or an array of them.
    Json,
    /// One JSON object per line.
    Ndjson,
    /// RFC 4180 with a header row.
    Csv,
}

impl PayloadFormat {
    /// The format a content type names, parameters aside.
    #[must_use]
    pub fn from_content_type(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/json" => Some(Self::Json),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
                Some(Self::Ndjson)
            }
            "text/csv" | "application/csv" => Some(Self::Csv),
            _ => None,
        }
    }

    /// The word in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }
}

/// What a record of a feed does to its element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WriteMode {
    /// Adds a fact (`events`).
    #[default]
    Append,
    /// Inserts the row or replaces it whole (`entity`).
    Replace,
}

/// A conversion between two units, by UCUM code: `[degF]` → `Cel`, `[mi_i]/h` → `km/h`,
/// `hPa` → `[in_i'Hg]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UnitConversion {
    /// The unit the value has. Absent: the unit the schema declares for the field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The unit the value gets.
    pub to: String,
}

/// What happens to a payload field that the model does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnknownFields {
    /// It is left out.
    #[default]
    Ignore,
    /// The record is refused.
    Reject,
}

/// How one field of the element is made from a payload record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InputField {
    /// The field of the element.
    pub name: String,
    /// The field of the payload; a dotted path reaches into JSON objects. Absent: `name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The value used when the payload has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// Texts that mean "no value", beside those of the model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub null_markers: Vec<String>,
    /// strftime pattern of dates and timestamps in the payload. Absent: RFC 3339, ISO 8601 or
    /// `YYYY-MM-DD HH:MM:SS[.fraction]`, taken as UTC where no offset is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date_format: Option<String>,
    /// Decimal separator of numbers written as text; `.` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 1)]
    pub decimal_separator: Option<char>,
    /// Whether text that holds a number or boolean is converted in JSON payloads. CSV has only
    /// text, so there it always is.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cast: bool,
    /// Whether white space around text is removed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub trim: bool,
    /// Conversion between units, for numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitConversion>,
}

impl InputField {
    /// The field `name`, taken as it is.
    pub fn plain(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            from: None,
            default: None,
            null_markers: Vec::new(),
            date_format: None,
            decimal_separator: None,
            cast: false,
            trim: false,
            unit: None,
        }
    }
}

/// The payload field that says whether a record is deleted (`entity` only).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OperationField {
    /// The payload field.
    pub field: String,
    /// Its values that mean "delete".
    pub delete: Vec<String>,
}

/// How the payloads of a feed become records of its element.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InputModel {
    /// What a record does. Absent: `append` for events, `replace` for entities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<WriteMode>,
    /// Texts that mean "no value" in every field, for example `NA`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub null_markers: Vec<String>,
    /// The fields. Empty: every field of the schema, by its own name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<InputField>,
    /// What happens to payload fields that no field takes.
    #[serde(default)]
    pub unknown_fields: UnknownFields,
    /// Where the operation is read from. Absent: the payload field `_op` with `delete`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationField>,
}

/// One field of an output model: exactly one of `from` and `expression`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputField {
    /// The name the receiver sees.
    pub name: String,
    /// The field of the element. Absent with no expression: `name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// A deterministic SQL expression over the fields of one record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,
    /// The type the value is cast to.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub data_type: Option<DataType>,
    /// Conversion between units, for numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitConversion>,
    /// What the field means, for the receiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// How records become what the owner of a channel wants. Row-wise: one record in, at most one out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputModel {
    /// The fields, in order. Empty: every column in scope under its own name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<OutputField>,
    /// SQL predicate over the element's fields, AND-ed with the selection's filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Options of the channel profile's technology, for example `{"format": "parquet"}`.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    #[schema(value_type = Object)]
    pub options: IndexMap<String, Value>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_false(value: &bool) -> bool {
    !*value
}
