//! What one tenant sends costs no other tenant anything.

use std::collections::BTreeMap;

use headgate_database::Dialect;
use headgate_lake::{Position, SideEntry};
use headgate_types::FeedId;

use super::*;
use crate::ingest::side::{Origin, Refusal, Side};

/// A refused record of the bench's channel.
fn refusal(bench: &Bench, reason: &str) -> Refusal {
    let origin = Origin {
        tenant: bench.tenant,
        channel: bench.channel,
        feed: FeedId::new(),
        feed_name: "events".to_owned(),
        receipt: ReceiptId::new(),
        model_version: 1,
    };
    Refusal {
        origin,
        ordinal: 1,
        code: "c".to_owned(),
        reason: reason.to_owned(),
        field_path: Some("p".to_owned()),
        raw: "raw".to_owned(),
    }
}

/// Commits what goes beside records, as any version of conforming might have.
async fn commit_beside(bench: &Bench, process: &Process, items: &[Refusal]) {
    let channel = process.ingest.open_channel(bench.channel).unwrap();
    let id = channel.feeds["entity"].feed.id;
    let place = r#"{"sequence":0,"ordinal":0,"done":true}"#.to_owned();
    let position = Position { channel: bench.channel, feed: id, partition: "beside".to_owned(), value: place };
    let side = |_: u64, _: &[bool]| {
        let encode = |item: &Refusal| serde_json::to_vec(&Side::DeadLetter(item.clone())).unwrap();
        Ok(items.iter().map(encode).collect())
    };
    channel.feeds["entity"].writer.write(&[], vec![position], side).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_no_database_keeps_holds_up_nobody() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(db).await;
        let process = bench.process(|_| ()).await;
        process.ingest.reconcile().await.unwrap();
        let hostile = "{\"a\\u0000\":1,\"a\\u0000\":2}\n";
        let hostile = process.take(bench.incoming("events", hostile)).await;
        let next = process.take(bench.incoming("entity", &lines([1]))).await;
        process.settle().await;
        for (receipt, records, refused) in [(hostile, 0, 1), (next, 1, 0)] {
            let receipt = process.ingest.receipt(bench.channel, receipt).await.unwrap();
            assert_eq!(
                (receipt.state, receipt.records, receipt.refused),
                ("conformed", records, refused),
                "{}",
                bench.db.name
            );
        }
        assert_eq!(bench.dead_letters(&process).await, [("duplicate_key".to_owned(), 1)]);
        process.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_the_database_refuses_is_derived_without_its_words() {
    for db in databases().await.unwrap() {
        let is_picky = db.control.dialect() == Dialect::Postgres;
        let bench = Bench::new(db).await;
        let process = bench.process(|_| ()).await;
        process.ingest.reconcile().await.unwrap();
        for reason in ["before", "\0", "after"] {
            commit_beside(&bench, &process, &[refusal(&bench, reason)]).await;
        }
        while process.ingest.deriver.run_once().await.unwrap().is_some() {}
        let wanted = ListDeadLetters { tenant: bench.tenant, channel: bench.channel, page_size: 100, before: None };
        let letters = process.ingest.list_dead_letters(&wanted).await.unwrap().items;
        let mut letters: Vec<_> = letters.into_iter().map(|letter| (letter.reason, letter.raw)).collect();
        letters.sort();
        let refused = match is_picky {
            true => ("the database takes neither the reason nor the record", ""),
            false => ("\0", "raw"),
        };
        let mut expected = [("before", "raw"), refused, ("after", "raw")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        expected.sort();
        assert_eq!(letters, expected, "{}", bench.db.name);
        process.end().await;
    }
}

/// Refused records of every commit, as they stand beside it.
pub(super) async fn refused_by_commit(process: &Process) -> Vec<u64> {
    let entries = process.lake.log().read_side(0, 1_000, usize::MAX).await.unwrap();
    let refused = |entry: &SideEntry| {
        let items = entry.items.iter().map(|item| serde_json::from_slice::<Side>(item).unwrap());
        items.map(|side| if let Side::Payload(part) = side { part.refused } else { 0 }).sum()
    };
    entries.iter().map(refused).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_records_fill_a_commit_a_step_and_the_rate_as_others_do() {
    for db in databases().await.unwrap() {
        let bench = Bench::limited(db, Limits { records_per_second: 2_000, ..PLENTY }).await;
        let process = bench.process(|_| ()).await;
        process.ingest.reconcile().await.unwrap();
        process.ingest.stop_tasks(bench.channel).await;
        // 40,000 bytes: a commit by its bytes alone would hold them all.
        let bomb = process.take(bench.incoming("events", &"x\n".repeat(20_000))).await;
        assert_eq!(drain_over_crashes(&bench, &process).await, 0);
        assert_eq!(refused_by_commit(&process).await, [8_192, 8_192, 3_616], "{}", bench.db.name);
        let channel = process.ingest.open_channel(bench.channel).unwrap();
        let rest = channel.allowance.conforming.lock().fitting(std::iter::repeat_n(0, 20_000));
        assert!(rest < 20_000, "the burst was 20,000 records, and all of them are used up: {rest}");
        let mut steps = 0;
        while process.ingest.deriver.run_once().await.unwrap().is_some() {
            steps += 1;
        }
        assert!(steps > 0);
        let receipt = process.ingest.receipt(bench.channel, bomb).await.unwrap();
        assert_eq!((receipt.state, receipt.records, receipt.refused), ("conformed", 0, 20_000));
        process.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_of_deriving_takes_no_more_than_it_can_hold() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(db).await;
        let process = bench.process(|_| ()).await;
        process.ingest.reconcile().await.unwrap();
        for _ in 0..4 {
            let large = Refusal { raw: "r".repeat(4 << 20), ..refusal(&bench, "large") };
            commit_beside(&bench, &process, &[large]).await;
        }
        let mut steps = 0;
        while process.ingest.deriver.run_once().await.unwrap().is_some() {
            steps += 1;
        }
        assert_eq!(steps, 4, "{}: two are more than 8 MiB with what is around them", bench.db.name);
        // Two are as many bytes as an answer has.
        let pages: Vec<usize> = bench.dead_letter_pages(&process).await.iter().map(Vec::len).collect();
        assert_eq!(pages, [2, 2], "{}", bench.db.name);
        process.end().await;
    }
}

/// Refused records by channel, as the alerts in the outbox tell.
async fn told(bench: &Bench) -> BTreeMap<ChannelId, u64> {
    let mut tx = bench.db.control.tenant(bench.tenant).await.unwrap();
    let events = headgate_events::list(&mut tx, bench.tenant, 0, 100, &[]).await.unwrap();
    let mut told = BTreeMap::new();
    for event in events {
        let channel = serde_json::from_value(event.data["channel"].clone()).unwrap();
        *told.entry(channel).or_default() += event.data["refused"].as_u64().unwrap();
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_cannot_be_raised_waits_and_costs_no_other_channel_its_own() {
    for db in databases().await.unwrap() {
        let clock = FakeClock::at("2026-03-01T10:20:00Z".parse().unwrap());
        let bench = Bench::timed(db, Timing::Immediate, clock.clone()).await;
        let process = bench.process(|_| ()).await;
        process.ingest.reconcile().await.unwrap();
        let of = |channel: ChannelId, reason: &str| {
            let refusal = refusal(&bench, reason);
            Refusal { origin: Origin { channel, ..refusal.origin }, ..refusal }
        };
        let sound: Vec<ChannelId> = (0..8).map(|_| ChannelId::new()).collect();
        let large = ChannelId::new();
        let mut items: Vec<Refusal> = sound.iter().map(|channel| of(*channel, "short")).collect();
        // No event holds as much.
        items.insert(4, of(large, &"r".repeat(100_000)));
        commit_beside(&bench, &process, &items).await;
        while process.ingest.deriver.run_once().await.unwrap().is_some() {}
        process.ingest.deriver.announce().await;
        let mut expected: BTreeMap<ChannelId, u64> = sound.iter().map(|channel| (*channel, 1)).collect();
        assert_eq!(told(&bench).await, expected, "{}", bench.db.name);
        // Later it can be told, with what had waited; the others have had their alert of this minute.
        let items: Vec<Refusal> = sound.iter().chain([&large]).map(|channel| of(*channel, "short")).collect();
        commit_beside(&bench, &process, &items).await;
        while process.ingest.deriver.run_once().await.unwrap().is_some() {}
        clock.advance(chrono::TimeDelta::seconds(30));
        process.ingest.deriver.announce().await;
        expected.insert(large, 2);
        assert_eq!(told(&bench).await, expected, "{}", bench.db.name);
        clock.advance(chrono::TimeDelta::seconds(31));
        process.ingest.deriver.announce().await;
        expected.values_mut().for_each(|count| *count = 2);
        assert_eq!(told(&bench).await, expected, "{}", bench.db.name);
        process.end().await;
    }
}
