//! When a channel moves data, and how much it may move in a period.

use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::duration;
use crate::error::FieldError;

/// When a channel moves data.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(tag = "mode", rename_all = "snake_case", deny_unknown_fields)]
pub enum Timing {
    /// As soon as there is something.
    #[default]
    Immediate,
    /// Every so often, at multiples of the interval since 1970-01-01T00:00:00Z.
    Interval {
        /// For example `15m`, `1h`, `1d`; at least `1s`.
        every: String,
    },
    /// At the times of a cron expression (minute hour day-of-month month day-of-week).
    Cron {
        /// Five fields.
        expression: String,
        /// IANA name of the time zone; `UTC` when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time_zone: Option<String>,
    },
}

impl Timing {
    /// The word in prices and profiles.
    #[must_use]
    pub const fn mode(&self) -> &'static str {
        match self {
            Self::Immediate => "immediate",
            Self::Interval { .. } => "interval",
            Self::Cron { .. } => "cron",
        }
    }

    /// What is wrong with the timing; pointers are relative to the timing document.
    #[must_use]
    pub fn errors(&self) -> Vec<FieldError> {
        match self {
            Self::Immediate => Vec::new(),
            Self::Interval { every } => match duration::parse(every) {
                Ok(_) => Vec::new(),
                Err(detail) => vec![FieldError::new("/every", "invalid_duration", detail)],
            },
            Self::Cron { expression, time_zone } => {
                let mut errors = Vec::new();
                if let Err(error) = croner::Cron::from_str(expression) {
                    errors.push(FieldError::new("/expression", "invalid_cron", error.to_string()));
                }
                if let Some(name) = time_zone
                    && name.parse::<Tz>().is_err()
                {
                    errors.push(FieldError::new(
                        "/time_zone",
                        "unknown_time_zone",
                        format!("{name:?} is not an IANA time zone"),
                    ));
                }
                errors
            }
        }
    }

    /// The first tick strictly after `after`; `None` for `immediate`, for a timing with errors
    /// and for a cron expression that never comes again.
    #[must_use]
    pub fn next_tick(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Immediate => None,
            Self::Interval { every } => {
                let step = duration::parse(every).ok()?.num_seconds();
                let next = (after.timestamp().div_euclid(step) + 1).checked_mul(step)?;
                DateTime::from_timestamp(next, 0)
            }
            Self::Cron { expression, time_zone } => {
                let zone: Tz = time_zone.as_deref().unwrap_or("UTC").parse().ok()?;
                let cron = croner::Cron::from_str(expression).ok()?;
                let next = cron.find_next_occurrence(&after.with_timezone(&zone), false).ok()?;
                Some(next.with_timezone(&Utc))
            }
        }
    }
}

/// The period of a quota, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum QuotaPeriod {
    /// From midnight to midnight.
    Day,
    /// From the first of a month to the first of the next.
    Month,
}

impl QuotaPeriod {
    /// The start of the period that holds `at`.
    #[must_use]
    pub fn start(self, at: DateTime<Utc>) -> DateTime<Utc> {
        use chrono::Datelike;
        let day = at.date_naive();
        let first = match self {
            Self::Day => day,
            Self::Month => day.with_day(1).unwrap_or(day),
        };
        first.and_time(chrono::NaiveTime::MIN).and_utc()
    }

    /// The start of the period after the one that holds `at`.
    #[must_use]
    pub fn end(self, at: DateTime<Utc>) -> DateTime<Utc> {
        let start = self.start(at);
        match self {
            Self::Day => start + TimeDelta::days(1),
            // No month is longer than 31 days nor shorter than 28.
            Self::Month => self.start(start + TimeDelta::days(31)),
        }
    }
}

/// What happens to records beyond a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnExceed {
    /// They wait for the next period.
    #[default]
    Hold,
    /// They are passed over and counted; they are not billed.
    Reject,
}

/// How much a data-out channel may move in a period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// The period.
    pub period: QuotaPeriod,
    /// Records per period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// Bytes per period, as billed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// What happens beyond it.
    #[serde(default)]
    pub on_exceed: OnExceed,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn interval_ticks_are_aligned_and_strictly_later() {
        let timing = Timing::Interval { every: "15m".into() };
        assert_eq!(timing.next_tick(at("2026-01-01T00:07:00Z")), Some(at("2026-01-01T00:15:00Z")));
        assert_eq!(timing.next_tick(at("2026-01-01T00:15:00Z")), Some(at("2026-01-01T00:30:00Z")));
    }

    #[test]
    fn cron_ticks_follow_the_time_zone() {
        let timing = Timing::Cron { expression: "0 6 * * *".into(), time_zone: Some("Europe/Berlin".into()) };
        assert_eq!(timing.next_tick(at("2026-07-01T00:00:00Z")), Some(at("2026-07-01T04:00:00Z")));
        assert_eq!(timing.next_tick(at("2026-12-01T00:00:00Z")), Some(at("2026-12-01T05:00:00Z")));
    }

    #[test]
    fn wrong_timings_name_the_place() {
        let timing = Timing::Cron { expression: "x".into(), time_zone: Some("Mars".into()) };
        let pointers: Vec<_> = timing.errors().into_iter().map(|e| e.pointer).collect();
        assert_eq!(pointers, ["/expression", "/time_zone"]);
        assert_eq!(Timing::Interval { every: "0s".into() }.errors().len(), 1);
    }

    #[test]
    fn quota_months_have_their_length() {
        assert_eq!(QuotaPeriod::Month.end(at("2026-02-10T05:00:00Z")), at("2026-03-01T00:00:00Z"));
        assert_eq!(QuotaPeriod::Month.end(at("2026-12-31T23:59:59Z")), at("2027-01-01T00:00:00Z"));
    }
}
