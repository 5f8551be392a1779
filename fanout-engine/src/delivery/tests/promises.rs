//! The promises.

use std::sync::Arc;

use chrono::TimeDelta;
use headgate_database::testing::databases;
use headgate_metering::{Meter, reconcile};
use headgate_types::Clock as _;
use headgate_types::channel::Lane;
use headgate_types::checksum::Checksum;
use headgate_types::engine::ListDeadLetters;
use headgate_types::schema::ElementKind;
use headgate_types::timing::{OnExceed, Quota, QuotaPeriod, Timing};

use super::bench::{Bench, settle};
use super::target::Target;
use crate::delivery::{IN_FLIGHT, Turn, Waiting, fence, refusals};

#[tokio::test]
async fn history_and_live_meet_without_gap_or_double_while_data_keeps_arriving() {
    for db in databases().await.unwrap() {
        for kind in [ElementKind::Events, ElementKind::Entity] {
            let bench = Bench::new(&db, kind).await;
            bench.append(1..=40).await;
            bench.pin(true).await;
            bench.append(41..=45).await;
            let target = Arc::new(Target { keeps_cursor: true, ..Target::default() });
            let mut worker = bench.worker(&target).await;
            for next in 46..=60 {
                worker.round().await;
                bench.append([next]).await;
            }
            assert_eq!(settle(&mut worker).await, Turn::Idle);
            assert_eq!(target.offsets(), (1..=60).collect::<Vec<_>>(), "{} {kind:?}", db.name);
            let (history, live) = (bench.row(Lane::Backfill).await, bench.row(Lane::Live).await);
            assert!(history.finished_at.is_some());
            assert_eq!((history.totals.records, live.totals.records), (40, 20));
            assert_eq!((history.booked, live.starts_after, live.booked), (40, 40, 60));
        }
    }
}

#[tokio::test]
async fn what_was_sent_since_the_books_were_written_comes_again_marked_after_a_crash() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(&db, ElementKind::Events).await;
        bench.pin(false).await;
        bench.append(1..=28).await;
        let target = Arc::new(Target::default());
        target.state.lock().hangs = Some(22);
        let mut worker = bench.worker(&target).await;
        let sent = async {
            while target.offsets().len() < 21 {
                tokio::task::yield_now().await;
            }
        };
        // Three ranges of one turn are with the receiver when the process ends.
        tokio::select! {
            turn = worker.round() => panic!("the receiver has not answered, and yet: {turn:?}"),
            () = sent => {}
        }
        drop(worker);
        assert_eq!(bench.row(Lane::Live).await.booked, 0, "{}", db.name);

        target.state.lock().hangs = None;
        target.state.lock().marks.clear();
        let mut worker = bench.worker(&target).await;
        settle(&mut worker).await;
        assert_eq!(target.offsets(), (1..=21).chain(1..=28).collect::<Vec<_>>());
        let row = bench.row(Lane::Live).await;
        assert_eq!((row.booked, row.totals.records), (28, 28));
        assert_eq!(target.state.lock().marks[..3], [true; 3]);
    }
}

#[tokio::test]
async fn usage_equals_deliveries_and_its_ranges_tile() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(&db, ElementKind::Events).await;
        bench.append(1..=10).await;
        bench.pin(true).await;
        let target = Arc::new(Target::default());
        let mut worker = bench.worker(&target).await;
        settle(&mut worker).await;
        for hour in 0..3 {
            bench.clock.advance(TimeDelta::hours(1));
            bench.append((0..5).map(|id| 100 + hour * 10 + id)).await;
            settle(&mut worker).await;
        }
        // Nothing more is delivered; the last hour is cut when it is over, and not before.
        worker.cut_past_usage().await.unwrap();
        assert_eq!(bench.used(Meter::DeliverRecords).await, 20, "{}", db.name);
        bench.clock.advance(TimeDelta::hours(1));
        worker.cut_past_usage().await.unwrap();
        let rows = bench.rows().await;
        let (records, bytes) =
            rows.iter().fold((0, 0), |(records, bytes), row| (records + row.totals.records, bytes + row.totals.bytes));
        assert_eq!(records, 25);
        assert_eq!(bench.used(Meter::DeliverRecords).await, 25, "{}", db.name);
        assert_eq!(bench.used(Meter::DeliverBytes).await, bytes as i64);
        let booked: Vec<_> = rows.iter().map(super::super::store::FlowRow::cut).collect();
        let mut tx = db.data.read_platform().await.unwrap();
        let report = reconcile(&mut tx, None, &booked).await.unwrap();
        assert!(report.agrees(), "{:?}", report.differences);
    }
}

