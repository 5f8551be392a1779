//! A channel's life, seen from the catalog.

mod footprint;
mod reopened;
mod resting;
mod statistics;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use chrono::{DateTime, Utc};
use headgate_access::outbound::{GuardedClient, OutboundPolicy};
use headgate_catalog::channels::{self, PinnedSize};
use headgate_catalog::{ChannelSpec, Condition, History, Lanes, NewChannel, OutSpec, elements, subscriptions};
use headgate_database::testing::{TestDb, databases};
use headgate_database::{Signal, Tx};
use headgate_lake::{Lake, LakeConfig, NewCommit};
use headgate_types::channel::{Binding, ChannelState, ConditionStatus, ConditionType, Lane};
use headgate_types::limits::Limits;
use headgate_types::model::OutputModel;
use headgate_types::schema::ElementKind;
use headgate_types::selection::SelectionItem;
use headgate_types::{ChannelId, ElementId, SharedClock, SystemClock, TenantId};
use parking_lot::Mutex;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{Runtime, Surroundings};
use crate::delivery::limits::PLENTY;
use crate::delivery::{Context, Fault, Ledger, Router, fence, store};
use crate::shape::PlanCache;
use crate::shape::testing::{Element, sensors};
use crate::technology::{Secrets, ServedChannels};

#[derive(Debug)]
struct NoSecrets;

#[async_trait]
impl Secrets for NoSecrets {
    async fn signing_secrets(&self, _: ChannelId) -> Result<Vec<SecretString>, String> {
        Ok(Vec::new())
    }
}

struct Bench {
    db: TestDb,
    lake: Lake,
    clock: SharedClock,
    tenant: TenantId,
    channel: ChannelId,
    element: Element,
    served: ServedChannels,
    directory: tempfile::TempDir,
    rest_after: Duration,
    /// Of the books' database.
    fault: Arc<Mutex<Fault>>,
}

impl Bench {
    /// A published element with ten records, and a stream channel ordered over it.
    async fn new(db: TestDb) -> Self {
        Self::over(db, None).await
    }

    /// The same with a filter.
    async fn over(db: TestDb, filter: Option<&str>) -> Self {
        Self::ordered(db, "stream", PLENTY, filter).await
    }

    async fn ordered(db: TestDb, profile: &str, limits: Limits, filter: Option<&str>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = SystemClock::shared();
        let lake = Lake::open(LakeConfig::new(directory.path().join("lake")), Arc::clone(&clock)).await.unwrap();
        let (tenant, channel) = (TenantId::new(), ChannelId::new());
        let mut element = sensors(ElementKind::Events);
        let now = clock.now();
        let mut tx = db.control.tenant(tenant).await.unwrap();
        elements::insert(&mut tx, &element.described(tenant, "sensors"), now).await.unwrap();
        elements::publish(&mut tx, tenant, element.id, now).await.unwrap();
        element.schema_id = elements::schema(&mut tx, element.id).await.unwrap().id;
        order(&mut tx, tenant, element.id, channel, Wish { profile, limits, filter }, now).await;
        tx.commit().await.unwrap();
        let served = ServedChannels::default();
        let (rest_after, fault) = (Duration::from_secs(60), Arc::new(Mutex::new(Fault::None)));
        let bench = Self { db, lake, clock, tenant, channel, element, served, directory, rest_after, fault };
        bench.lake.register(bench.element.layout()).await.unwrap();
        bench.append(1..=10).await;
        bench
    }

    async fn append(&self, ids: impl IntoIterator<Item = u64>) {
        let head = self.lake.log().head(self.element.id);
        let rows: Vec<Value> = ids.into_iter().map(|id| json!({"id": id, "site": "a"})).collect();
        let range = self.element.rows(head + 1, &rows);
        let columns: Vec<usize> = (0..range.batch.num_columns() - 2).collect();
        let commit = NewCommit {
            element: self.element.id,
            expected_head: head,
            schema_id: self.element.schema_id,
            batch: range.batch.project(&columns).unwrap(),
            positions: Vec::new(),
            side: Vec::new(),
        };
        self.lake.log().append(commit).await.unwrap();
    }

