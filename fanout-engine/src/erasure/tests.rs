//! What is left of tenants that ended.

use std::sync::Arc;

use headgate_access::outbound::{GuardedClient, OutboundPolicy};
use headgate_access::tenants::{self, Quotas};
use headgate_access::{Access, AccessConfig, MasterKey};
use headgate_catalog::elements;
use headgate_database::args;
use headgate_database::testing::{TestDb, databases};
use headgate_events::Events;
use headgate_lake::{Lake, LakeConfig};
use headgate_types::schema::ElementKind;
use headgate_types::{ChannelId, DeadLetterId, ElementId, SharedClock, SystemClock, TenantId};

use super::Erasure;
use crate::delivery::refusals;
use crate::ingest::{Ingest, IngestParts};
use crate::shape::testing::sensors;

struct Bench {
    db: TestDb,
    clock: SharedClock,
    lake: Lake,
    erasure: Erasure,
    _directory: tempfile::TempDir,
}

impl Bench {
    async fn new(db: TestDb) -> Self {
        let (directory, clock) = (tempfile::tempdir().unwrap(), SystemClock::shared());
        let lake = Lake::open(LakeConfig::new(directory.path().join("lake")), Arc::clone(&clock)).await.unwrap();
        let config = AccessConfig::new("http://127.0.0.1/".parse().unwrap(), "headgate", MasterKey::generate());
        let access = Access::open(db.control.clone(), Arc::clone(&clock), config).await.unwrap();
        let outbound = GuardedClient::new(OutboundPolicy::development()).unwrap();
        let ingest = Ingest::new(IngestParts {
            control: db.control.clone(),
            data: db.data.clone(),
            lake: lake.clone(),
            cloud: crate::cloud::Cloud::default(),
            clock: Arc::clone(&clock),
            events: Events::new(db.control.clone(), Arc::clone(&clock), access, outbound),
            projections: directory.path().join("projections"),
            attempts: directory.path().join("attempts"),
        });
        let erasure = Erasure::new(db.control.clone(), db.data.clone(), lake.clone(), ingest);
        Self { db, clock, lake, erasure, _directory: directory }
    }

    async fn tenant(&self) -> TenantId {
        let mut tx = self.db.control.platform().await.unwrap();
        let tenant = tenants::create(&mut tx, "Farm", Quotas::default(), &self.clock).await.unwrap();
        tx.commit().await.unwrap();
        tenant.id
    }

    async fn end(&self, tenant: TenantId) {
        let mut tx = self.db.control.platform().await.unwrap();
        tenants::offboard(&mut tx, tenant, &self.clock).await.unwrap();
        elements::retire_all(&mut tx, tenant, self.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// An element that the lake knows.
    async fn element(&self, tenant: TenantId) -> ElementId {
        let element = sensors(ElementKind::Entity);
        let mut tx = self.db.control.tenant(tenant).await.unwrap();
        elements::insert(&mut tx, &element.described(tenant, "sensors"), self.clock.now()).await.unwrap();
        elements::publish(&mut tx, tenant, element.id, self.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        self.lake.register(element.layout()).await.unwrap();
        element.id
    }

    /// A record that a receiver of the tenant refused; the channel it came through.
    async fn refused(&self, tenant: TenantId) -> ChannelId {
        let channel = ChannelId::new();
        let mut tx = self.db.data.platform().await.unwrap();
        tx.act_for(tenant).await.unwrap();
        tx.execute(
            "INSERT INTO refused_deliveries (tenant_id, id, channel_id, element_id, lane, record_offset, reason,
                                             model_version, raw, created_at)
             VALUES ($1, $2, $3, $4, 'live', 1, 'no', 1, '{}', $5)",
            args![tenant, DeadLetterId::new(), channel, ElementId::new(), self.clock.now()],
        )
        .await
        .unwrap();
        tx.commit().await.unwrap();
        channel
    }

    async fn refusals(&self, channel: ChannelId) -> u64 {
        refusals::count(&mut self.db.data.read_platform().await.unwrap(), channel).await.unwrap()
    }
}

#[tokio::test]
async fn an_ended_tenant_that_only_consumed_leaves_no_dead_letter() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(db).await;
        let (ended, other) = (bench.tenant().await, bench.tenant().await);
        let (gone, kept) = (bench.refused(ended).await, bench.refused(other).await);
        bench.erasure.run_once().await.unwrap();
        assert_eq!((bench.refusals(gone).await, bench.refusals(kept).await), (1, 1), "{}", bench.db.name);
        bench.end(ended).await;
        bench.erasure.run_once().await.unwrap();
        assert_eq!((bench.refusals(gone).await, bench.refusals(kept).await), (0, 1), "{}", bench.db.name);
    }
}

#[tokio::test]
async fn what_an_interrupted_erasure_left_of_an_element_goes_with_the_next() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(db).await;
        let tenant = bench.tenant().await;
        let element = bench.element(tenant).await;
        bench.end(tenant).await;
        // As a crash leaves it: the log and the changes went, the live rows had not yet.
        bench.lake.remove(element).await.unwrap();
        let current = bench.lake.current_directory(element);
        std::fs::create_dir_all(&current).unwrap();
        std::fs::write(current.join("part.parquet"), "rows").unwrap();
        bench.erasure.run_once().await.unwrap();
        assert!(!current.exists() && !bench.lake.holds(element), "{}", bench.db.name);
    }
}
