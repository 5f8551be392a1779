//! Reading rows back into their types.

use std::str::FromStr;

use serde::Serialize;
use serde_json::Value;

use crate::error::CatalogError;

/// A word of a table as its type.
pub(crate) fn word<T: FromStr<Err = String>>(table: &'static str, text: &str) -> Result<T, CatalogError> {
    text.parse().map_err(|detail| CatalogError::Corrupt { table, detail })
}

/// A count of a table; none is ever negative.
pub(crate) fn count(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

/// A small count of a table.
pub(crate) fn small(value: i64) -> u32 {
    u32::try_from(value).unwrap_or_default()
}

/// A document as it is stored.
pub(crate) fn document<T: Serialize>(table: &'static str, value: &T) -> Result<Value, CatalogError> {
    serde_json::to_value(value).map_err(|error| CatalogError::Corrupt { table, detail: error.to_string() })
}

/// `$from, $from+1, …`: placeholders for `count` values.
pub(crate) fn placeholders(from: usize, count: usize) -> String {
    (from..from + count).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ")
}
