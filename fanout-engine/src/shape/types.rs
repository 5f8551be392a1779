//! Arrow values and their one text form, shared by JSON, CSV and casts to text.

use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Float64Array, PrimitiveArray};
use arrow::datatypes::{DataType as ArrowType, Date32Type, Float64Type, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, TimeDelta, Utc};
use headgate_types::schema::{DAYS, DataType, MICROS};

/// The declared type of an Arrow type that an expression may yield, if there is one.
pub(super) fn declared_type(arrow: &ArrowType) -> Option<DataType> {
    Some(match arrow {
        ArrowType::Boolean => DataType::Bool,
        ArrowType::Int8
        | ArrowType::Int16
        | ArrowType::Int32
        | ArrowType::Int64
        | ArrowType::UInt8
        | ArrowType::UInt16
        | ArrowType::UInt32
        | ArrowType::UInt64 => DataType::Int64,
        ArrowType::Float16
        | ArrowType::Float32
        | ArrowType::Float64
        | ArrowType::Decimal32(..)
        | ArrowType::Decimal64(..)
        | ArrowType::Decimal128(..)
        | ArrowType::Decimal256(..) => DataType::Float64,
        ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View => DataType::String,
        ArrowType::Timestamp(..) => DataType::Timestamp,
        ArrowType::Date32 | ArrowType::Date64 => DataType::Date,
        _ => return None,
    })
}

