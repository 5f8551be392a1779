use headgate_database::args;
use headgate_database::testing::databases;

use super::*;
use crate::hours::{Occupied, Span, book_hours, seconds_in_hour};
use crate::usage::{
    GroupBy, RecordCursor, UsageFilter, UsageQuery, list_records, list_usage, ranges, record_once, totals,
};
use crate::{MeteringError, UsageSum};

fn january(flow: &Flow, group_by: Vec<GroupBy>) -> UsageQuery {
    UsageQuery {
        tenant: Some(flow.tenant),
        from: at("2026-01-01T00:00:00Z"),
        to: at("2026-02-01T00:00:00Z"),
        filter: UsageFilter::default(),
        group_by,
        after: None,
        limit: 100,
    }
}

#[tokio::test]
async fn a_fact_is_booked_once_for_ever_and_a_conflict_is_kept_not_booked() {
    for db in databases().await.unwrap() {
        let flow = Flow::new();
        let usage = flow.usage(Meter::DeliverRecords, 0, 10, 7);
        let mut tx = db.data.tenant(flow.tenant).await.unwrap();
        assert_eq!(record(&mut tx, &usage).await.unwrap(), Recorded::New);
        // A repeat is written at another time and is a repeat all the same.
        let repeat = UsageRecord { stored_at: at("2027-01-01T00:00:00Z"), ..usage.clone() };
        assert_eq!(record(&mut tx, &repeat).await.unwrap(), Recorded::Repeat, "{}", db.name);
        let other = UsageRecord { quantity: 8, ..usage.clone() };
        assert_eq!(record(&mut tx, &other).await.unwrap(), Recorded::Conflict, "{}", db.name);
        assert_eq!(record_once(&mut tx, &other).await.unwrap(), Recorded::Repeat);
        let source = UsageRecord { source: "other".into(), ..usage.clone() };
        assert_eq!(record(&mut tx, &source).await.unwrap(), Recorded::New);

        let sums = list_usage(&mut tx, &january(&flow, Vec::new())).await.unwrap();
        assert_eq!((sums.len(), sums[0].quantity, sums[0].records), (1, 14, 2), "{}", db.name);
        let (conflicts,): (i64,) = tx
            .fetch_one("SELECT COUNT(*) FROM usage_conflicts WHERE tenant_id = $1", args![flow.tenant])
            .await
            .unwrap();
        assert_eq!(conflicts, 1);
        tx.commit().await.unwrap();
    }
}

#[tokio::test]
async fn usage_that_makes_no_sense_is_refused() {
    for db in databases().await.unwrap() {
        let flow = Flow::new();
        let mut tx = db.data.tenant(flow.tenant).await.unwrap();
        let right = flow.usage(Meter::DeliverRecords, 5, 6, 1);
        let long = UsageRecord { id: "x".repeat(513), ..right.clone() };
        let negative = UsageRecord { quantity: -1, ..right.clone() };
        let orphan = UsageRecord { kind: RecordKind::Correction, ..right.clone() };
        let backwards = UsageRecord { range: Some(OffsetRange { lane: Lane::Live, after: 6, to: 6 }), ..right.clone() };
        for wrong in [long, negative, orphan, backwards] {
            assert!(matches!(record(&mut tx, &wrong).await, Err(MeteringError::Refused { .. })), "{wrong:?}");
        }
        record(&mut tx, &right).await.unwrap();
        let correction = UsageRecord {
            id: format!("{}:corrected", right.id),
            kind: RecordKind::Correction,
            corrects_id: Some(right.id.clone()),
            quantity: -1,
            range: None,
            ..right
        };
        assert_eq!(record(&mut tx, &correction).await.unwrap(), Recorded::New);
        let sums = list_usage(&mut tx, &january(&flow, Vec::new())).await.unwrap();
        assert_eq!((sums[0].quantity, sums[0].records), (0, 2), "{}", db.name);
    }
}

