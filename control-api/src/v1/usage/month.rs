//! Calendar months in UTC: the periods of bills.

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveTime, Utc};
use headgate_types::FieldError;

use crate::http::problem::ApiError;

/// One calendar month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Month {
    /// Its first moment.
    pub start: DateTime<Utc>,
    /// The moment after its last.
    pub end: DateTime<Utc>,
}

impl Month {
    /// The month that `text` names (`2026-01`), or the one that holds `now`.
    ///
    /// # Errors
    /// When the text is not a month.
    pub(crate) fn read(text: Option<&str>, now: DateTime<Utc>) -> Result<Self, ApiError> {
        let today = now.date_naive();
        let first = match text {
            None => today.with_day(1),
            Some(text) if text.len() == 7 => NaiveDate::parse_from_str(&format!("{text}-01"), "%Y-%m-%d").ok(),
            Some(_) => None,
        };
        let months = first.and_then(|first| Some((first, first.checked_add_months(Months::new(1))?)));
        let (first, next) = months.ok_or_else(|| {
            let detail = "a month is written YYYY-MM, for example 2026-01";
            ApiError::parameter(FieldError::new("month", "invalid_month", detail))
        })?;
        let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
        Ok(Self { start: midnight(first), end: midnight(next) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_read_or_refused() {
        let now = "2026-12-31T23:59:59Z".parse().unwrap();
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let month = Month::read(None, now).unwrap();
        assert_eq!((month.start, month.end), (at("2026-12-01T00:00:00Z"), at("2027-01-01T00:00:00Z")));
        assert_eq!(Month::read(Some("2026-02"), now).unwrap().end, at("2026-03-01T00:00:00Z"));
        for wrong in ["2026", "2026-13", "2026-1", "26-01-1", ""] {
            assert!(Month::read(Some(wrong), now).is_err(), "{wrong}");
        }
    }
}