/// Timestamps are microseconds in UTC everywhere.
pub(super) fn timestamp_type() -> ArrowType {
    ArrowType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// RFC 3339 in UTC with `Z` and no, three or six digits of a second, whichever is exact. `None`
/// outside [`MICROS`], for which it has no text.
#[must_use]
pub fn timestamp_text(micros: i64) -> Option<String> {
    if !MICROS.contains(&micros) {
        return None;
    }
    Some(DateTime::from_timestamp_micros(micros)?.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// `YYYY-MM-DD`; `None` outside [`DAYS`].
#[must_use]
pub fn date_text(days: i32) -> Option<String> {
    if !DAYS.contains(&days) {
        return None;
    }
    let epoch = NaiveDate::from_ymd_opt(1970, 1, 1)?;
    Some(epoch.checked_add_signed(TimeDelta::days(i64::from(days)))?.to_string())
}

/// Reads RFC 3339, `YYYY-MM-DD HH:MM:SS[.fraction]` or `YYYY-MM-DD`, taken as UTC where no offset
/// is given. `None` when it is none of these, finer than a microsecond, or outside [`MICROS`].
pub(super) fn parse_timestamp(text: &str) -> Option<i64> {
    let time = DateTime::parse_from_rfc3339(text)
        .map(|time| time.with_timezone(&Utc))
        .or_else(|_| {
            ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"]
                .iter()
                .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
                .map(|naive| naive.and_utc())
                .ok_or(())
        })
        .ok()
        .or_else(|| parse_date(text).map(|days| DateTime::from_timestamp(i64::from(days) * 86_400, 0))?)?;
    let micros = time.timestamp_micros();
    (time.timestamp_subsec_nanos() % 1_000 == 0 && MICROS.contains(&micros)).then_some(micros)
}

/// Reads `YYYY-MM-DD` as days since 1970-01-01. `None` outside [`DAYS`].
pub(super) fn parse_date(text: &str) -> Option<i32> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    let epoch = NaiveDate::from_ymd_opt(1970, 1, 1)?;
    i32::try_from(date.signed_duration_since(epoch).num_days()).ok().filter(|days| DAYS.contains(days))
}

/// The column without what its type cannot hold, which becomes null: floats as [`plain_floats`] says,
/// times and dates of years that RFC 3339 cannot write. The column itself when it has none of them.
pub(super) fn plain_values(column: &ArrayRef) -> ArrayRef {
    if let Some(times) = column.as_primitive_opt::<TimestampMicrosecondType>() {
        return within(times, &MICROS).unwrap_or_else(|| Arc::clone(column));
    }
    if let Some(dates) = column.as_primitive_opt::<Date32Type>() {
        return within(dates, &DAYS).unwrap_or_else(|| Arc::clone(column));
    }
    plain_floats(column)
}

/// The column with null for what is outside `range`; `None` when nothing is.
fn within<T: ArrowPrimitiveType>(column: &PrimitiveArray<T>, range: &RangeInclusive<T::Native>) -> Option<ArrayRef> {
    let outside = |value: Option<T::Native>| value.is_some_and(|value| !range.contains(&value));
    if !column.iter().any(outside) {
        return None;
    }
    let kept = column.iter().map(|value| value.filter(|value| range.contains(value)));
    Some(Arc::new(kept.collect::<PrimitiveArray<T>>().with_data_type(column.data_type().clone())))
}

/// The column with -0.0 as 0.0 and without NaN and infinities, which become null. The column
/// itself when it has none of them, as conformed columns do (rule 21).
pub(super) fn plain_floats(column: &ArrayRef) -> ArrayRef {
    let Some(floats) = column.as_primitive_opt::<Float64Type>() else { return Arc::clone(column) };
    let odd = |value: &f64| !value.is_finite() || (*value == 0.0 && value.is_sign_negative());
    if !floats.values().iter().any(odd) {
        return Arc::clone(column);
    }
    let plain: Float64Array =
        floats.iter().map(|value| value.filter(|value| value.is_finite()).map(|value| value + 0.0)).collect();
    Arc::new(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Date32Array, TimestampMicrosecondArray};

    #[test]
    fn timestamps_are_read_as_utc_and_written_back_shortest() {
        let text = |text: &str| timestamp_text(parse_timestamp(text).unwrap()).unwrap();
        assert_eq!(text("2013-01-01 05:00:00"), "2013-01-01T05:00:00Z");
        assert_eq!(text("2013-01-01T05:00:00.120+02:00"), "2013-01-01T03:00:00.120Z");
        assert_eq!(text("2013-01-01"), "2013-01-01T00:00:00Z");
        assert_eq!(text("1969-12-31T23:59:59.000001Z"), "1969-12-31T23:59:59.000001Z");
        for wrong in ["", "2013-13-01", "2013-01-01T00:00:00.0000001Z", "yesterday"] {
            assert_eq!(parse_timestamp(wrong), None, "{wrong}");
        }
        assert_eq!(text("0000-01-01"), "0000-01-01T00:00:00Z");
        assert_eq!(text("9999-12-31T23:59:59.999999Z"), "9999-12-31T23:59:59.999999Z");
        assert_eq!(parse_timestamp("0000-01-01"), Some(*MICROS.start()));
        assert_eq!(parse_timestamp("9999-12-31T23:59:59.999999Z"), Some(*MICROS.end()));
        assert_eq!([parse_date("0000-01-01"), parse_date("9999-12-31")], [Some(*DAYS.start()), Some(*DAYS.end())]);
        // Years that RFC 3339 cannot write, some only in UTC.
        for wrong in [
            "-0024-05-01T10:0",
            "-0001-12-31",
            "+10000-01-01",
            "0000-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "9999-12-31T23:59:60Z",
        ] {
            assert_eq!(parse_timestamp(wrong), None, "{wrong}");
            assert_eq!(parse_date(wrong), None, "{wrong}");
        }
        assert_eq!((timestamp_text(MICROS.end() + 1), timestamp_text(MICROS.start() - 1)), (None, None));
        assert_eq!((date_text(DAYS.end() + 1), date_text(DAYS.start() - 1)), (None, None));
        assert_eq!(date_text(parse_date("1969-12-31").unwrap()).unwrap(), "1969-12-31");
    }

    #[test]
    fn floats_lose_what_json_cannot_say() {
        let column: ArrayRef = Arc::new(Float64Array::from(vec![Some(-0.0), Some(f64::NAN), None, Some(1.5)]));
        let plain = plain_floats(&column);
        let plain = plain.as_primitive::<Float64Type>();
        assert!(plain.value(0).is_sign_positive());
        assert!(plain.is_null(1) && plain.is_null(2));
        assert_eq!(plain.value(3), 1.5);
    }

    #[test]
    fn times_that_have_no_text_are_no_values() {
        let column = TimestampMicrosecondArray::from(vec![*MICROS.start(), *MICROS.end(), MICROS.end() + 1, i64::MIN]);
        let plain = plain_values(&(Arc::new(column.with_timezone("UTC")) as ArrayRef));
        assert_eq!(*plain.data_type(), timestamp_type());
        assert_eq!((0..4).map(|row| plain.is_null(row)).collect::<Vec<_>>(), [false, false, true, true]);
        let column: ArrayRef = Arc::new(Date32Array::from(vec![*DAYS.start(), DAYS.start() - 1]));
        assert_eq!(plain_values(&column).null_count(), 1);
    }
}
