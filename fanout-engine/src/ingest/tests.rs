//! From a payload to records, over restarts and restored files.

mod hostile;
mod taking;
mod together;

use std::path::Path;
use std::sync::Arc;

use headgate_access::outbound::{GuardedClient, OutboundPolicy};
use headgate_access::{Access, AccessConfig, MasterKey};
use headgate_catalog::channels::{self, PinnedSize};
use headgate_catalog::feeds::{self, NewFeed};
use headgate_catalog::{ChannelSpec, FeedSpec, InSpec, Lanes, NewChannel, elements};
use headgate_database::testing::{TestDb, databases};
use headgate_events::Events;
use headgate_lake::{Lake, LakeConfig, OFFSET};
use headgate_types::channel::{Binding, ConditionType};
use headgate_types::engine::ListDeadLetters;
use headgate_types::limits::Limits;
use headgate_types::model::InputModel;
use headgate_types::schema::ElementKind;
use headgate_types::timing::Timing;
use headgate_types::{ChannelId, Clock, Coded, ElementId, FakeClock, ReceiptId, SharedClock, SystemClock, TenantId};
use tokio_util::sync::CancellationToken;

use super::attempts::Attempts;
use super::drain::Drain;
use super::source::Pace;
use super::{Incoming, Ingest, IngestError, IngestParts};
use crate::cloud::Cloud;
use crate::conform::rows_of;
use crate::delivery::fence;
use crate::delivery::limits::PLENTY;
use crate::shape::testing::sensors;

/// The catalog of a data-in channel with a feed into events and one into an entity.
pub(super) struct Bench {
    db: TestDb,
    pub(super) clock: SharedClock,
    pub(super) tenant: TenantId,
    pub(super) channel: ChannelId,
    pub(super) events: ElementId,
    entity: ElementId,
    outbox: Events,
    directory: tempfile::TempDir,
    /// Where the channel's source is, if it has one.
    pub(super) cloud: Cloud,
    pub(super) pace: Pace,
}

/// A process over the bench's files.
pub(super) struct Process {
    pub(super) lake: Lake,
    pub(super) ingest: Arc<Ingest>,
}

/// How a bench's channel is set up.
pub(super) struct Setup {
    pub(super) timing: Timing,
    pub(super) limits: Limits,
    pub(super) binding: Binding,
    /// Whether the second feed, into the entity, is there.
    pub(super) second: bool,
}

impl Bench {
    async fn new(db: TestDb) -> Self {
        Self::timed(db, Timing::Immediate, SystemClock::shared()).await
    }

    /// One whose channel may do so much.
    async fn limited(db: TestDb, limits: Limits) -> Self {
        let binding = Binding::plain("http://127.0.0.1/");
        let setup = Setup { timing: Timing::Immediate, limits, binding, second: true };
        Self::set_up(db, SystemClock::shared(), setup).await
    }

    async fn timed(db: TestDb, timing: Timing, clock: SharedClock) -> Self {
        let binding = Binding::plain("http://127.0.0.1/");
        Self::set_up(db, clock, Setup { timing, limits: PLENTY, binding, second: true }).await
    }

