//! Literals take the type of what they are compared with, losslessly or not at all (rule 21).

use arrow::datatypes::{DataType as ArrowType, TimeUnit};
use datafusion::common::ScalarValue;
use headgate_types::schema::{DAYS, MICROS};

use super::types::{parse_date, parse_timestamp};

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// `value` as a value of `target`.
///
/// # Errors
/// Says why it is none.
pub(super) fn cast(value: &ScalarValue, target: &ArrowType) -> Result<ScalarValue, String> {
    if value.is_null() {
        return ScalarValue::try_from(target).map_err(|error| error.strip_backtrace());
    }
    if let Some(text) = text(value) {
        return from_text(text, target);
    }
    let refused = || Err(format!("{value} cannot be compared with a value of type {}", name(target)));
    match (value, target) {
        (ScalarValue::Boolean(_), ArrowType::Boolean) => Ok(value.clone()),
        (ScalarValue::Int64(Some(integer)), target) => from_integer(*integer, target),
        (ScalarValue::UInt64(Some(integer)), _) => match i64::try_from(*integer) {
            Ok(integer) => from_integer(integer, target),
            Err(_) => Err(format!("{integer} is beyond the integers of 64 bits")),
        },
        (ScalarValue::Float64(Some(float)), ArrowType::Float64) if float.is_finite() => {
            Ok(ScalarValue::Float64(Some(float + 0.0)))
        }
        (ScalarValue::Float64(Some(float)), target) if target.is_integer() => {
            // Whole and within the range in which every integer is a double.
            if float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0 {
                from_integer(*float as i64, target)
            } else {
                Err(format!("{float} is not a value of type {}", name(target)))
            }
        }
        // What only an expression can say, such as a number cast to a date.
        (ScalarValue::Date32(Some(days)), _) if !DAYS.contains(days) => Err(outside(value)),
        (ScalarValue::TimestampMicrosecond(Some(micros), _), _) if !MICROS.contains(micros) => Err(outside(value)),
        (ScalarValue::Date32(Some(_)), ArrowType::Date32) => Ok(value.clone()),
        (ScalarValue::Date32(Some(days)), ArrowType::Timestamp(..)) => Ok(timestamp(i64::from(*days) * MICROS_PER_DAY)),
        (ScalarValue::TimestampMicrosecond(Some(micros), _), ArrowType::Timestamp(..)) => Ok(timestamp(*micros)),
        (ScalarValue::TimestampMicrosecond(Some(micros), _), ArrowType::Date32) => {
            if micros % MICROS_PER_DAY == 0 {
                Ok(ScalarValue::Date32(i32::try_from(micros / MICROS_PER_DAY).ok()))
            } else {
                Err("a date cannot be compared with a time of day".to_owned())
            }
        }
        _ => refused(),
    }
}

/// A point in time from a literal such as `TIMESTAMP '2024-01-01 00:00:00'` or `DATE '2024-01-01'`.
///
/// # Errors
/// Says that the text is none.
pub(super) fn temporal(text: &str, target: &ArrowType) -> Result<ScalarValue, String> {
    match target {
        ArrowType::Date32 | ArrowType::Timestamp(..) => from_text(text, target),
        other => Err(format!("{text:?} is not a value of type {}", name(other))),
    }
}

/// What a type is called in messages.
pub(super) fn name(target: &ArrowType) -> String {
    super::types::declared_type(target).map_or_else(|| target.to_string(), |declared| declared.to_string())
}

fn text(value: &ScalarValue) -> Option<&str> {
    match value {
        ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text) => text.as_deref(),
        _ => None,
    }
}

fn timestamp(micros: i64) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into()))
}

fn outside(value: &ScalarValue) -> String {
    format!("{value} is outside the years 0000 to 9999")
}

fn from_text(text: &str, target: &ArrowType) -> Result<ScalarValue, String> {
    let value = match target {
        ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View => Some(ScalarValue::Utf8(Some(text.to_owned()))),
        ArrowType::Date32 => parse_date(text).map(|days| ScalarValue::Date32(Some(days))),
        ArrowType::Timestamp(unit, _) => {
            debug_assert_eq!(*unit, TimeUnit::Microsecond);
            parse_timestamp(text).map(timestamp)
        }
        _ => return Err(format!("the text {text:?} cannot be compared with a value of type {}", name(target))),
    };
    let years = if target.is_temporal() { ", which is of the years 0000 to 9999 in UTC" } else { "" };
    value.ok_or_else(|| format!("{text:?} is not a value of type {}{years}", name(target)))
}

fn from_integer(integer: i64, target: &ArrowType) -> Result<ScalarValue, String> {
    match target {
        ArrowType::Float64 if (integer as f64) as i128 == i128::from(integer) => {
            Ok(ScalarValue::Float64(Some(integer as f64)))
        }
        target if target.is_integer() => ScalarValue::Int64(Some(integer))
            .cast_to(target)
            .map_err(|_| format!("{integer} is beyond the values of this expression")),
        target => Err(format!("{integer} cannot be compared with a value of type {}", name(target))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::types::timestamp_type;
    use super::*;

    #[test]
    fn what_would_change_the_value_is_refused() {
        let float = |value| ScalarValue::Float64(Some(value));
        let int = |value| ScalarValue::Int64(Some(value));
        let text = |value: &str| ScalarValue::Utf8(Some(value.to_owned()));
        assert_eq!(cast(&int(3), &ArrowType::Float64), Ok(float(3.0)));
        assert_eq!(cast(&float(3.0), &ArrowType::Int64), Ok(int(3)));
        assert_eq!(cast(&float(-0.0), &ArrowType::Float64).unwrap().to_string(), "0");
        assert_eq!(cast(&text("2013-01-01"), &ArrowType::Date32), Ok(ScalarValue::Date32(Some(15_706))));
        for (value, target) in [
            (float(1.5), ArrowType::Int64),
            (int(9_007_199_254_740_993), ArrowType::Float64),
            (ScalarValue::UInt64(Some(u64::MAX)), ArrowType::Int64),
            (float(f64::INFINITY), ArrowType::Float64),
            (text("5"), ArrowType::Int64),
            (int(5), ArrowType::Utf8),
            (int(1), ArrowType::Boolean),
            (text("2013-01-01T05:00:00"), ArrowType::Date32),
            (text("2013-01-01T05:00:00.0000001Z"), timestamp_type()),
            (ScalarValue::Date32(Some(i32::MAX)), timestamp_type()),
            (ScalarValue::Date32(Some(DAYS.end() + 1)), ArrowType::Date32),
            (timestamp(MICROS.start() - 1), timestamp_type()),
        ] {
            assert!(cast(&value, &target).is_err(), "{value} as {target}");
        }
        let refused = cast(&text("-0024-05-01T10:0"), &timestamp_type()).unwrap_err();
        let said = "\"-0024-05-01T10:0\" is not a value of type timestamp, which is of the years 0000 to 9999 in UTC";
        assert_eq!(refused, said);
    }
}