#[tokio::test]
async fn usage_is_read_by_period_and_group_and_page() {
    for db in databases().await.unwrap() {
        let flow = Flow::new();
        let second = Flow { channel: ChannelId::new(), ..flow };
        flow.book(&db.data, 0, 10, 10).await;
        flow.book(&db.data, 10, 30, 5).await;
        second.book(&db.data, 0, 10, 3).await;
        let mut tx = db.data.tenant(flow.tenant).await.unwrap();
        let requests = UsageRecord {
            source: "control-api".into(),
            id: ids::of_requests("run", 1, headgate_types::ClientId::new()),
            channel: None,
            element: None,
            range: None,
            event_time: at("2026-01-02T03:04:05Z"),
            dims: Dims::default(),
            ..flow.usage(Meter::ApiRequests, 0, 1, 42)
        };
        record(&mut tx, &requests).await.unwrap();

        let quantity = |sums: &[UsageSum]| sums.iter().map(|sum| (sum.meter, sum.quantity)).collect::<Vec<_>>();
        let sums = list_usage(&mut tx, &january(&flow, Vec::new())).await.unwrap();
        let all = [(Meter::ApiRequests, 42), (Meter::DeliverBytes, 180), (Meter::DeliverRecords, 18)];
        assert_eq!(quantity(&sums), all, "{}", db.name);
        assert!(sums.iter().all(|sum| sum.day.is_none() && sum.channel.is_none() && sum.element.is_none()));

        let all = vec![GroupBy::Day, GroupBy::Channel, GroupBy::Element];
        let by_all = list_usage(&mut tx, &january(&flow, all.clone())).await.unwrap();
        assert_eq!(by_all.len(), 5, "{}", db.name);
        assert_eq!((by_all[0].day, by_all[0].channel), (Some(at("2026-01-02T00:00:00Z")), None));
        assert_eq!((by_all[1].channel, by_all[1].element), (Some(flow.channel), Some(flow.element)));
        for group_by in [all, vec![GroupBy::Tenant, GroupBy::Channel], vec![GroupBy::Channel], Vec::new()] {
            let whole = list_usage(&mut tx, &january(&flow, group_by.clone())).await.unwrap();
            let mut paged = Vec::new();
            loop {
                let after = paged.last().cloned();
                let query = UsageQuery { after, limit: 1, ..january(&flow, group_by.clone()) };
                let page = list_usage(&mut tx, &query).await.unwrap();
                if page.is_empty() {
                    break;
                }
                paged.extend(page);
            }
            assert_eq!(paged, whole, "{}", db.name);
        }
        let filter = UsageFilter { channel: Some(second.channel), meter: Some(Meter::DeliverRecords), element: None };
        let one =
            list_usage(&mut tx, &UsageQuery { filter: filter.clone(), ..january(&flow, Vec::new()) }).await.unwrap();
        assert_eq!(quantity(&one), [(Meter::DeliverRecords, 3)]);
        let noon = UsageQuery { from: at("2026-01-01T12:00:00Z"), ..january(&flow, Vec::new()) };
        assert!(matches!(list_usage(&mut tx, &noon).await, Err(MeteringError::Refused { what: "period", .. })));

        let (from, to) = (at("2026-01-01T00:00:00Z"), at("2026-02-01T00:00:00Z"));
        let tenant = flow.tenant;
        let records = list_records(&mut tx, tenant, from, to, &UsageFilter::default(), None, 100).await.unwrap();
        assert_eq!((records.len(), &records[0]), (7, &requests));
        let first = &records[0];
        let cursor = RecordCursor { event_time: first.event_time, source: first.source.clone(), id: first.id.clone() };
        let rest = list_records(&mut tx, tenant, from, to, &UsageFilter::default(), Some(&cursor), 100).await.unwrap();
        assert_eq!(rest, records[1..], "{}", db.name);
        assert_eq!(list_records(&mut tx, tenant, from, to, &filter, None, 100).await.unwrap().len(), 1);

        let tiles =
            ranges(&mut tx, tenant, flow.channel, flow.element, Lane::Live, Meter::DeliverRecords).await.unwrap();
        let tiles: Vec<_> = tiles.into_iter().map(|(range, quantity)| (range.after, range.to, quantity)).collect();
        assert_eq!(tiles, [(0, 10, 10), (10, 30, 5)]);

        // Two clocks: the event picks the period, storing decides what an invoice saw.
        let rated = totals(&mut tx, tenant, from, to, None).await.unwrap();
        assert_eq!(rated.iter().map(|total| total.quantity).sum::<i64>(), 42 + 180 + 18);
        assert!(totals(&mut tx, tenant, from, to, Some(at("2026-02-01T00:00:01Z"))).await.unwrap().is_empty());
        let seen = totals(&mut tx, tenant, from, to, Some(at("2026-02-01T00:00:02Z"))).await.unwrap();
        assert_eq!(seen, rated, "{}", db.name);
        assert!(totals(&mut tx, tenant, to, to + hours(24), None).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn the_hours_of_a_channel_are_booked_once_each_from_first_active_to_deleted() {
    for db in databases().await.unwrap() {
        let flow = Flow::new();
        let mut channel = Occupied {
            tenant: flow.tenant,
            channel: flow.channel,
            spans: vec![Span { dims: dims(), from: at("2026-01-01T10:30:00Z"), until: None }],
        };
        let mut tx = db.data.platform().await.unwrap();
        let mut book = async |channel: &Occupied, now: &str| {
            book_hours(&mut tx, std::slice::from_ref(channel), at(now)).await.unwrap()
        };
        // The hour that is not over is not booked yet.
        assert_eq!(book(&channel, "2026-01-01T10:59:59Z").await, 0, "{}", db.name);
        assert_eq!(book(&channel, "2026-01-01T12:00:00Z").await, 2);
        assert_eq!(book(&channel, "2026-01-01T12:30:00Z").await, 0);
        // It grows and goes within an hour: each part is booked as what it was, and what is booked stays.
        let (grown, gone) = (at("2026-01-01T12:10:00.7Z"), at("2026-01-01T12:15:00Z"));
        let large = Dims { performance_profile: Some("L".into()), ..dims() };
        channel.spans[0].until = Some(grown);
        channel.spans.push(Span { dims: large, from: grown, until: Some(gone) });
        assert_eq!(book(&channel, "2026-01-01T13:00:00Z").await, 2);
        assert_eq!(book(&channel, "2026-01-09T13:00:00Z").await, 0);
        let query = UsageQuery { tenant: Some(flow.tenant), ..january(&flow, vec![GroupBy::Channel]) };
        let sums = list_usage(&mut tx, &query).await.unwrap();
        assert_eq!((sums[0].quantity, sums[0].records), (1_800 + 3_600 + 900, 4), "{}", db.name);
        let (from, to) = (at("2026-01-01T00:00:00Z"), at("2026-02-01T00:00:00Z"));
        let rated = totals(&mut tx, flow.tenant, from, to, None).await.unwrap();
        let mut of_sizes: Vec<_> = rated.into_iter().map(|total| total.quantity).collect();
        of_sizes.sort_unstable();
        assert_eq!(of_sizes, [300, 1_800 + 3_600 + 600], "{}", db.name);
    }
}

#[test]
fn seconds_of_an_hour_never_exceed_it_and_add_up_to_the_whole() {
    let (from, until) = (at("2026-01-01T10:59:30Z"), at("2026-01-01T13:00:00Z"));
    let seconds: Vec<_> =
        (9..14).map(|hour| seconds_in_hour(from, Some(until), at("2026-01-01T00:00:00Z") + hours(hour))).collect();
    assert_eq!(seconds, [0, 30, 3_600, 3_600, 0]);
    assert_eq!(seconds.iter().sum::<i64>(), (until - from).num_seconds());
}