#[tokio::test]
async fn a_crash_between_target_and_books_is_booked_once_and_not_delivered_twice() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(&db, ElementKind::Events).await;
        bench.pin(false).await;
        bench.append(1..=5).await;
        let target = Arc::new(Target { keeps_cursor: true, ..Target::default() });
        // The target committed 1..=5 and the process died before it could book them.
        target.state.lock().held.insert(bench.flow(Lane::Live), 5);
        bench.append(6..=8).await;
        let mut worker = bench.worker(&target).await;
        settle(&mut worker).await;
        assert_eq!(target.offsets(), [6, 7, 8], "{}", db.name);
        assert_eq!(bench.row(Lane::Live).await.totals.records, 8);
    }
}

#[tokio::test]
async fn a_restored_target_gets_the_difference_again_unbilled() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(&db, ElementKind::Events).await;
        bench.pin(false).await;
        bench.append(1..=9).await;
        let target = Arc::new(Target { keeps_cursor: true, ..Target::default() });
        settle(&mut bench.worker(&target).await).await;
        target.state.lock().held.insert(bench.flow(Lane::Live), 4);
        target.state.lock().written.clear();
        bench.append([10]).await;
        let mut worker = bench.worker(&target).await;
        settle(&mut worker).await;
        assert_eq!(target.offsets(), [5, 6, 7, 8, 9, 10], "{}", db.name);
        assert_eq!(bench.row(Lane::Live).await.totals.records, 10);
    }
}

#[tokio::test]
async fn a_refused_record_costs_itself_only_and_is_kept_with_the_reason() {
    for db in databases().await.unwrap() {
        for names_refused in [false, true] {
            let bench = Bench::new(&db, ElementKind::Events).await;
            bench.pin(false).await;
            bench.append(1..=20).await;
            let target = Arc::new(Target { keeps_cursor: true, ..Target::default() });
            target.state.lock().refused.extend([3, 11]);
            target.state.lock().names_refused = names_refused;
            let mut worker = bench.worker(&target).await;
            settle(&mut worker).await;
            let expected: Vec<u64> = (1..=20).filter(|offset| ![3, 11].contains(offset)).collect();
            assert_eq!(target.offsets(), expected, "{} {names_refused}", db.name);
            let row = bench.row(Lane::Live).await;
            assert_eq!((row.totals.records, row.refused, row.booked), (18, 2, 20));
            let mut tx = db.data.read_tenant(bench.tenant).await.unwrap();
            let wanted = ListDeadLetters { tenant: bench.tenant, channel: bench.channel, page_size: 10, before: None };
            let letters = refusals::list(&mut tx, &wanted).await.unwrap().items;
            assert_eq!(letters.len(), 2);
            assert!(letters.iter().all(|letter| letter.reason == "not for me" && letter.raw.starts_with('{')));
            let found = refusals::get(&mut tx, bench.tenant, letters[0].id).await.unwrap();
            assert_eq!(found.map(|letter| letter.id), Some(letters[0].id));
            let stranger = headgate_types::TenantId::new();
            let mut tx = db.data.read_tenant(stranger).await.unwrap();
            assert!(refusals::get(&mut tx, stranger, letters[0].id).await.unwrap().is_none());
        }
    }
}

