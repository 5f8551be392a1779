//! One value of a payload as the type its field has.

use headgate_types::schema::{DAYS, DataType, MICROS};

use super::json::{Json, Parser};
use super::scalar::Scalar;
use super::{Refusal, time};
use crate::units::Linear;

/// Integers beyond this are not exact as binary64.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// What a payload has for a field.
#[derive(Debug, Clone, Copy)]
pub(super) enum Found<'a> {
    /// No such field.
    Missing,
    /// The field, without a value.
    Null,
    Text(&'a str),
    Bool(bool),
    /// A number as it was written.
    Number(&'a str),
    /// An object or array.
    Nested(&'a Json<'a>),
    /// What stands where the path to it needs an object: an array, or a plain value.
    NoObject(&'a Json<'a>),
}

impl<'a> From<&'a Json<'a>> for Found<'a> {
    fn from(value: &'a Json<'a>) -> Self {
        match value {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => Self::Number(number),
            Json::String(text) => Self::Text(text),
            Json::Array(_) | Json::Object(_) => Self::Nested(value),
        }
    }
}

/// How a value is read.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) data_type: DataType,
    pub(super) null_markers: Vec<String>,
    pub(super) date_format: Option<String>,
    pub(super) decimal_separator: char,
    pub(super) cast: bool,
    pub(super) trim: bool,
    pub(super) unit: Option<Linear>,
}

impl Reading {
    pub(super) const fn plain(data_type: DataType) -> Self {
        Self {
            data_type,
            null_markers: Vec::new(),
            date_format: None,
            decimal_separator: '.',
            cast: false,
            trim: false,
            unit: None,
        }
    }

    /// Whether a text of the payload is the value as it is.
    pub(super) fn keeps_text(&self) -> bool {
        self.data_type == DataType::String && self.null_markers.is_empty() && !self.trim
    }

    /// Reads a value. `textual`: the format has only text (CSV), so that text is converted without
    /// being asked, and an empty field has no value.
    pub(super) fn read(&self, found: Found<'_>, textual: bool) -> Result<Scalar, Refusal> {
        match found {
            Found::Missing | Found::Null => Ok(Scalar::Null),
            Found::Text(text) => self.text(text, textual),
            Found::Bool(value) => match self.data_type {
                DataType::Bool => Ok(Scalar::Bool(value)),
                DataType::Json => Ok(Scalar::Text(value.to_string().into())),
                DataType::String if self.cast => Ok(Scalar::Text(value.to_string().into())),
                _ => self.wrong(if value { "true" } else { "false" }),
            },
            Found::Number(number) => match self.data_type {
                DataType::Int64 => integer(number),
                DataType::Float64 => self.float(number),
                DataType::Json => Ok(Scalar::Text(number.into())),
                DataType::String if self.cast => Ok(Scalar::Text(number.into())),
                DataType::Timestamp | DataType::Date if self.date_format.is_some() => self.text(number, false),
                _ => self.wrong(number),
            },
            Found::NoObject(value) => {
                let found = if matches!(value, Json::Array(_)) { "an array" } else { "a plain value" };
                Err(Refusal::new("wrong_type", format!("{found} where the path needs an object")))
            }
            Found::Nested(value) => match self.data_type {
                DataType::Json => Ok(Scalar::Text(value.to_text().into())),
                _ => self.wrong(if matches!(value, Json::Array(_)) { "an array" } else { "an object" }),
            },
        }
    }

