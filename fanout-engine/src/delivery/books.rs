//! The books of a flow: pure arithmetic of rules 31 and 32.
//!
//! A settled range moves `booked` and the totals at once. Usage records are cut per span of time
//! (ADR 10): the first booking in a new span closes the open range of the one before. The cut ranges
//! `(after, to]` of a flow follow each other without gap or overlap.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::store::{FlowRow, OpenRange, Totals};

/// What happened to a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settled {
    /// The range ends here; it starts where the books stand.
    pub to: u64,
    /// What was delivered out of it.
    pub delivered: Totals,
    /// Records passed over because of the quota.
    pub over_quota: u64,
    /// Records the receiver refused.
    pub refused: u64,
}

/// A range that becomes usage records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The range starts behind this offset.
    pub after: u64,
    /// The range ends here.
    pub to: u64,
    /// Records delivered.
    pub records: u64,
    /// Their canonical bytes.
    pub bytes: u64,
    /// When they count.
    pub event_time: DateTime<Utc>,
}

/// Books a settled range at `now`; also says what is to be cut because a new span of `span`
/// (an hour, or a whole fraction of one) began.
#[must_use]
pub fn book(row: &FlowRow, settled: &Settled, now: DateTime<Utc>, span: Duration) -> (FlowRow, Option<Cut>) {
    let since = span_start(now, span);
    let (mut next, cut) = if row.open.since == since { (row.clone(), None) } else { close(row, since) };
    next.booked = settled.to;
    next.totals = next.totals.plus(settled.delivered);
    next.over_quota += settled.over_quota;
    next.refused += settled.refused;
    next.open.records += settled.delivered.records;
    next.open.bytes += settled.delivered.bytes;
    if settled.delivered.records > 0 {
        next.last_delivery_at = Some(now);
    }
    if next.ends_at.is_some_and(|end| next.booked >= end) && next.finished_at.is_none() {
        next.finished_at = Some(now);
    }
    (next, cut)
}

/// Cuts what is open, although its span is not over: at the end of a lane and of a channel.
#[must_use]
pub fn close(row: &FlowRow, since: DateTime<Utc>) -> (FlowRow, Option<Cut>) {
    let mut next = row.clone();
    if row.open.records == 0 {
        // Nothing to bill: the open range goes on, so that the ranges still tile.
        next.open.since = since;
        return (next, None);
    }
    next.open = OpenRange { since, after: row.booked, records: 0, bytes: 0 };
    let cut = Cut {
        after: row.open.after,
        to: row.booked,
        records: row.open.records,
        bytes: row.open.bytes,
        event_time: row.open.since,
    };
    (next, Some(cut))
}

/// The start of the span that holds `at`.
#[must_use]
pub fn span_start(at: DateTime<Utc>, span: Duration) -> DateTime<Utc> {
    let micros = i64::try_from(span.as_micros()).unwrap_or(3_600_000_000).max(1);
    at - TimeDelta::microseconds(at.timestamp_micros().rem_euclid(micros))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::technology::FlowKey;
    use headgate_types::channel::Lane;
    use headgate_types::checksum::Checksum;
    use headgate_types::{ChannelId, ElementId, TenantId};
    use proptest::prelude::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn flow(ends_at: Option<u64>) -> FlowRow {
        FlowRow {
            tenant: TenantId::new(),
            channel: ChannelId::new(),
            key: FlowKey { element: ElementId::new(), lane: Lane::Live },
            starts_after: 10,
            ends_at,
            booked: 10,
            totals: Totals::default(),
            over_quota: 0,
            refused: 0,
            open: OpenRange { since: at("2026-01-01T10:00:00Z"), after: 10, records: 0, bytes: 0 },
            last_delivery_at: None,
            finished_at: None,
        }
    }

    fn settled(to: u64, records: u64) -> Settled {
        let delivered = Totals { records, bytes: records * 7, checksum: Checksum::EMPTY };
        Settled { to, delivered, ..Settled::default() }
    }

    #[test]
    fn usage_is_cut_per_span_and_the_ranges_tile() {
        let mut row = flow(None);
        let mut cuts = Vec::new();
        for (to, records, now) in [
            (20, 5, "2026-01-01T10:05:00Z"),
            (30, 1, "2026-01-01T10:59:59Z"),
            (31, 0, "2026-01-01T11:30:00Z"),
            (32, 0, "2026-01-01T12:30:00Z"),
            (40, 2, "2026-01-01T13:00:00Z"),
        ] {
            let (next, cut) = book(&row, &settled(to, records), at(now), HOUR);
            cuts.extend(cut);
            row = next;
        }
        cuts.extend(close(&row, at("2026-01-01T14:00:00Z")).1);
        let ranges: Vec<_> = cuts.iter().map(|cut| (cut.after, cut.to, cut.records, cut.bytes)).collect();
        assert_eq!(ranges, [(10, 30, 6, 42), (30, 40, 2, 14)]);
        assert_eq!(cuts[0].event_time, at("2026-01-01T10:00:00Z"));
        assert_eq!((row.booked, row.totals.records), (40, 8));
    }

    proptest! {
        /// However deliveries and spans fall: the cuts and what is open tile the range from the flow's
        /// start, and their sums are what was delivered.
        #[test]
        fn cuts_tile_and_sum_up_whatever_was_delivered_when(
            steps in prop::collection::vec((0..9_000_i64, 0..50_u64, 0..4_u64), 0..60),
            span in prop::sample::select(vec![1_u64, 60, 300, 3_600]),
        ) {
            let span = Duration::from_secs(span);
            let (mut row, mut now) = (flow(None), at("2026-01-01T10:00:00Z"));
            let (mut through, mut records) = (row.booked, 0);
            for (after, reach, part) in steps {
                now += TimeDelta::seconds(after);
                let to = row.booked + reach;
                let delivered = reach * part / 3;
                let (next, cut) = book(&row, &settled(to, delivered), now, span);
                if let Some(cut) = cut {
                    prop_assert!(cut.records > 0 && cut.bytes == cut.records * 7);
                    prop_assert_eq!((cut.after, cut.to), (through, row.booked));
                    prop_assert!(cut.event_time <= span_start(now, span));
                    through = cut.to;
                    records += cut.records;
                }
                row = next;
                prop_assert_eq!((row.booked, row.open.after), (to, through));
                prop_assert_eq!(row.totals.records, records + row.open.records);
                prop_assert_eq!(row.totals.bytes, 7 * row.totals.records);
            }
        }
    }

    #[test]
    fn a_flow_with_an_end_finishes_there() {
        let (row, _) = book(&flow(Some(20)), &settled(19, 0), at("2026-01-01T10:05:00Z"), HOUR);
        assert_eq!((row.finished_at, row.last_delivery_at), (None, None));
        let (row, _) = book(&row, &settled(20, 1), at("2026-01-01T10:06:00Z"), HOUR);
        assert_eq!(row.finished_at, Some(at("2026-01-01T10:06:00Z")));
    }
}
