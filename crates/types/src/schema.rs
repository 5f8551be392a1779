//! The schema of an element: named, typed fields with their meaning.

use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::FieldError;

/// The most fields a schema may have.
pub const MAX_FIELDS: usize = 1_000;

/// Days since 1970-01-01 that a date can be: those of the years 0000 to 9999, which are all that
/// RFC 3339 can write (section 5.6: a year has four digits and no sign). What is written is read back
/// by every client only within them.
pub const DAYS: RangeInclusive<i32> = -719_528..=2_932_896;

/// Microseconds since 1970-01-01T00:00:00Z that a timestamp can be: the days of [`DAYS`] in UTC.
pub const MICROS: RangeInclusive<i64> = -719_528 * 86_400_000_000..=2_932_897 * 86_400_000_000 - 1;

/// What an element is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ElementKind {
    /// Append-only facts.
    Events,
    /// Keyed rows: insert, replace, patch, delete.
    Entity,
    /// Derived from other elements.
    View,
}

impl ElementKind {
    /// The word in tables and documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Entity => "entity",
            Self::View => "view",
        }
    }
}

impl std::str::FromStr for ElementKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "events" => Ok(Self::Events),
            "entity" => Ok(Self::Entity),
            "view" => Ok(Self::View),
            other => Err(format!("unknown element kind {other:?}")),
        }
    }
}

/// The type of a field. Every type has one Arrow, one JSON and one SQL form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DataType {
    /// `true` or `false`.
    Bool,
    /// Signed 64-bit integer.
    Int64,
    /// IEEE 754 binary64; never NaN, never negative zero.
    Float64,
    /// UTF-8 text.
    String,
    /// A moment in UTC with microseconds, within [`MICROS`]; RFC 3339 in JSON.
    Timestamp,
    /// A calendar day, within [`DAYS`]; `YYYY-MM-DD` in JSON.
    Date,
    /// Any JSON value, kept as its text.
    Json,
}

impl DataType {
    /// The word in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int64 => "int64",
            Self::Float64 => "float64",
            Self::String => "string",
            Self::Timestamp => "timestamp",
            Self::Date => "date",
            Self::Json => "json",
        }
    }

    /// Whether arithmetic and units apply.
    #[must_use]
    pub const fn is_numeric(self) -> bool {
        matches!(self, Self::Int64 | Self::Float64)
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One field of a schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Unique within the schema; starts with a letter; names starting with `_` are Headgate's.
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub data_type: DataType,
    /// Whether every record has a value.
    #[serde(default, skip_serializing_if = "is_false")]
    pub required: bool,
    /// Whether the field belongs to the key that identifies a record.
    #[serde(default, skip_serializing_if = "is_false")]
    pub key: bool,
    /// UCUM code of the unit, for numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// What the field means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Classification tags, for example `pii`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classification: Vec<String>,
}

impl Field {
    /// An optional field.
    pub fn new(name: impl Into<String>, data_type: DataType) -> Self {
        Self {
            name: name.into(),
            data_type,
            required: false,
            key: false,
            unit: None,
            description: None,
            classification: Vec::new(),
        }
    }

    /// The same field as part of the key, and therefore required.
    #[must_use]
    pub fn as_key(mut self) -> Self {
        self.key = true;
        self.required = true;
        self
    }
}

/// The fields of an element, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    /// The fields.
    pub fields: Vec<Field>,
}

impl Schema {
    /// The field with this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The key fields, in schema order.
    pub fn keys(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| field.key)
    }

    /// Everything that is wrong with the schema for an element of `kind`; pointers are relative
    /// to the schema document.
    #[must_use]
    pub fn errors(&self, kind: ElementKind) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if self.fields.is_empty() {
            errors.push(FieldError::new("/fields", "empty", "a schema needs at least one field"));
        }
        if self.fields.len() > MAX_FIELDS {
            errors.push(FieldError::new("/fields", "too_many", format!("a schema has at most {MAX_FIELDS} fields")));
        }
        let mut seen = std::collections::HashSet::new();
        for (index, field) in self.fields.iter().enumerate() {
            let pointer = format!("/fields/{index}/name");
            if let Some(detail) = name_error(&field.name) {
                errors.push(FieldError::new(pointer.clone(), "invalid_name", detail));
            }
            // Two names that differ only in case are one column for most SQL clients.
            if !seen.insert(field.name.to_lowercase()) {
                errors.push(FieldError::new(
                    pointer,
                    "duplicate_name",
                    format!("the field {:?} is declared twice", field.name),
                ));
            }
            if field.unit.is_some() && !field.data_type.is_numeric() {
                errors.push(FieldError::new(
                    format!("/fields/{index}/unit"),
                    "unit_on_non_number",
                    "only numbers have a unit",
                ));
            }
            if field.key && matches!(field.data_type, DataType::Float64 | DataType::Json) {
                errors.push(FieldError::new(
                    format!("/fields/{index}/type"),
                    "invalid_key_type",
                    format!("a {} cannot identify a record", field.data_type),
                ));
            }
        }
        if kind == ElementKind::Entity && self.keys().next().is_none() {
            errors.push(FieldError::new("/fields", "key_missing", "an entity needs at least one key field"));
        }
        errors
    }
}

/// Why `name` cannot be a field name, if it cannot.
#[must_use]
pub fn name_error(name: &str) -> Option<String> {
    let mut chars = name.chars();
    let starts = chars.next().is_some_and(|c| c.is_ascii_alphabetic());
    if !starts {
        return Some("a field name starts with an ASCII letter".to_owned());
    }
    if name.len() > 128 {
        return Some("a field name has at most 128 bytes".to_owned());
    }
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Some("a field name holds ASCII letters, digits and underscores only".to_owned());
    }
    None
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_false(value: &bool) -> bool {
    !*value
}