    fn text(&self, text: &str, textual: bool) -> Result<Scalar, Refusal> {
        let text = if self.trim { text.trim() } else { text };
        if (textual && text.is_empty()) || self.null_markers.iter().any(|marker| marker == text) {
            return Ok(Scalar::Null);
        }
        match self.data_type {
            DataType::String => Ok(Scalar::Text(text.into())),
            DataType::Json if textual => json_text(text),
            DataType::Json => Ok(Scalar::Text(Json::String(text.into()).to_text().into())),
            DataType::Timestamp => match time::micros(text, self.date_format.as_deref()) {
                Some(micros) if !MICROS.contains(&micros) => Err(outside(text)),
                Some(micros) => Ok(Scalar::Micros(micros)),
                None => Err(Refusal::new("not_a_timestamp", format!("{} is not a timestamp", quoted(text)))),
            },
            DataType::Date => match time::days(text, self.date_format.as_deref()) {
                Some(days) if !DAYS.contains(&days) => Err(outside(text)),
                Some(days) => Ok(Scalar::Days(days)),
                None => Err(Refusal::new("not_a_date", format!("{} is not a date", quoted(text)))),
            },
            DataType::Bool | DataType::Int64 | DataType::Float64 if !self.cast && !textual => {
                let reason = format!("text {} where a {} is expected; cast converts it", quoted(text), self.data_type);
                Err(Refusal::new("wrong_type", reason))
            }
            DataType::Bool => match text {
                "true" | "TRUE" | "True" | "1" => Ok(Scalar::Bool(true)),
                "false" | "FALSE" | "False" | "0" => Ok(Scalar::Bool(false)),
                _ => Err(Refusal::new("not_a_bool", format!("{} is neither true nor false", quoted(text)))),
            },
            DataType::Int64 | DataType::Float64 => {
                let plain;
                let number = if self.decimal_separator == '.' {
                    text
                } else if text.contains('.') {
                    return Err(not_a_number(text));
                } else {
                    plain = text.replace(self.decimal_separator, ".");
                    &plain
                };
                if self.data_type == DataType::Int64 { integer(number) } else { self.float(number) }
            }
        }
    }

    /// The number of a `float64` field.
    pub(super) fn float(&self, text: &str) -> Result<Scalar, Refusal> {
        let value: f64 = text.parse().map_err(|_| not_a_number(text))?;
        if value.is_nan() {
            return Ok(Scalar::Null);
        }
        let value = self.unit.map_or(value, |unit| unit.apply(value));
        if !value.is_finite() {
            return Err(Refusal::new("out_of_range", format!("{} is beyond the range of float64", quoted(text))));
        }
        // One zero only: equal numbers must be equal bytes.
        Ok(Scalar::Float(if value == 0.0 { 0.0 } else { value }))
    }

    fn wrong(&self, found: &str) -> Result<Scalar, Refusal> {
        Err(Refusal::new("wrong_type", format!("{} where a {} is expected", quoted(found), self.data_type)))
    }
}

fn integer(text: &str) -> Result<Scalar, Refusal> {
    if let Ok(value) = text.parse() {
        return Ok(Scalar::Int(value));
    }
    let value: f64 = text.parse().map_err(|_| not_a_number(text))?;
    if value.is_finite() && value.fract() != 0.0 {
        return Err(Refusal::new("not_an_integer", format!("{} is not a whole number", quoted(text))));
    }
    // `1e3` and `2.0` are whole numbers; beyond 2^53 the text may not be what the float says.
    if value.abs() <= EXACT {
        return Ok(Scalar::Int(value as i64));
    }
    Err(Refusal::new("out_of_range", format!("{} is beyond the range of int64", quoted(text))))
}

fn json_text(text: &str) -> Result<Scalar, Refusal> {
    let mut parser = Parser::new(text, 0);
    let value = parser.value().and_then(|value| parser.end().map(|()| value));
    match value {
        Ok(value) => Ok(Scalar::Text(value.to_text().into())),
        Err(error) => Err(Refusal::new("invalid_json", format!("not JSON at byte {}: {}", error.at, error.what))),
    }
}

/// A time that no channel could write as RFC 3339.
fn outside(text: &str) -> Refusal {
    Refusal::new("out_of_range", format!("{} is outside the years 0000 to 9999 in UTC", quoted(text)))
}

fn not_a_number(text: &str) -> Refusal {
    Refusal::new("not_a_number", format!("{} is not a number", quoted(text)))
}

/// The value for a message: short, and without what a log would choke on.
fn quoted(text: &str) -> String {
    let head: String = text.chars().take(64).collect();
    format!("{head:?}")
}