    fn runtime(&self) -> (Arc<Runtime>, CancellationToken, tokio::task::JoinHandle<()>) {
        let cuts = watch::Sender::new(0);
        let surroundings = Surroundings {
            context: Context {
                ledger: Ledger::new(self.db.data.clone()).behind(Arc::clone(&self.fault)),
                data: self.db.data.clone(),
                lake: self.lake.clone(),
                router: Router::new(self.lake.clone()),
                shaper: PlanCache::new(1 << 20),
                clock: Arc::clone(&self.clock),
                usage_span: Duration::from_secs(3_600),
                tenant_quotas: crate::TenantQuotas::default(),
            },
            served: self.served.clone(),
            secrets: Arc::new(NoSecrets),
            outbound: GuardedClient::new(OutboundPolicy::development()).unwrap(),
            cloud: crate::cloud::Cloud::default(),
            public_url: "http://127.0.0.1:7401".to_owned(),
            changed: Signal::default(),
            cuts: cuts.subscribe(),
            rest_after: self.rest_after,
        };
        let runtime = Arc::new(Runtime::new(self.db.control.clone(), surroundings, cuts, [7; 32]));
        let shutdown = CancellationToken::new();
        let task = tokio::spawn({
            let (runtime, shutdown) = (Arc::clone(&runtime), shutdown.clone());
            async move { runtime.run(shutdown).await }
        });
        (runtime, shutdown, task)
    }

    async fn provision(&self) {
        self.provision_channel(self.channel).await;
    }

    async fn provision_channel(&self, channel: ChannelId) {
        let mut tx = self.db.control.tenant(self.tenant).await.unwrap();
        let directory = self.directory.path().join(channel.to_string());
        std::fs::create_dir_all(&directory).unwrap();
        let binding = Binding::plain(url::Url::from_directory_path(&directory).unwrap());
        let now = self.clock.now();
        channels::set_binding(&mut tx, self.tenant, channel, Some(&binding), now).await.unwrap();
        let lanes = Lanes { live: true, backfill: true };
        channels::set_lanes(&mut tx, self.tenant, channel, lanes, now).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn go(&self, from: ChannelState, to: ChannelState) {
        let mut tx = self.db.control.tenant(self.tenant).await.unwrap();
        channels::transition(&mut tx, self.tenant, self.channel, &[from], to, None, self.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn condition(&self, wanted: ConditionType) -> Option<Condition> {
        let mut tx: Tx = self.db.control.read_tenant(self.tenant).await.unwrap();
        let all = channels::conditions(&mut tx, self.tenant, self.channel).await.unwrap();
        all.into_iter().find(|found| found.condition == wanted)
    }

    async fn until(&self, wanted: ConditionType, status: ConditionStatus) -> Condition {
        for _ in 0..2_000 {
            if let Some(found) = self.condition(wanted).await.filter(|found| found.status == status) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{wanted} never got {status}: {:?}", self.condition(wanted).await);
    }

    /// The books of the channel's flows.
    async fn books(&self) -> Vec<store::FlowRow> {
        let mut tx = self.db.data.read_platform().await.unwrap();
        store::of_channel(&mut tx, self.channel).await.unwrap()
    }

    /// Records whose usage is cut.
    async fn billed(&self) -> u64 {
        self.books().await.iter().map(|row| row.cut().records).sum()
    }

    /// What a client reads.
    async fn read(&self) -> Vec<u64> {
        let router = self.served.reach(self.channel).await.unwrap().router;
        let response = router.oneshot(Request::get("/records").body(Body::empty()).unwrap()).await.unwrap();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let lines = std::str::from_utf8(&body).unwrap().lines();
        lines.map(|line| serde_json::from_str::<Value>(line).unwrap()["data"]["id"].as_u64().unwrap()).collect()
    }
}

/// What is ordered of an element.
struct Wish<'a> {
    profile: &'a str,
    limits: Limits,
    filter: Option<&'a str>,
}

async fn order(
    tx: &mut Tx,
    tenant: TenantId,
    element: ElementId,
    channel: ChannelId,
    wish: Wish<'_>,
    now: DateTime<Utc>,
) {
    let filter = wish.filter.map(str::to_owned);
    let data = vec![SelectionItem { element: Some(element), filter, ..SelectionItem::default() }];
    let scopes = subscriptions::resolve_selection(tx, tenant, &data, &OutputModel::default()).await.unwrap();
    let new = NewChannel {
        id: channel,
        tenant,
        profile: wish.profile.to_owned(),
        size: PinnedSize { size: "S".to_owned(), profile_revision: 1, limits: wish.limits },
        name: channel.to_string(),
        spec: ChannelSpec::Out(OutSpec { data, history: History::All, ..OutSpec::default() }),
    };
    channels::insert(tx, &new, now).await.unwrap();
    subscriptions::replace_scopes(tx, tenant, channel, scopes, now).await.unwrap();
}

async fn settled(runtime: &Runtime) {
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        runtime.passed().await;
        if runtime.idle() {
            return;
        }
    }
    panic!("the runtime does not come to rest");
}

#[tokio::test]
async fn a_channel_is_served_filled_paused_resumed_and_drained_as_the_catalog_says() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(db).await;
        let (runtime, shutdown, task) = bench.runtime();
        settled(&runtime).await;
        assert!(bench.served.get(bench.channel).is_none(), "nothing is served before it is provisioned");

        bench.provision().await;
        for wanted in [
            ConditionType::Serving,
            ConditionType::SchemaCompatible,
            ConditionType::InitialLoadComplete,
            ConditionType::Syncing,
            ConditionType::QuotaOk,
        ] {
            bench.until(wanted, ConditionStatus::True).await;
        }
        bench.append([11, 12]).await;
        settled(&runtime).await;
        assert_eq!(bench.read().await, (1..=12).collect::<Vec<_>>(), "{}", bench.db.name);
        let statistics = runtime.statistics(bench.channel).await.unwrap().unwrap();
        assert_eq!(statistics.flows.iter().map(|flow| flow.records).sum::<u64>(), 12);
        assert!(statistics.flows.iter().all(|flow| flow.caught_up));

        bench.go(ChannelState::Provisioning, ChannelState::Active).await;
        bench.go(ChannelState::Active, ChannelState::Paused).await;
        let paused = bench.until(ConditionType::Syncing, ConditionStatus::False).await;
        assert_eq!(paused.reason, "Paused");
        bench.append([13]).await;
        settled(&runtime).await;
        assert_eq!(bench.read().await.len(), 12, "a paused channel serves what it has and gets nothing");
        bench.go(ChannelState::Paused, ChannelState::Active).await;
        bench.until(ConditionType::Syncing, ConditionStatus::True).await;
        settled(&runtime).await;
        assert_eq!(bench.read().await.len(), 13);

        bench.go(ChannelState::Active, ChannelState::Deleting).await;
        bench.until(ConditionType::Drained, ConditionStatus::True).await;
        assert!(bench.served.get(bench.channel).is_none());
        assert_eq!(bench.billed().await, 13, "the last usage is cut");
        shutdown.cancel();
        task.await.unwrap();
    }
}

