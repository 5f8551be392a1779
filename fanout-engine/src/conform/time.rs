//! Dates and timestamps in text.

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, NaiveDate, NaiveDateTime};

/// Whether a strftime pattern can be used.
pub(super) fn pattern_is_valid(pattern: &str) -> bool {
    !pattern.is_empty() && StrftimeItems::new(pattern).all(|item| !matches!(item, Item::Error))
}

/// Microseconds since the epoch: by `pattern`, or RFC 3339, ISO 8601 and
/// `YYYY-MM-DD HH:MM[:SS[.fraction]]`, in UTC where no offset is given. Digits beyond the
/// microsecond are cut.
pub(super) fn micros(text: &str, pattern: Option<&str>) -> Option<i64> {
    let Some(pattern) = pattern else { return iso_micros(text) };
    if let Ok(time) = DateTime::parse_from_str(text, pattern) {
        return Some(time.timestamp_micros());
    }
    if let Ok(time) = NaiveDateTime::parse_from_str(text, pattern) {
        return Some(time.and_utc().timestamp_micros());
    }
    let day = NaiveDate::parse_from_str(text, pattern).ok()?;
    Some(day.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros())
}

fn iso_micros(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    // Everything below takes exactly this beginning; chrono alone would also take `2013-1-1`.
    let separated = bytes.len() >= 16 && matches!(bytes[10], b'T' | b't' | b' ');
    if !separated || !is_iso_day(&bytes[..10]) || !text.is_ascii() {
        return None;
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_micros());
    }
    for pattern in ["%Y-%m-%dT%H:%M:%S%.f%z", "%Y-%m-%dT%H:%M%z"] {
        let normal = format!("{}T{}", &text[..10], text[11..].replace(['Z', 'z'], "+0000"));
        if let Ok(time) = DateTime::parse_from_str(&normal, pattern) {
            return Some(time.timestamp_micros());
        }
    }
    for pattern in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"] {
        let normal = format!("{}T{}", &text[..10], &text[11..]);
        if let Ok(time) = NaiveDateTime::parse_from_str(&normal, pattern) {
            return Some(time.and_utc().timestamp_micros());
        }
    }
    None
}

/// Days since the epoch: by `pattern`, or `YYYY-MM-DD`.
pub(super) fn days(text: &str, pattern: Option<&str>) -> Option<i32> {
    let day = match pattern {
        Some(pattern) => NaiveDate::parse_from_str(text, pattern).ok()?,
        None if text.len() == 10 && is_iso_day(text.as_bytes()) => NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?,
        None => return None,
    };
    i32::try_from(day.signed_duration_since(NaiveDate::default()).num_days()).ok()
}

fn is_iso_day(bytes: &[u8]) -> bool {
    bytes.iter().enumerate().all(|(index, byte)| match index {
        4 | 7 => *byte == b'-',
        _ => byte.is_ascii_digit(),
    })
}