    pub(super) async fn set_up(db: TestDb, clock: SharedClock, setup: Setup) -> Self {
        let (tenant, channel, now) = (TenantId::new(), ChannelId::new(), clock.now());
        let mut tx = db.control.tenant(tenant).await.unwrap();
        let mut made = Vec::new();
        for kind in [ElementKind::Events, ElementKind::Entity] {
            let element = sensors(kind);
            elements::insert(&mut tx, &element.described(tenant, kind.as_str()), now).await.unwrap();
            made.push(element.id);
        }
        let (events, entity) = (made[0], made[1]);
        let of =
            |name: &str, element| FeedSpec { name: name.to_owned(), element: Some(element), ..FeedSpec::default() };
        let named = [("events", events), ("entity", entity)];
        let named = &named[..if setup.second { 2 } else { 1 }];
        let specs = named.iter().map(|(name, element)| of(name, *element)).collect();
        let spec = InSpec { feeds: specs, timing: setup.timing, ..InSpec::default() };
        let new = NewChannel {
            id: channel,
            tenant,
            profile: "http".to_owned(),
            size: PinnedSize { size: "S".to_owned(), profile_revision: 1, limits: setup.limits },
            name: "mine".to_owned(),
            spec: ChannelSpec::In(spec),
        };
        channels::insert(&mut tx, &new, now).await.unwrap();
        for (name, element) in named {
            let input_model = InputModel::default();
            let new = NewFeed { tenant, channel, name: (*name).to_owned(), element: *element, input_model };
            feeds::insert(&mut tx, &new, now).await.unwrap();
        }
        channels::set_binding(&mut tx, tenant, channel, Some(&setup.binding), now).await.unwrap();
        channels::set_lanes(&mut tx, tenant, channel, Lanes { live: true, backfill: false }, now).await.unwrap();
        tx.commit().await.unwrap();
        let config = AccessConfig::new("http://127.0.0.1/".parse().unwrap(), "headgate", MasterKey::generate());
        let access = Access::open(db.control.clone(), Arc::clone(&clock), config).await.unwrap();
        let outbound = GuardedClient::new(OutboundPolicy::development()).unwrap();
        let outbox = Events::new(db.control.clone(), Arc::clone(&clock), access, outbound);
        let (directory, cloud, pace) = (tempfile::tempdir().unwrap(), Cloud::default(), Pace::default());
        Self { db, clock, tenant, channel, events, entity, outbox, directory, cloud, pace }
    }

    fn lake_directory(&self) -> std::path::PathBuf {
        self.directory.path().join("lake")
    }

    /// A process that has just started, with no task running yet.
    pub(super) async fn process(&self, change: impl FnOnce(&mut LakeConfig)) -> Process {
        let mut config = LakeConfig::new(self.lake_directory());
        change(&mut config);
        let lake = Lake::open(config, Arc::clone(&self.clock)).await.unwrap();
        let mut ingest = Ingest::new(IngestParts {
            control: self.db.control.clone(),
            data: self.db.data.clone(),
            lake: lake.clone(),
            cloud: self.cloud.clone(),
            clock: Arc::clone(&self.clock),
            events: self.outbox.clone(),
            projections: self.directory.path().join("projections"),
            attempts: self.directory.path().join("attempts"),
        });
        Arc::get_mut(&mut ingest).unwrap().pace = self.pace;
        std::fs::create_dir_all(self.directory.path().join("attempts")).unwrap();
        fence(&self.db.data, &lake).await.unwrap();
        ingest.fence().await.unwrap();
        Process { lake, ingest }
    }

    pub(super) fn incoming(&self, feed: &str, body: &str) -> Incoming {
        Incoming {
            channel: self.channel,
            feed: feed.to_owned(),
            content_type: Some("application/x-ndjson".to_owned()),
            content_encoding: None,
            idempotency_key: None,
            body: axum::body::Body::from(body.to_owned()),
        }
    }

    /// Reason and message of a condition.
    pub(super) async fn condition(&self, wanted: ConditionType) -> (String, String) {
        let mut tx = self.db.control.tenant(self.tenant).await.unwrap();
        let all = channels::conditions(&mut tx, self.tenant, self.channel).await.unwrap();
        let found = all.into_iter().find(|condition| condition.condition == wanted);
        found.map(|condition| (condition.reason, condition.message)).unwrap_or_default()
    }

    pub(super) async fn dead_letters(&self, process: &Process) -> Vec<(String, u64)> {
        self.dead_letter_pages(process).await.concat()
    }

    /// Code and ordinal of each dead letter, by pages of at most a hundred.
    pub(super) async fn dead_letter_pages(&self, process: &Process) -> Vec<Vec<(String, u64)>> {
        let mut wanted = ListDeadLetters { tenant: self.tenant, channel: self.channel, page_size: 100, before: None };
        let mut pages = Vec::new();
        loop {
            let page = process.ingest.list_dead_letters(&wanted).await.unwrap();
            pages.push(page.items.into_iter().map(|letter| (letter.code, letter.ordinal.unwrap())).collect());
            match page.next_page_token {
                Some(last) => wanted.before = Some(last.parse().unwrap()),
                None => return pages,
            }
        }
    }