#[tokio::test]
async fn a_record_that_crashes_the_sink_is_given_up_after_three_attempts_and_costs_no_other() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(&db, ElementKind::Events).await;
        bench.pin(false).await;
        bench.append(1..=20).await;
        let target = Arc::new(Target { keeps_cursor: true, ..Target::default() });
        target.state.lock().panics.extend([3, 11]);
        let mut worker = bench.worker(&target).await;
        let Turn::Wait { why: Waiting::Broken, .. } = worker.round().await else { panic!("the breaker opens") };
        assert!(worker.last_error.as_deref().unwrap().contains("processing_crash"), "{:?}", worker.last_error);
        let mut crashed = 1;
        while worker.flows[0].row.booked < 20 {
            match worker.round().await {
                Turn::Wait { limit, why: Waiting::Broken } => {
                    crashed += usize::from(limit > std::time::Duration::ZERO);
                    tokio::time::sleep(limit).await;
                }
                Turn::Wait { limit, .. } => tokio::time::sleep(limit).await,
                Turn::Moved => {}
                Turn::Idle | Turn::Outdated => panic!("a record is left behind"),
            }
            assert!(crashed < 20, "taken up for ever");
        }
        let expected: Vec<u64> = (1..=20).filter(|offset| ![3, 11].contains(offset)).collect();
        assert_eq!(target.offsets(), expected, "{}", db.name);
        let row = bench.row(Lane::Live).await;
        assert_eq!((row.totals.records, row.refused, row.booked), (18, 2, 20));
        let mut tx = db.data.read_tenant(bench.tenant).await.unwrap();
        let wanted = ListDeadLetters { tenant: bench.tenant, channel: bench.channel, page_size: 10, before: None };
        let letters = refusals::list(&mut tx, &wanted).await.unwrap().items;
        assert!(letters.len() == 2 && letters.iter().all(|letter| letter.reason.contains("processing_crash")));
    }
}

#[tokio::test]
async fn a_target_in_the_way_uses_up_no_tries() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(&db, ElementKind::Events).await;
        bench.pin(false).await;
        bench.append(1..=3).await;
        let target = Arc::new(Target::default());
        target.state.lock().failures = 3;
        let mut worker = bench.worker(&target).await;
        let Turn::Wait { why: Waiting::Broken, .. } = worker.round().await else { panic!("the breaker opens") };
        assert_eq!(worker.last_error.as_deref(), Some("away"));
        settle(&mut worker).await;
        assert_eq!(target.offsets(), [1, 2, 3], "{}", db.name);
        assert_eq!((bench.row(Lane::Live).await.refused, worker.last_error), (0, None));
    }
}

#[tokio::test]
async fn a_tenant_whose_month_is_used_up_gets_nothing_until_the_next_one() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(&db, ElementKind::Events).await;
        bench.pin(false).await;
        bench.append(1..=3).await;
        let until = bench.clock.now() + TimeDelta::days(2);
        bench.context.tenant_quotas.hold(bench.tenant, crate::tenant_quotas::Flow::Delivery, until);
        let target = Arc::new(Target { keeps_cursor: true, ..Target::default() });
        let mut worker = bench.worker(&target).await;
        let rest = settle(&mut worker).await;
        assert!(matches!(rest, Turn::Wait { why: Waiting::OverQuota, .. }), "{rest:?}");
        assert!(worker.over_quota() && target.offsets().is_empty());
        bench.clock.advance(TimeDelta::days(2));
        settle(&mut worker).await;
        assert!(!worker.over_quota());
        assert_eq!(target.offsets(), [1, 2, 3], "{}: nothing is lost", db.name);
    }
}

#[tokio::test]
async fn a_quota_holds_or_passes_over_what_is_beyond_it() {
    for db in databases().await.unwrap() {
        for on_exceed in [OnExceed::Hold, OnExceed::Reject] {
            let mut bench = Bench::new(&db, ElementKind::Events).await;
            bench.quota = Some(Quota { period: QuotaPeriod::Day, records: Some(5), bytes: None, on_exceed });
            bench.pin(false).await;
            bench.append(1..=8).await;
            let target = Arc::new(Target { keeps_cursor: true, ..Target::default() });
            let mut worker = bench.worker(&target).await;
            let rest = settle(&mut worker).await;
            assert_eq!(target.offsets(), [1, 2, 3, 4, 5], "{}", db.name);
            assert!(worker.over_quota());
            let held = matches!(rest, Turn::Wait { why: Waiting::OverQuota, .. });
            assert_eq!(held, on_exceed == OnExceed::Hold);
            // A restart forgets nothing of what was spent.
            let mut worker = bench.worker(&target).await;
            assert!(worker.over_quota());
            bench.clock.advance(TimeDelta::days(1));
            bench.append([9]).await;
            settle(&mut worker).await;
            let row = bench.row(Lane::Live).await;
            let expected = if held { (9, 0) } else { (6, 3) };
            assert_eq!((row.totals.records, row.over_quota), expected, "{}", db.name);
        }
    }
}