#[tokio::test]
async fn the_last_usage_of_a_channel_is_cut_although_the_answer_to_its_books_was_lost() {
    for open_before in [false, true] {
        for db in databases().await.unwrap() {
            let bench = Bench::new(db).await;
            bench.provision().await;
            let (runtime, shutdown, task) = bench.runtime();
            bench.until(ConditionType::InitialLoadComplete, ConditionStatus::True).await;
            bench.go(ChannelState::Provisioning, ChannelState::Active).await;
            bench.append([11]).await;
            settled(&runtime).await;
            if !open_before {
                runtime.cut_usage().await;
            }
            *bench.fault.lock() = Fault::AnswerLost;
            bench.append([12, 13]).await;
            for attempt in 0.. {
                let rows = bench.books().await;
                if rows.iter().any(|row| row.key.lane == Lane::Live && row.booked == 13) {
                    break;
                }
                assert!(attempt < 10_000, "{rows:?}");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            bench.go(ChannelState::Active, ChannelState::Deleting).await;
            runtime.passed().await;
            *bench.fault.lock() = Fault::None;
            bench.until(ConditionType::Drained, ConditionStatus::True).await;
            assert_eq!(bench.billed().await, 13, "{}, usage open before: {open_before}", bench.db.name);
            shutdown.cancel();
            task.await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_change_while_a_channel_is_opened_does_not_end_its_reading() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(db).await;
        for _ in 0..5 {
            let (runtime, shutdown, task) = bench.runtime();
            for _ in 0..20 {
                // The same once more: the row has a new version, and the resource stays what it was.
                bench.provision().await;
                runtime.passed().await;
            }
            settled(&runtime).await;
            assert!(bench.served.get(bench.channel).is_some(), "{}", bench.db.name);
            shutdown.cancel();
            task.await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_restart_goes_on_where_the_channel_was() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(db).await;
        bench.provision().await;
        let (runtime, shutdown, task) = bench.runtime();
        bench.until(ConditionType::InitialLoadComplete, ConditionStatus::True).await;
        settled(&runtime).await;
        shutdown.cancel();
        task.await.unwrap();
        assert!(bench.served.get(bench.channel).is_none());

        bench.append(11..=15).await;
        let (runtime, shutdown, task) = bench.runtime();
        settled(&runtime).await;
        assert_eq!(bench.read().await, (1..=15).collect::<Vec<_>>(), "{}", bench.db.name);
        runtime.cut_usage().await;
        assert_eq!(bench.billed().await, 15);
        shutdown.cancel();
        task.await.unwrap();
    }
}

#[tokio::test]
async fn an_owner_hears_of_lost_records_and_of_a_store_that_holds_less_than_was_booked() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(db).await;
        bench.provision().await;
        let (runtime, shutdown, task) = bench.runtime();
        bench.until(ConditionType::InitialLoadComplete, ConditionStatus::True).await;
        settled(&runtime).await;
        shutdown.cancel();
        task.await.unwrap();

        // Books that had come to 20, over a log and a store that were restored from 10.
        let mut tx = bench.db.data.platform().await.unwrap();
        tx.act_for(bench.tenant).await.unwrap();
        tx.execute("UPDATE flows SET booked = 20 WHERE lane = 'live'", headgate_database::args![]).await.unwrap();
        tx.commit().await.unwrap();
        fence(&bench.db.data, &bench.lake).await.unwrap();
        let head = bench.lake.log().head(bench.element.id);
        assert!(head >= 20, "{head}");
        let (runtime, shutdown, task) = bench.runtime();
        bench.append([11]).await;
        settled(&runtime).await;
        runtime.passed().await;
        assert_eq!(bench.read().await, (1..=11).collect::<Vec<_>>(), "{}", bench.db.name);
        let mut tx = bench.db.control.read_tenant(bench.tenant).await.unwrap();
        let events = headgate_events::list(&mut tx, bench.tenant, 0, 100, &[]).await.unwrap();
        let of = |wanted: headgate_events::EventType| {
            events.iter().filter(move |event| event.event_type == wanted.as_str()).collect::<Vec<_>>()
        };
        let fenced = of(headgate_events::EventType::ElementFenced);
        assert_eq!(fenced.len(), 1, "{events:?}");
        assert_eq!((fenced[0].data["head"].as_u64(), fenced[0].data["seen"].as_u64()), (Some(10), Some(head)));
        let restored = of(headgate_events::EventType::DeliveryDegraded);
        assert_eq!(restored.len(), 1, "{events:?}");
        assert!(restored[0].data["reason"].as_str().unwrap().contains("unbilled"));
        drop(tx);
        shutdown.cancel();
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_channel_whose_filter_no_longer_fits_says_so_and_raises_one_event() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(db).await;
        bench.provision().await;
        let (runtime, shutdown, task) = bench.runtime();
        bench.until(ConditionType::SchemaCompatible, ConditionStatus::True).await;
        shutdown.cancel();
        task.await.unwrap();
        drop(runtime);
        let mut tx = bench.db.control.tenant(bench.tenant).await.unwrap();
        let mut scopes = subscriptions::scopes(&mut tx, bench.tenant, bench.channel).await.unwrap();
        for scope in &mut scopes {
            scope.filter = Some("no_such_column = 1".to_owned());
        }
        subscriptions::replace_scopes(&mut tx, bench.tenant, bench.channel, scopes, bench.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        // A restart tells it once more to nobody.
        for _ in 0..2 {
            let (runtime, shutdown, task) = bench.runtime();
            let refused = bench.until(ConditionType::SchemaCompatible, ConditionStatus::False).await;
            assert!(refused.message.contains("no_such_column"), "{}", refused.message);
            runtime.passed().await;
            shutdown.cancel();
            task.await.unwrap();
        }
        let mut tx = bench.db.control.read_tenant(bench.tenant).await.unwrap();
        let wanted = [headgate_events::EventType::SchemaIncompatible];
        let events = headgate_events::list(&mut tx, bench.tenant, 0, 10, &wanted).await.unwrap();
        assert_eq!(events.len(), 1, "{}", bench.db.name);
        assert_eq!(events[0].data["channel"], bench.channel.to_string());
    }
}