    /// Code and ordinal of each dead letter, in their order.
    pub(super) async fn refusals(&self, process: &Process) -> Vec<String> {
        let mut letters = self.dead_letters(process).await;
        letters.sort();
        letters.into_iter().map(|(code, ordinal)| format!("{code} {ordinal}")).collect()
    }
}

impl Process {
    /// Conforms and derives everything that has landed.
    pub(super) async fn settle(&self) {
        self.ingest.reconcile().await.unwrap();
        for _ in 0..3_000 {
            while self.ingest.deriver.run_once().await.unwrap().is_some() {}
            if self.ingest.idle() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        panic!("something landed is never decided");
    }

    async fn take(&self, incoming: Incoming) -> ReceiptId {
        self.ingest.accept(incoming).await.unwrap().receipt
    }

    /// Ids and offsets in the log, oldest first.
    pub(super) async fn logged(&self, element: ElementId) -> Vec<(i64, u64)> {
        let layout = self.lake.log().layout(element).unwrap();
        let mut all = Vec::new();
        for batch in self.lake.read(element, 0, usize::MAX).await.unwrap() {
            assert!(batch.batch.column_by_name(OFFSET).is_some());
            let rows = rows_of(&layout.schema, &batch.batch).unwrap();
            for (row, offset) in rows.into_iter().zip(batch.first..) {
                let crate::conform::Scalar::Int(id) = row[0] else { panic!("an id") };
                all.push((id, offset));
            }
        }
        all
    }

    /// Ends everything, so that the files can be opened again.
    pub(super) async fn end(self) {
        self.ingest.tasks.cancel();
        let channels: Vec<ChannelId> = self.ingest.channels.read().keys().copied().collect();
        for channel in channels {
            self.ingest.close(channel).await;
        }
    }
}

fn lines(ids: impl IntoIterator<Item = i64>) -> String {
    ids.into_iter().map(|id| format!("{{\"id\":{id},\"site\":\"a\"}}\n")).collect()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target)
        } else {
            std::fs::copy(entry.path(), target).map(drop).unwrap()
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_of_a_payload_is_decided_once_and_its_receipt_says_so() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(db).await;
        let process = bench.process(|_| ()).await;
        process.ingest.reconcile().await.unwrap();
        let body = format!("{}{{\"id\":\"four\"}}\nnot json\n{}", lines(1..=3), lines([6]));
        let mixed = process.take(bench.incoming("events", &body)).await;
        let rows = process.take(bench.incoming("entity", &lines([1, 2, 1]))).await;
        process.settle().await;
        assert_eq!(process.logged(bench.events).await, [(1, 1), (2, 2), (3, 3), (6, 4)], "{}", bench.db.name);
        assert_eq!(process.logged(bench.entity).await, [(1, 1), (2, 2)]);
        let receipt = process.ingest.receipt(bench.channel, mixed).await.unwrap();
        assert_eq!((receipt.state, receipt.records, receipt.refused, receipt.unchanged), ("conformed", 4, 2, 0));
        let receipt = process.ingest.receipt(bench.channel, rows).await.unwrap();
        assert_eq!((receipt.state, receipt.records, receipt.refused, receipt.unchanged), ("conformed", 2, 0, 1));
        let mut letters = bench.dead_letters(&process).await;
        letters.sort_by_key(|(_, ordinal)| *ordinal);
        assert_eq!(letters.iter().map(|(_, ordinal)| *ordinal).collect::<Vec<_>>(), [4, 5]);
        process.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_landed_before_a_restart_is_conformed_once_after_it() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(db).await;
        let process = bench.process(|_| ()).await;
        process.ingest.reconcile().await.unwrap();
        process.take(bench.incoming("events", &lines(1..=2))).await;
        process.settle().await;
        // The drains are gone and the door is open still: this one only lands.
        process.ingest.stop_tasks(bench.channel).await;
        let landed = process.take(bench.incoming("events", &lines(3..=4))).await;
        assert_eq!(process.ingest.receipt(bench.channel, landed).await.unwrap().state, "landed");
        process.end().await;
        let process = bench.process(|_| ()).await;
        process.settle().await;
        assert_eq!(process.logged(bench.events).await, [(1, 1), (2, 2), (3, 3), (4, 4)], "{}", bench.db.name);
        assert_eq!(process.ingest.receipt(bench.channel, landed).await.unwrap().state, "conformed");
        process.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interval_channel_conforms_at_its_tick_what_landed_before_it() {
    for db in databases().await.unwrap() {
        let clock = FakeClock::at("2026-03-01T10:20:00Z".parse().unwrap());
        let timing = Timing::Interval { every: "1h".to_owned() };
        let bench = Bench::timed(db, timing, clock.clone()).await;
        let process = bench.process(|_| ()).await;
        process.ingest.reconcile().await.unwrap();
        let first = process.take(bench.incoming("events", &lines(1..=2))).await;
        let second = process.take(bench.incoming("events", &lines([3]))).await;
        // Who conforms before the tick is told by the receipt, whenever that was.
        let before = process.ingest.receipt(bench.channel, first).await.unwrap();
        assert_eq!((before.state, before.conformed_at), ("landed", None), "{}", bench.db.name);
        clock.advance(chrono::TimeDelta::minutes(39));
        process.end().await;
        let process = bench.process(|_| ()).await;
        process.ingest.reconcile().await.unwrap();
        assert_eq!(process.ingest.receipt(bench.channel, first).await.unwrap().state, "landed");
        // Two ticks pass while nobody looks; they are one.
        clock.advance(chrono::TimeDelta::minutes(70));
        process.settle().await;
        for receipt in [first, second] {
            let receipt = process.ingest.receipt(bench.channel, receipt).await.unwrap();
            assert_eq!((receipt.state, receipt.conformed_at), ("conformed", Some(clock.now())));
        }
        assert_eq!(process.logged(bench.events).await, [(1, 1), (2, 2), (3, 3)]);
        process.end().await;
    }
}

/// Drains what landed for events as processes would that end whenever it crashes; returns how many ended.
async fn drain_over_crashes(bench: &Bench, process: &Process) -> usize {
    let channel = process.ingest.open_channel(bench.channel).unwrap();
    let feed = &channel.feeds["events"];
    let until = *process.lake.landing().watch(bench.channel, feed.feed.id).borrow();
    let file = bench.directory.path().join("attempts").join(feed.feed.id.to_string());
    for ended in 0..100 {
        let mut attempts = Attempts::open(file.clone());
        let stop = &CancellationToken::new();
        let mut drain = Drain { lake: &process.lake, channel: &channel, feed, attempts: &mut attempts, stop };
        match drain.run(until).await {
            Ok(()) => return ended,
            Err(error) => assert_eq!(error.code(), "processing_crash", "{error}"),
        }
    }
    panic!("the payloads are taken up for ever");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_ends_the_process_becomes_a_dead_letter_and_costs_no_other() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(db).await;
        let process = bench.process(|_| ()).await;
        process.ingest.reconcile().await.unwrap();
        process.ingest.stop_tasks(bench.channel).await;
        let poisoned = format!("{}poison\n{}", lines(1..=150), lines(152..=200));
        let first = process.take(bench.incoming("events", &lines(901..=910))).await;
        let poisoned = process.take(bench.incoming("events", &poisoned)).await;
        let last = process.take(bench.incoming("events", &lines([999]))).await;
        // Three as a whole, one each at two and at one record in a commit until three ended there.
        assert_eq!(drain_over_crashes(&bench, &process).await, 7, "{}", bench.db.name);
        process.end().await;
        let process = bench.process(|_| ()).await;
        process.settle().await;
        let ids: Vec<i64> = process.logged(bench.events).await.into_iter().map(|(id, _)| id).collect();
        let sent: Vec<i64> = (901..=910).chain(1..=150).chain(152..=200).chain([999]).collect();
        assert_eq!(ids, sent);
        for (receipt, records, refused) in [(first, 10, 0), (poisoned, 199, 1), (last, 1, 0)] {
            let receipt = process.ingest.receipt(bench.channel, receipt).await.unwrap();
            assert_eq!((receipt.state, receipt.records, receipt.refused), ("conformed", records, refused));
        }
        assert_eq!(bench.dead_letters(&process).await, [("processing_crash".to_owned(), 151)]);
        process.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_ends_the_process_is_found_among_small_payloads_as_among_records() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(db).await;
        let process = bench.process(|_| ()).await;
        process.ingest.reconcile().await.unwrap();
        process.ingest.stop_tasks(bench.channel).await;
        for id in 1..=300 {
            let body = if id == 250 { "poison".to_owned() } else { lines([id]) };
            process.take(bench.incoming("events", &body)).await;
        }
        // As of one payload: three as a whole, one at two, three at the record alone.
        assert_eq!(drain_over_crashes(&bench, &process).await, 7, "{}", bench.db.name);
        process.settle().await;
        let ids: Vec<i64> = process.logged(bench.events).await.into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, (1..=249).chain(251..=300).collect::<Vec<_>>());
        assert_eq!(bench.dead_letters(&process).await, [("processing_crash".to_owned(), 1)]);
        process.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_even_be_passed_over_is_refused_with_the_rest_of_its_payload() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(db).await;
        let process = bench.process(|_| ()).await;
        process.ingest.reconcile().await.unwrap();
        process.ingest.stop_tasks(bench.channel).await;
        let outrage =
            process.take(bench.incoming("events", &format!("{}outrage\n{}", lines([1, 2]), lines([4])))).await;
        let next = process.take(bench.incoming("events", &lines([5]))).await;
        let ended = drain_over_crashes(&bench, &process).await;
        assert_eq!(ended, 10, "{}", bench.db.name);
        process.end().await;
        let process = bench.process(|_| ()).await;
        process.settle().await;
        assert_eq!(process.logged(bench.events).await, [(1, 1), (2, 2), (5, 3)]);
        for (receipt, records, refused) in [(outrage, 2, 1), (next, 1, 0)] {
            let receipt = process.ingest.receipt(bench.channel, receipt).await.unwrap();
            assert_eq!((receipt.state, receipt.records, receipt.refused), ("conformed", records, refused));
        }
        assert_eq!(bench.dead_letters(&process).await, [("processing_crash".to_owned(), 3)]);
        process.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resend_under_one_key_is_one_payload_and_a_full_zone_takes_nothing() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(db).await;
        let process = bench.process(|config| config.landing_channel_bytes = 600).await;
        process.ingest.reconcile().await.unwrap();
        let keyed = |body: &str| Incoming { idempotency_key: Some("k".to_owned()), ..bench.incoming("events", body) };
        let first = process.ingest.accept(keyed(&lines([1]))).await.unwrap();
        let again = process.ingest.accept(keyed(&lines([1]))).await.unwrap();
        assert_eq!((again.receipt, again.duplicate, first.duplicate), (first.receipt, true, false));
        let other = process.ingest.accept(keyed(&lines([2]))).await.unwrap_err();
        assert_eq!(other.code(), "idempotency_key_reused");
        process.settle().await;
        let full = process.ingest.accept(bench.incoming("events", &lines(1..=50))).await.unwrap_err();
        assert!(matches!(&full, IngestError::Fault(_)), "{full}");
        assert_eq!(full.kind(), headgate_types::ErrorKind::InsufficientStorage);
        process.settle().await;
        assert_eq!(process.logged(bench.events).await, [(1, 1)], "{}", bench.db.name);
        for (feed, content_type, encoding, code) in [
            ("nobody", "text/csv", None, "feed_not_found"),
            ("events", "image/png", None, "unsupported_content_type"),
            ("events", "text/csv", Some("br"), "unsupported_content_encoding"),
        ] {
            let refused = process.ingest.accept(Incoming {
                content_type: Some(content_type.to_owned()),
                content_encoding: encoding.map(str::to_owned),
                ..bench.incoming(feed, "id\n1\n")
            });
            assert_eq!(refused.await.unwrap_err().code(), code);
        }
        process.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_restored_log_nothing_that_is_sent_again_is_dropped_or_left_undecided() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(db).await;
        let (log, saved) = (bench.lake_directory().join("log"), bench.directory.path().join("saved"));
        let process = bench.process(|_| ()).await;
        process.ingest.reconcile().await.unwrap();
        process.take(bench.incoming("entity", &lines(1..=3))).await;
        process.settle().await;
        process.end().await;
        copy(&log, &saved);
        let process = bench.process(|_| ()).await;
        process.ingest.reconcile().await.unwrap();
        for id in 4..=6 {
            process.take(bench.incoming("entity", &lines([id]))).await;
            process.settle().await;
        }
        process.end().await;
        // The disk comes back from an older copy: the log ends at 3, everything else is newer.
        std::fs::remove_dir_all(&log).unwrap();
        copy(&saved, &log);
        let process = bench.process(|_| ()).await;
        let head = process.lake.log().head(bench.entity);
        assert!(head >= 6, "what a channel may have got is not given out again: {head}");
        process.ingest.reconcile().await.unwrap();
        let again = process.take(bench.incoming("entity", &lines(1..=6))).await;
        process.settle().await;
        let logged = process.logged(bench.entity).await;
        assert_eq!(logged, [(1, 1), (2, 2), (3, 3), (4, head + 1), (5, head + 2), (6, head + 3)], "{}", bench.db.name);
        let beyond = process.lake.read(bench.entity, head, usize::MAX).await.unwrap();
        assert_eq!(
            beyond.iter().map(|batch| (batch.first, batch.last, batch.epoch)).collect::<Vec<_>>(),
            [(head + 1, head + 3, 2)]
        );
        let receipt = process.ingest.receipt(bench.channel, again).await.unwrap();
        assert_eq!((receipt.state, receipt.records, receipt.unchanged), ("conformed", 3, 3), "{}", bench.db.name);
        process.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_restored_lake_has_to_decide_again_is_counted_and_billed_once() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(db).await;
        let saved = bench.directory.path().join("saved");
        let stores = ["log", "landing"];
        let process = bench.process(|_| ()).await;
        process.ingest.reconcile().await.unwrap();
        process.ingest.stop_tasks(bench.channel).await;
        let mixed = process.take(bench.incoming("events", &format!("{}{{\"id\":\"four\"}}\n", lines(1..=3)))).await;
        let csv = Some("text/csv".to_owned());
        let broken = process.take(Incoming { content_type: csv, ..bench.incoming("events", "id,id\n1,2\n") }).await;
        process.end().await;
        stores.iter().for_each(|store| copy(&bench.lake_directory().join(store), &saved.join(store)));
        let mut seen = Vec::new();
        for restored in [false, true] {
            if restored {
                stores.iter().for_each(|store| {
                    std::fs::remove_dir_all(bench.lake_directory().join(store)).unwrap();
                    copy(&saved.join(store), &bench.lake_directory().join(store));
                });
            }
            let process = bench.process(|_| ()).await;
            process.settle().await;
            assert_eq!(process.logged(bench.events).await.len(), 3, "{}", bench.db.name);
            let mut receipts = Vec::new();
            for receipt in [mixed, broken] {
                let receipt = process.ingest.receipt(bench.channel, receipt).await.unwrap();
                receipts.push((receipt.state, receipt.records, receipt.refused));
            }
            assert_eq!(receipts, [("conformed", 3, 1), ("conformed", 0, 1)], "{}", bench.db.name);
            let mut tx = bench.db.data.read_platform().await.unwrap();
            let usage: Vec<(String, i64)> = tx
                .fetch_all(
                    "SELECT meter, CAST(sum(quantity) AS BIGINT) FROM usage_records GROUP BY meter ORDER BY meter",
                    headgate_database::args![],
                )
                .await
                .unwrap();
            drop(tx);
            assert_eq!(usage.iter().find(|(meter, _)| meter == "ingest.records").map(|(_, sum)| *sum), Some(3));
            seen.push(usage);
            process.end().await;
        }
        assert_eq!(seen[0], seen[1], "{}", bench.db.name);
    }
}