#[tokio::test]
async fn an_interval_channel_delivers_at_its_tick_what_was_there_when_it_began() {
    for db in databases().await.unwrap() {
        let mut bench = Bench::new(&db, ElementKind::Events).await;
        bench.timing = Timing::Interval { every: "1h".to_owned() };
        bench.pin(false).await;
        bench.append(1..=3).await;
        let target = Arc::new(Target { collects: true, ..Target::default() });
        let mut worker = bench.worker(&target).await;
        assert!(matches!(settle(&mut worker).await, Turn::Wait { why: Waiting::Tick, .. }));
        assert_eq!(target.offsets(), [] as [u64; 0]);
        bench.clock.advance(TimeDelta::hours(1));
        settle(&mut worker).await;
        assert_eq!(target.offsets(), [1, 2, 3], "{}", db.name);
        assert_eq!(bench.row(Lane::Live).await.booked, 3, "the end of a tick publishes what was collected");
        bench.append([4]).await;
        assert!(matches!(settle(&mut worker).await, Turn::Wait { why: Waiting::Tick, .. }));
        assert_eq!(target.offsets(), [1, 2, 3]);
    }
}

#[tokio::test]
async fn two_workers_of_one_flow_book_it_once() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(&db, ElementKind::Events).await;
        bench.pin(false).await;
        bench.append(1..=3).await;
        let (one, other) = (Arc::new(Target::default()), Arc::new(Target::default()));
        let (mut first, mut second) = (bench.worker(&one).await, bench.worker(&other).await);
        settle(&mut first).await;
        assert_eq!(second.round().await, Turn::Outdated, "{}", db.name);
        assert!(second.unsure(), "it has sent what the other sent too");
        assert_eq!(bench.row(Lane::Live).await.totals.records, 3);
    }
}

#[tokio::test]
async fn the_size_bounds_the_rate() {
    for db in databases().await.unwrap() {
        let mut bench = Bench::new(&db, ElementKind::Events).await;
        bench.limits.records_per_second = 1;
        bench.pin(false).await;
        bench.append(1..=30).await;
        let target = Arc::new(Target::default());
        let mut worker = bench.worker(&target).await;
        let mut turn = worker.round().await;
        while turn == Turn::Moved {
            turn = worker.round().await;
        }
        assert!(matches!(turn, Turn::Wait { why: Waiting::Throttled, .. }), "{} {turn:?}", db.name);
        // A burst of ten records, and what the time since has added.
        assert!((10..=15).contains(&target.offsets().len()), "{:?}", target.offsets());
    }
}

#[tokio::test]
async fn the_size_bounds_what_is_in_flight() {
    for db in databases().await.unwrap() {
        for (memory, expected) in [(1, 6), (1 << 30, 1)] {
            let mut bench = Bench::new(&db, ElementKind::Events).await;
            bench.limits.memory_bytes = memory;
            bench.pin(false).await;
            for id in 1..=6 {
                bench.append([id]).await;
            }
            let target = Arc::new(Target::default());
            settle(&mut bench.worker(&target).await).await;
            assert_eq!(target.offsets(), [1, 2, 3, 4, 5, 6], "{}", db.name);
            assert_eq!(target.state.lock().writes, expected, "{memory} bytes, a commit at least: {}", db.name);
        }
    }
}

#[tokio::test]
async fn the_books_carry_the_checksum_of_what_arrived() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(&db, ElementKind::Events).await;
        bench.pin(false).await;
        bench.append(1..=10).await;
        let target = Arc::new(Target::default());
        settle(&mut bench.worker(&target).await).await;
        let batches = bench.context.lake.read(bench.element.id, 0, usize::MAX).await.unwrap();
        let mut expected = Checksum::EMPTY;
        for batch in &batches {
            let encoded = bench.plan.encode(batch).unwrap();
            (0..encoded.len()).for_each(|row| expected.add(encoded.json(row)));
        }
        assert_eq!(bench.row(Lane::Live).await.totals.checksum, expected, "{}", db.name);
    }
}

