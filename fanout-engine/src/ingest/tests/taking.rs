//! Channels that are changed and deleted while payloads come in.

use std::future::Future;
use std::time::Duration;

use headgate_catalog::channels::SpecChange;
use headgate_types::channel::ChannelState;

use super::*;

/// How long a state may take to come before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(60);

async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("it does not end: {what}"))
}

async fn until(what: &str, mut has_come: impl AsyncFnMut() -> bool) {
    in_time(what, async {
        while !has_come().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

async fn change(bench: &Bench, from: &[ChannelState], to: ChannelState) {
    let mut tx = bench.db.control.tenant(bench.tenant).await.unwrap();
    channels::transition(&mut tx, bench.tenant, bench.channel, from, to, None, bench.clock.now()).await.unwrap();
    tx.commit().await.unwrap();
}

async fn rename(bench: &Bench, name: &str) {
    let mut tx = bench.db.control.tenant(bench.tenant).await.unwrap();
    let change = SpecChange { name: Some(name.to_owned()), ..SpecChange::default() };
    channels::apply_spec(&mut tx, bench.tenant, bench.channel, &change, None, bench.clock.now()).await.unwrap();
    tx.commit().await.unwrap();
}

async fn is_drained(bench: &Bench) -> bool {
    bench.condition(ConditionType::Drained).await.0 == "Decided"
}

/// One record a second, and far more than that landed: what has been decided when the first wait has come.
async fn busy(bench: &Bench) -> (Process, ReceiptId) {
    let process = bench.process(|config| config.roll_bytes = u64::MAX).await;
    process.ingest.reconcile().await.unwrap();
    let landed = process.take(bench.incoming("events", &lines(1..=30_000))).await;
    until("the first commit", async || process.lake.log().head(bench.events) > 0).await;
    (process, landed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_with_hours_of_work_is_paused_resumed_and_stopped_at_once() {
    for db in databases().await.unwrap() {
        let bench = Bench::limited(db, Limits { records_per_second: 1, ..PLENTY }).await;
        let (process, landed) = busy(&bench).await;
        change(&bench, &[ChannelState::Provisioning], ChannelState::Active).await;
        in_time("activating", process.ingest.reconcile()).await.unwrap();
        change(&bench, &[ChannelState::Active], ChannelState::Paused).await;
        in_time("pausing", process.ingest.reconcile()).await.unwrap();
        let refused = process.ingest.accept(bench.incoming("events", "{}")).await.unwrap_err();
        assert_eq!(refused.code(), "channel_paused", "{}", bench.db.name);
        let logged: Vec<i64> = process.logged(bench.events).await.into_iter().map(|(id, _)| id).collect();
        assert_eq!(logged, (1..=8_192).collect::<Vec<_>>(), "what was decided is decided once, and no more is");
        while process.ingest.deriver.run_once().await.unwrap().is_some() {}
        let receipt = process.ingest.receipt(bench.channel, landed).await.unwrap();
        assert_eq!((receipt.state, receipt.records), ("landed", 8_192));
        let (stop, ingest) = (CancellationToken::new(), Arc::clone(&process.ingest));
        let running = tokio::spawn(ingest.run(stop.clone()));
        in_time("a pass", process.ingest.passed()).await;
        stop.cancel();
        in_time("the end", running).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_was_given_up_is_no_attempt_and_is_taken_up_where_it_stood() {
    for db in databases().await.unwrap() {
        let bench = Bench::limited(db, Limits { records_per_second: 1, ..PLENTY }).await;
        let (process, landed) = busy(&bench).await;
        // More often than a commit is tried before it is taken for poisoned.
        for round in 0..10 {
            rename(&bench, &format!("round {round}")).await;
            in_time("renaming", process.ingest.reconcile()).await.unwrap();
        }
        let faster = Limits { records_per_second: 1_000_000, ..PLENTY };
        let mut tx = bench.db.control.tenant(bench.tenant).await.unwrap();
        let size = PinnedSize { size: "XL".to_owned(), profile_revision: 1, limits: faster };
        let change = SpecChange { size: Some(size), ..SpecChange::default() };
        channels::apply_spec(&mut tx, bench.tenant, bench.channel, &change, None, bench.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        process.settle().await;
        let logged: Vec<i64> = process.logged(bench.events).await.into_iter().map(|(id, _)| id).collect();
        assert_eq!(logged, (1..=30_000).collect::<Vec<_>>(), "{}", bench.db.name);
        let receipt = process.ingest.receipt(bench.channel, landed).await.unwrap();
        assert_eq!((receipt.state, receipt.records, receipt.refused), ("conformed", 30_000, 0));
        process.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_channel_has_used_up_what_it_had_used_up() {
    for db in databases().await.unwrap() {
        let bench =
            Bench::limited(db, Limits { records_per_second: 1, bytes_per_second: 1, connections: 2, ..PLENTY }).await;
        let (process, _) = busy(&bench).await;
        let open = process.ingest.open_channel(bench.channel).unwrap();
        let request = open.allowance.request().unwrap();
        rename(&bench, "another").await;
        in_time("renaming", process.ingest.reconcile()).await.unwrap();
        let renamed = process.ingest.open_channel(bench.channel).unwrap();
        assert!(renamed.version > open.version);
        let refused = process.ingest.accept(bench.incoming("events", "{}")).await.unwrap_err();
        assert_eq!(refused.code(), "rate_limited", "{}", bench.db.name);
        assert!(refused.retry_after() > Some(1_000), "{refused}");
        let wait = renamed.allowance.conforming.lock().wait(tokio::time::Instant::now());
        assert!(wait > Duration::from_secs(1_000), "{wait:?}");
        let other = renamed.allowance.request();
        assert!(other.is_some() && renamed.allowance.request().is_none(), "the request of before counts");
        drop((request, other));
        process.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_is_on_its_way_when_its_channel_is_deleted_is_refused_and_leaves_nothing() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(db).await;
        let process = bench.process(|_| ()).await;
        process.ingest.reconcile().await.unwrap();
        let before = process.take(bench.incoming("events", &lines([1]))).await;
        let (mut chunks, body) = futures::channel::mpsc::unbounded::<std::io::Result<Vec<u8>>>();
        chunks.unbounded_send(Ok(lines([2]).into_bytes())).unwrap();
        let slow = Incoming { body: axum::body::Body::from_stream(body), ..bench.incoming("events", "") };
        let slow = tokio::spawn({
            let ingest = Arc::clone(&process.ingest);
            async move { ingest.accept(slow).await }
        });
        let is_open = async || !process.ingest.open_channel(bench.channel).unwrap().allowance.is_idle();
        until("the slow request", is_open).await;
        change(&bench, &[ChannelState::Provisioning], ChannelState::Deleting).await;
        until("the end", async || {
            process.ingest.reconcile().await.unwrap();
            while process.ingest.deriver.run_once().await.unwrap().is_some() {}
            is_drained(&bench).await
        })
        .await;
        // What comes now comes too late, whoever still holds the connection.
        let _ = chunks.start_send(Ok(lines([3]).into_bytes()));
        drop(chunks);
        let refused = in_time("the slow request", slow).await.unwrap().unwrap_err();
        assert_eq!(refused.code(), "channel_deleting", "{}", bench.db.name);
        assert_eq!(process.logged(bench.events).await, [(1, 1)], "what was acknowledged is decided");
        let mut tx = bench.db.data.read_tenant(bench.tenant).await.unwrap();
        let receipt = super::super::store::receipt(&mut tx, bench.tenant, bench.channel, before).await.unwrap();
        assert_eq!(receipt.unwrap().state, "conformed");
        drop(tx);
        assert_eq!(process.lake.landing().feeds(), []);
        assert_eq!(process.lake.landing().usage(bench.channel).payloads, 0);
        process.end().await;
    }
}

/// One thread: whoever holds it holds up all.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_channel_that_waits_for_its_tick_is_deleted_at_once_and_holds_up_nobody() {
    for db in databases().await.unwrap() {
        let bench = Bench::timed(db, Timing::Interval { every: "1h".to_owned() }, SystemClock::shared()).await;
        let process = bench.process(|_| ()).await;
        process.ingest.reconcile().await.unwrap();
        let landed = process.take(bench.incoming("events", &lines([1]))).await;
        assert_eq!(process.ingest.receipt(bench.channel, landed).await.unwrap().state, "landed", "{}", bench.db.name);
        change(&bench, &[ChannelState::Provisioning], ChannelState::Deleting).await;
        let (stop, ingest) = (CancellationToken::new(), Arc::clone(&process.ingest));
        let running = tokio::spawn(ingest.run(stop.clone()));
        until("the end", async || is_drained(&bench).await).await;
        assert_eq!(process.logged(bench.events).await, [(1, 1)]);
        stop.cancel();
        in_time("the end", running).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_is_not_drained_while_somebody_is_on_the_way_through_its_door() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(db).await;
        let process = bench.process(|_| ()).await;
        process.ingest.reconcile().await.unwrap();
        let request = process.ingest.open_channel(bench.channel).unwrap().allowance.request();
        change(&bench, &[ChannelState::Provisioning], ChannelState::Deleting).await;
        for _ in 0..3 {
            process.ingest.reconcile().await.unwrap();
            assert!(!is_drained(&bench).await, "{}", bench.db.name);
        }
        drop(request);
        process.ingest.reconcile().await.unwrap();
        assert!(is_drained(&bench).await, "{}", bench.db.name);
        process.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_landing_zone_keeps_nothing_of_a_channel_that_has_ended() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(db).await;
        let process = bench.process(|_| ()).await;
        process.ingest.reconcile().await.unwrap();
        process.ingest.stop_tasks(bench.channel).await;
        process.take(bench.incoming("events", &lines([1]))).await;
        process.end().await;
        let process = bench.process(|_| ()).await;
        assert_eq!(process.lake.landing().usage(bench.channel).payloads, 1, "{}", bench.db.name);
        process.end().await;
        change(&bench, &[ChannelState::Provisioning], ChannelState::Failed).await;
        let process = bench.process(|_| ()).await;
        assert_eq!(process.lake.landing().usage(bench.channel).payloads, 0, "{}", bench.db.name);
        process.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_takes_no_more_than_its_size_lets_wait_and_goes_on_when_that_is_worked_off() {
    for db in databases().await.unwrap() {
        let bench = Bench::limited(db, Limits { retention_bytes: 1_000, ..PLENTY }).await;
        let process = bench.process(|_| ()).await;
        process.ingest.reconcile().await.unwrap();
        process.ingest.stop_tasks(bench.channel).await;
        process.take(bench.incoming("events", &lines(1..=30))).await;
        let full = process.ingest.accept(bench.incoming("events", &lines(31..=60))).await.unwrap_err();
        assert_eq!((full.kind(), full.code()), (headgate_types::ErrorKind::TooManyRequests, "backlog_full"));
        assert!(full.retry_after().is_some(), "{}", bench.db.name);
        rename(&bench, "with tasks again").await;
        process.settle().await;
        process.take(bench.incoming("events", &lines(31..=60))).await;
        process.settle().await;
        assert_eq!(process.logged(bench.events).await.len(), 60);
        process.end().await;
    }
}

#[tokio::test]
async fn channels_are_listed_again_only_when_there_is_something_to_follow() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(db).await;
        let process = bench.process(|_| {}).await;
        let Process { ingest, .. } = &process;
        let look = async |anyway| ingest.followed.look(&bench.db.control, anyway).await.unwrap();
        let news = async || look(false).await.map(|listed| listed.heads.len());
        assert_eq!(news().await, Some(1), "{}", bench.db.name);
        ingest.reconcile().await.unwrap();
        assert_eq!(news().await, None);
        assert_eq!(look(true).await.map(|listed| listed.heads.len()), Some(1));
        rename(&bench, "yours").await;
        assert_eq!(news().await, Some(1));
        ingest.reconcile().await.unwrap();
        assert_eq!(news().await, None);
        // A drain is waited for although no row changes.
        process.take(bench.incoming("events", &lines(1..=3))).await;
        change(&bench, &[ChannelState::Provisioning], ChannelState::Deleting).await;
        ingest.reconcile().await.unwrap();
        assert!(!is_drained(&bench).await, "{}", bench.db.name);
        process.settle().await;
        ingest.reconcile().await.unwrap();
        assert!(is_drained(&bench).await, "{}", bench.db.name);
        process.end().await;
    }
}
