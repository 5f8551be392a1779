//! A lake with one element, and workers over it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use headgate_catalog::Lanes;
use headgate_database::testing::TestDb;
use headgate_lake::{ElementLayout, Lake, LakeConfig, NewCommit};
use headgate_metering::{Dims, Meter};
use headgate_types::channel::Lane;
use headgate_types::limits::Limits;
use headgate_types::schema::ElementKind;
use headgate_types::timing::{Quota, Timing};
use headgate_types::{ChannelId, FakeClock, TenantId};
use serde_json::json;

use super::target::Target;
use crate::delivery::limits::PLENTY;
use crate::delivery::store::{self, FlowRow};
use crate::delivery::{Context, Flow, Ledger, Router, Standing, TOGETHER, Terms, Ticks, Turn, Waiting, Worker};
use crate::shape::testing::{Element, sensors};
use crate::shape::{Plan, PlanCache};
use crate::technology::{FlowKey, OutputElement, Sink};

pub struct Bench {
    pub context: Context,
    pub clock: Arc<FakeClock>,
    pub tenant: TenantId,
    pub channel: ChannelId,
    /// The version of the channel's row; workers are told version 1.
    pub newest: Arc<AtomicU64>,
    pub element: Element,
    pub plan: Arc<Plan>,
    pub limits: Limits,
    pub quota: Option<Quota>,
    pub timing: Timing,
    _directory: tempfile::TempDir,
}

impl Bench {
    pub async fn new(db: &TestDb, kind: ElementKind) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = FakeClock::at("2026-05-01T10:00:00Z".parse().unwrap());
        let lake = Lake::open(LakeConfig::new(directory.path()), clock.clone()).await.unwrap();
        let element = sensors(kind);
        let layout =
            ElementLayout { element: element.id, kind, schema_id: element.schema_id, schema: element.schema.clone() };
        lake.register(layout).await.unwrap();
        let context = Context {
            ledger: Ledger::new(db.data.clone()),
            data: db.data.clone(),
            router: Router::new(lake.clone()),
            lake,
            shaper: PlanCache::new(1 << 20),
            clock: clock.clone(),
            usage_span: Duration::from_secs(3_600),
            tenant_quotas: crate::TenantQuotas::default(),
        };
        Self {
            plan: Arc::new(element.compile(&element.scope()).unwrap()),
            context,
            clock,
            tenant: TenantId::new(),
            channel: ChannelId::new(),
            newest: Arc::new(AtomicU64::new(1)),
            element,
            limits: PLENTY,
            quota: None,
            timing: Timing::Immediate,
            _directory: directory,
        }
    }

    /// Appends inserts with these ids.
    pub async fn append(&self, ids: impl IntoIterator<Item = u64>) {
        self.append_at("a", ids).await;
    }

    /// Appends inserts with these ids at a site.
    pub async fn append_at(&self, site: &str, ids: impl IntoIterator<Item = u64>) {
        let head = self.head();
        let rows: Vec<_> = ids.into_iter().map(|id| json!({"id": id, "site": site, "temp_f": 1.5})).collect();
        let range = self.element.rows(head + 1, &rows);
        let hidden = 2; // `_offset` and `_ingested_at` are the log's to give.
        let columns: Vec<usize> = (0..range.batch.num_columns() - hidden).collect();
        let commit = NewCommit {
            element: self.element.id,
            expected_head: head,
            schema_id: self.element.schema_id,
            batch: range.batch.project(&columns).unwrap(),
            positions: Vec::new(),
            side: Vec::new(),
        };
        self.context.lake.log().append(commit).await.unwrap();
    }

    pub fn head(&self) -> u64 {
        self.context.lake.log().head(self.element.id)
    }

    pub fn flow(&self, lane: Lane) -> FlowKey {
        FlowKey { element: self.element.id, lane }
    }

    /// Pins the lanes where the log stands now.
    pub async fn pin(&self, history: bool) {
        let mut tx = self.context.data.platform().await.unwrap();
        tx.act_for(self.tenant).await.unwrap();
        let (head, now) = (self.head(), self.context.clock.now());
        let (tenant, channel) = (self.tenant, self.channel);
        store::ensure(&mut tx, tenant, channel, self.flow(Lane::Live), head, None, now).await.unwrap();
        if history {
            store::ensure(&mut tx, tenant, channel, self.flow(Lane::Backfill), 0, Some(head), now).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    /// A worker as a process that just started would have it.
    pub async fn worker(&self, target: &Arc<Target>) -> Worker {
        let terms = Terms {
            standing: Standing { version: 1, newest: Arc::clone(&self.newest) },
            tenant: self.tenant,
            channel: self.channel,
            limits: self.limits.clone(),
            quota: self.quota.clone(),
            lanes: Lanes { live: true, backfill: true },
        };
        let mut tx = self.context.data.read_platform().await.unwrap();
        let spent = store::spent(&mut tx, self.tenant, self.channel).await.unwrap();
        drop(tx);
        let ticks = Ticks::new(self.timing.clone(), self.context.clock.now());
        let sink: Arc<dyn Sink> = Arc::clone(target) as Arc<dyn Sink>;
        let mut worker = Worker::new(self.context.clone(), terms, Arc::clone(&sink), spent, ticks);
        let output = OutputElement {
            element: self.element.id,
            name: "sensors".to_owned(),
            kind: self.element.kind,
            schema: self.plan.output_schema().clone(),
            model_version: 1,
            options: Default::default(),
        };
        for row in self.rows().await {
            let held = sink.cursor(row.key).await.unwrap().map(|committed| committed.offset);
            let live = row.key.lane == Lane::Live;
            let mut flow = Flow::new(row, held, Arc::clone(&self.plan), &output, Dims::default());
            flow.unsure = TOGETHER;
            worker.flows.push(if live { flow.routed(&self.context.router) } else { flow });
        }
        worker
    }

    pub async fn rows(&self) -> Vec<FlowRow> {
        let mut tx = self.context.data.read_platform().await.unwrap();
        store::of_channel(&mut tx, self.channel).await.unwrap()
    }

    pub async fn row(&self, lane: Lane) -> FlowRow {
        self.rows().await.into_iter().find(|row| row.key.lane == lane).unwrap()
    }

    /// Sum of a meter over the channel.
    pub async fn used(&self, meter: Meter) -> i64 {
        let mut tx = self.context.data.read_tenant(self.tenant).await.unwrap();
        let rows: Vec<(i64,)> = tx
            .fetch_all(
                "SELECT quantity FROM usage_records WHERE tenant_id = $1 AND channel_id = $2 AND meter = $3",
                headgate_database::args![self.tenant, self.channel, meter.as_str()],
            )
            .await
            .unwrap();
        rows.into_iter().map(|(quantity,)| quantity).sum()
    }
}

/// Takes turns until there is nothing to do but wait for news, a tick or a quota period.
pub async fn settle(worker: &mut Worker) -> Turn {
    for _ in 0..10_000 {
        let heads = worker.heads();
        match worker.round().await {
            Turn::Moved => {}
            Turn::Idle if !worker.is_current(&heads) => tokio::time::sleep(Duration::from_millis(1)).await,
            Turn::Wait { limit, why: Waiting::Broken | Waiting::Throttled } => tokio::time::sleep(limit).await,
            resting => return resting,
        }
    }
    panic!("the worker does not come to rest");
}
