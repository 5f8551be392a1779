//! Counts over the values of one column.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hasher};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use headgate_types::engine::ColumnStatistics;
use headgate_types::schema::DataType;
use serde_json::{Value, json};

use crate::shape::{date_text, timestamp_text};

/// Distinct values counted exactly; above, the count is estimated from the smallest hashes
/// (k minimum values: Bar-Yossef et al., 2002), to about 3 %.
const EXACT: usize = 1_000;

/// Running counts of one column.
#[derive(Debug, Clone, Default)]
pub struct Column {
    nulls: u64,
    smallest_hashes: BTreeSet<u64>,
    overflowed: bool,
    least: Option<Extreme>,
    greatest: Option<Extreme>,
}

/// A value that can be the smallest or the largest.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
enum Extreme {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Time(i64),
    Day(i32),
}

impl Extreme {
    fn json(&self) -> Value {
        match self {
            Self::Bool(value) => json!(value),
            Self::Int(value) => json!(value),
            Self::Float(value) => json!(value),
            Self::Text(value) => json!(value),
            Self::Time(micros) => json!(timestamp_text(*micros)),
            Self::Day(days) => json!(date_text(*days)),
        }
    }
}

impl Column {
    /// A column that earlier records did not have.
    pub fn with_nulls(nulls: u64) -> Self {
        Self { nulls, ..Self::default() }
    }

    /// Counts records without a value.
    pub fn add_nulls(&mut self, count: u64) {
        self.nulls += count;
    }

    /// Counts values of the declared type.
    pub fn add(&mut self, values: &ArrayRef, data_type: DataType) {
        self.nulls += values.null_count() as u64;
        match data_type {
            DataType::Bool => {
                if let Some(values) = values.as_boolean_opt() {
                    values.iter().flatten().for_each(|value| self.see(&[u8::from(value)], Extreme::Bool(value)));
                }
            }
            DataType::Int64 => {
                if let Some(values) = values.as_primitive_opt::<Int64Type>() {
                    values.iter().flatten().for_each(|value| self.see(&value.to_be_bytes(), Extreme::Int(value)));
                }
            }
            DataType::Float64 => {
                if let Some(values) = values.as_primitive_opt::<Float64Type>() {
                    values.iter().flatten().for_each(|value| self.see(&value.to_be_bytes(), Extreme::Float(value)));
                }
            }
            DataType::Timestamp => {
                if let Some(values) = values.as_primitive_opt::<TimestampMicrosecondType>() {
                    values.iter().flatten().for_each(|value| self.see(&value.to_be_bytes(), Extreme::Time(value)));
                }
            }
            DataType::Date => {
                if let Some(values) = values.as_primitive_opt::<Date32Type>() {
                    values.iter().flatten().for_each(|value| self.see(&value.to_be_bytes(), Extreme::Day(value)));
                }
            }
            DataType::String | DataType::Json => {
                if let Some(values) = values.as_string_opt::<i32>() {
                    values.iter().flatten().for_each(|value| self.see_text(value, data_type));
                }
            }
        }
    }

    /// Text is copied only when it is a new extreme; documents have no order worth showing.
    fn see_text(&mut self, value: &str, data_type: DataType) {
        self.hash(value.as_bytes());
        if data_type == DataType::Json {
            return;
        }
        let below = |extreme: &Option<Extreme>| match extreme {
            Some(Extreme::Text(text)) => value < text.as_str(),
            _ => true,
        };
        let above = |extreme: &Option<Extreme>| match extreme {
            Some(Extreme::Text(text)) => value > text.as_str(),
            _ => true,
        };
        if below(&self.least) {
            self.least = Some(Extreme::Text(value.to_owned()));
        }
        if above(&self.greatest) {
            self.greatest = Some(Extreme::Text(value.to_owned()));
        }
    }

    fn see(&mut self, bytes: &[u8], value: Extreme) {
        self.hash(bytes);
        if self.least.as_ref().is_none_or(|least| value < *least) {
            self.least = Some(value.clone());
        }
        if self.greatest.as_ref().is_none_or(|greatest| value > *greatest) {
            self.greatest = Some(value);
        }
    }

    fn hash(&mut self, bytes: &[u8]) {
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        let hash = hasher.finish();
        if self.overflowed && self.smallest_hashes.last().is_some_and(|last| hash >= *last) {
            return;
        }
        self.smallest_hashes.insert(hash);
        if self.smallest_hashes.len() > EXACT {
            self.smallest_hashes.pop_last();
            self.overflowed = true;
        }
    }

    fn distinct(&self) -> u64 {
        let seen = self.smallest_hashes.len() as u64;
        match self.smallest_hashes.last() {
            Some(last) if self.overflowed => {
                // The k-th smallest of n uniform hashes lies about k/n of the way up.
                let fraction = *last as f64 / u64::MAX as f64;
                ((seen.saturating_sub(1)) as f64 / fraction).round() as u64
            }
            _ => seen,
        }
    }

    /// What is known.
    pub fn statistics(&self, name: &str) -> ColumnStatistics {
        ColumnStatistics {
            name: name.to_owned(),
            nulls: self.nulls,
            distinct: self.distinct(),
            min: self.least.as_ref().map(Extreme::json),
            max: self.greatest.as_ref().map(Extreme::json),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray};
    use std::sync::Arc;

    #[test]
    fn few_values_are_counted_exactly_and_many_closely() {
        let mut column = Column::default();
        let values: ArrayRef = Arc::new(Int64Array::from_iter((0..1_000).map(Some).chain([None, Some(3)])));
        column.add(&values, DataType::Int64);
        let known = column.statistics("a");
        assert_eq!((known.nulls, known.distinct), (1, 1_000));
        assert_eq!((known.min, known.max), (Some(json!(0)), Some(json!(999))));
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100_000));
        column.add(&values, DataType::Int64);
        let distinct = column.statistics("a").distinct;
        assert!((90_000..110_000).contains(&distinct), "{distinct}");
    }

    #[test]
    fn text_has_ends_and_missing_columns_are_nulls() {
        let mut column = Column::with_nulls(2);
        let values: ArrayRef = Arc::new(StringArray::from(vec![Some("b"), None, Some("a")]));
        column.add(&values, DataType::String);
        let known = column.statistics("t");
        assert_eq!((known.nulls, known.distinct), (3, 2));
        assert_eq!((known.min, known.max), (Some(json!("a")), Some(json!("b"))));
    }
}
