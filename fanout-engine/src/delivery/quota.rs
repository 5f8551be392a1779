//! A channel's quota per day or month: what still fits, and what happens to the rest.

use chrono::{DateTime, Utc};
use headgate_types::timing::{OnExceed, Quota};

/// What a channel has used of its quota in the current period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// Start of the period.
    pub period: DateTime<Utc>,
    /// Records moved in it.
    pub records: u64,
    /// Bytes moved in it, as billed.
    pub bytes: u64,
}

impl Spent {
    /// Nothing yet in the period that holds `at`.
    #[must_use]
    pub fn none(quota: &Quota, at: DateTime<Utc>) -> Self {
        Self { period: quota.period.start(at), records: 0, bytes: 0 }
    }

    /// The same account at `at`: empty again when a new period began.
    #[must_use]
    pub fn at(self, quota: &Quota, at: DateTime<Utc>) -> Self {
        if quota.period.start(at) == self.period { self } else { Self::none(quota, at) }
    }
}

/// What may be done with the next records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// The first `records` of them may move; at least one.
    Move {
        /// How many.
        records: usize,
    },
    /// None may move; they wait until the period ends.
    Hold {
        /// When the next period begins.
        until: DateTime<Utc>,
    },
    /// None may move; they are passed over and counted.
    Reject,
}

/// How many of the next records, given by their sizes in bytes, still fit.
#[must_use]
pub fn allowed(quota: &Quota, spent: Spent, at: DateTime<Utc>, sizes: impl Iterator<Item = u64>) -> Allowed {
    let spent = spent.at(quota, at);
    let (mut records, mut bytes, mut fitting) = (spent.records, spent.bytes, 0);
    for size in sizes {
        records += 1;
        bytes += size;
        let fits = quota.records.is_none_or(|most| records <= most) && quota.bytes.is_none_or(|most| bytes <= most);
        if !fits {
            break;
        }
        fitting += 1;
    }
    match (fitting, quota.on_exceed) {
        (0, OnExceed::Hold) => Allowed::Hold { until: quota.period.end(at) },
        (0, OnExceed::Reject) => Allowed::Reject,
        (records, _) => Allowed::Move { records },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headgate_types::timing::QuotaPeriod;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn quota(records: u64, on_exceed: OnExceed) -> Quota {
        Quota { period: QuotaPeriod::Day, records: Some(records), bytes: Some(1_000), on_exceed }
    }

    #[test]
    fn what_fits_moves_and_the_rest_waits_for_the_next_period() {
        let (quota, noon) = (quota(10, OnExceed::Hold), at("2026-03-01T12:00:00Z"));
        let spent = Spent { records: 7, ..Spent::none(&quota, noon) };
        assert_eq!(allowed(&quota, spent, noon, [1; 5].into_iter()), Allowed::Move { records: 3 });
        let spent = Spent { records: 10, ..spent };
        let held = Allowed::Hold { until: at("2026-03-02T00:00:00Z") };
        assert_eq!(allowed(&quota, spent, noon, [1; 5].into_iter()), held);
        let next_day = at("2026-03-02T00:00:00Z");
        assert_eq!(allowed(&quota, spent, next_day, [1; 5].into_iter()), Allowed::Move { records: 5 });
    }

    #[test]
    fn bytes_count_too_and_rejection_is_said() {
        let (quota, noon) = (quota(10, OnExceed::Reject), at("2026-03-01T12:00:00Z"));
        let spent = Spent::none(&quota, noon);
        assert_eq!(allowed(&quota, spent, noon, [600, 600].into_iter()), Allowed::Move { records: 1 });
        assert_eq!(allowed(&quota, spent, noon, [1_001].into_iter()), Allowed::Reject);
    }
}