#[tokio::test]
async fn a_log_that_lost_its_tail_goes_on_above_every_cursor() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(&db, ElementKind::Events).await;
        bench.append(1..=3).await;
        bench.pin(false).await;
        let mut tx = db.data.platform().await.unwrap();
        tx.act_for(bench.tenant).await.unwrap();
        // The books of a log that had reached 10 before it was restored from an older copy.
        tx.execute("UPDATE flows SET booked = 10", headgate_database::args![]).await.unwrap();
        tx.commit().await.unwrap();
        fence(&db.data, &bench.context.lake).await.unwrap();
        let fenced = bench.context.lake.take_fenced();
        assert_eq!(fenced.iter().map(|fenced| (fenced.head, fenced.seen)).collect::<Vec<_>>(), [(3, 10 + IN_FLIGHT)]);
        fence(&db.data, &bench.context.lake).await.unwrap();
        assert!(bench.context.lake.take_fenced().is_empty(), "{}", db.name);
        bench.append([99]).await;
        let target = Arc::new(Target::default());
        settle(&mut bench.worker(&target).await).await;
        assert_eq!(target.offsets(), [11 + IN_FLIGHT], "{}", db.name);
    }
}

#[tokio::test]
async fn a_channel_that_is_not_complete_waits_without_failing() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(&db, ElementKind::Events).await;
        bench.pin(false).await;
        bench.append(1..=3).await;
        let target = Arc::new(Target::default());
        target.state.lock().incomplete = true;
        let mut worker = bench.worker(&target).await;
        let turn = worker.round().await;
        assert!(matches!(turn, Turn::Wait { why: Waiting::Incomplete("no secret yet"), .. }), "{turn:?}");
        assert_eq!((worker.degraded(), worker.last_error.as_deref()), (false, None), "{}", db.name);
        target.state.lock().incomplete = false;
        settle(&mut worker).await;
        assert_eq!(target.offsets(), [1, 2, 3], "{}", db.name);
    }
}

#[tokio::test]
async fn a_target_that_lost_its_finished_history_gets_it_again_unbilled() {
    for db in databases().await.unwrap() {
        for kind in [ElementKind::Events, ElementKind::Entity] {
            let bench = Bench::new(&db, kind).await;
            bench.append(1..=9).await;
            bench.pin(true).await;
            let target = Arc::new(Target { keeps_cursor: true, ..Target::default() });
            settle(&mut bench.worker(&target).await).await;
            assert!(bench.row(Lane::Backfill).await.finished_at.is_some());
            target.state.lock().held.clear();
            target.state.lock().written.clear();
            bench.append([10]).await;
            settle(&mut bench.worker(&target).await).await;
            assert_eq!(target.offsets(), (1..=10).collect::<Vec<_>>(), "{} {kind:?}", db.name);
            let (history, live) = (bench.row(Lane::Backfill).await, bench.row(Lane::Live).await);
            assert_eq!((history.totals.records, live.totals.records), (9, 1));
        }
    }
}

#[tokio::test]
async fn nothing_is_sent_under_terms_that_were_taken_back() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(&db, ElementKind::Events).await;
        bench.pin(false).await;
        let target = Arc::new(Target::default());
        let mut worker = bench.worker(&target).await;
        bench.append(1..=3).await;
        settle(&mut worker).await;
        bench.newest.store(2, std::sync::atomic::Ordering::SeqCst);
        bench.append([4]).await;
        // Idle until the router has come to the record; then it would be sent, and is not.
        let mut turn = worker.round().await;
        for _ in 0..2_000 {
            if turn != Turn::Idle {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            turn = worker.round().await;
        }
        assert_eq!(turn, Turn::Moved, "it is asked again, under other terms");
        assert_eq!(target.offsets(), [1, 2, 3], "{}", db.name);
        assert_eq!((worker.degraded(), worker.last_error.as_deref()), (false, None));
    }
}
