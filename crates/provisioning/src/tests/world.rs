//! A small world for orders: a database, a driver over a temporary directory, an engine that does
//! what the catalog says, and a clock that only tests move.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use headgate_access::Access;
use headgate_catalog::channels::{self, Channel};
use headgate_database::testing::TestDb;
use headgate_database::{Db, Signal};
use headgate_types::channel::{ChannelState, Direction};
use headgate_types::{ChannelId, FakeClock, OrderId, SharedClock, TenantId};

use super::driver::ScriptedDriver;
use super::engine::FakeEngine;
use super::setup;
use crate::driver::embedded::EmbeddedDriver;
use crate::driver::{Driver, Drivers};
use crate::error::OrderError;
use crate::failpoint::{NoFailpoints, SharedFailpoints};
use crate::orders::{self, NewOrder, Order, OrderRequest};
use crate::profiles::Profiles;
use crate::worker::{Worker, WorkerConfig, WorkerParts};

pub(super) struct World {
    pub name: &'static str,
    pub control: Db,
    pub clock: Arc<FakeClock>,
    pub access: Access,
    pub engine: Arc<FakeEngine>,
    pub driver: Arc<ScriptedDriver>,
    pub tenant: TenantId,
    pub root: tempfile::TempDir,
}

impl World {
    /// One world per database.
    pub(super) async fn all() -> Vec<(TestDb, Self)> {
        let mut worlds = Vec::new();
        for db in headgate_database::testing::databases().await.unwrap() {
            let world = Self::new(&db).await;
            worlds.push((db, world));
        }
        worlds
    }

    /// A world of its own, with a tenant of its own, in a database.
    pub(super) async fn new(db: &TestDb) -> Self {
        let clock = FakeClock::at("2026-01-02T03:04:05Z".parse().unwrap());
        let shared: SharedClock = clock.clone();
        let control = db.control.clone();
        let access = setup::access(&control, &shared).await;
        let mut tx = control.platform().await.unwrap();
        let tenant = setup::tenant(&mut tx, &shared).await;
        tx.commit().await.unwrap();
        let root = tempfile::tempdir().unwrap();
        let driver = EmbeddedDriver::open(root.path()).unwrap();
        Self {
            name: db.name,
            engine: Arc::new(FakeEngine::new(control.clone(), shared)),
            driver: Arc::new(ScriptedDriver::new(driver)),
            control,
            clock,
            access,
            tenant,
            root,
        }
    }

    pub(super) fn shared_clock(&self) -> SharedClock {
        self.clock.clone()
    }

    pub(super) fn parts(&self, name: &str, driver: Arc<dyn Driver>) -> WorkerParts {
        let mut config = WorkerConfig::new(name, "https://data.example.org:8443".parse().unwrap());
        config.max_attempts = 4;
        WorkerParts {
            control: self.control.clone(),
            clock: self.shared_clock(),
            access: self.access.clone(),
            events: setup::events(&self.control, &self.shared_clock(), &self.access),
            engine: self.engine.clone(),
            drivers: Drivers::only(driver),
            profiles: Arc::new(Profiles::embedded().unwrap()),
            signal: Signal::default(),
            config,
        }
    }

    pub(super) fn worker(&self) -> Worker {
        self.worker_with(NoFailpoints::shared())
    }

    pub(super) fn worker_with(&self, failpoints: SharedFailpoints) -> Worker {
        Worker::with_failpoints(self.parts("worker", self.driver.clone()), failpoints)
    }

    /// A worker whose embedded driver has failpoints too.
    pub(super) fn doomed_worker(&self, failpoints: SharedFailpoints) -> Worker {
        let driver = EmbeddedDriver::with_failpoints(self.root.path(), failpoints.clone()).unwrap();
        Worker::with_failpoints(self.parts("doomed", Arc::new(driver)), failpoints)
    }

    /// Puts a channel into the catalog and orders it, as the control API does.
    pub(super) async fn order_channel(&self, direction: Direction) -> Order {
        let profile = if direction == Direction::In { "http" } else { "api" };
        self.order_of(direction, profile, None).await
    }

    /// The same of another profile, with a principal of the client's own.
    pub(super) async fn order_of(&self, direction: Direction, profile: &str, principal: Option<&str>) -> Order {
        let mut tx = self.control.tenant(self.tenant).await.unwrap();
        let principal = principal.map(str::to_owned);
        let clock = self.clock.as_ref();
        let channel = setup::channel_of(&mut tx, self.tenant, (direction, profile), principal, clock).await;
        let order =
            orders::create(&mut tx, &self.shared_clock(), self.new_order(channel, OrderRequest::Create)).await.unwrap();
        tx.commit().await.unwrap();
        order
    }

    /// An ACTIVE channel.
    pub(super) async fn active_channel(&self, direction: Direction) -> ChannelId {
        let order = self.order_channel(direction).await;
        self.settle(&self.worker()).await;
        assert_eq!(self.channel(order.channel).await.state, ChannelState::Active, "{}", self.name);
        order.channel
    }

    fn new_order(&self, channel: ChannelId, request: OrderRequest) -> NewOrder {
        NewOrder {
            tenant: self.tenant,
            channel,
            request,
            requested_by: "cli_test".to_owned(),
            request_id: None,
            price: None,
            profile_revision: 1,
        }
    }

    pub(super) async fn place(&self, channel: ChannelId, request: OrderRequest) -> Result<Order, OrderError> {
        let mut tx = self.control.tenant(self.tenant).await.unwrap();
        let order = orders::create(&mut tx, &self.shared_clock(), self.new_order(channel, request)).await?;
        tx.commit().await.unwrap();
        Ok(order)
    }

    pub(super) async fn cancel(&self, order: OrderId) -> Result<Order, OrderError> {
        let mut tx = self.control.tenant(self.tenant).await.unwrap();
        let order = orders::cancel(&mut tx, &self.shared_clock(), self.tenant, order).await?;
        tx.commit().await.unwrap();
        Ok(order)
    }

    pub(super) async fn order(&self, id: OrderId) -> Order {
        let mut tx = self.control.read_tenant(self.tenant).await.unwrap();
        orders::get(&mut tx, self.tenant, id).await.unwrap()
    }

    pub(super) async fn channel(&self, id: ChannelId) -> Channel {
        let mut tx = self.control.read_tenant(self.tenant).await.unwrap();
        channels::get(&mut tx, self.tenant, id).await.unwrap()
    }

    pub(super) async fn open_orders(&self) -> usize {
        let mut tx = self.control.read_tenant(self.tenant).await.unwrap();
        let listed = orders::list(&mut tx, self.tenant, &orders::OrderFilter::default(), 1_000).await.unwrap();
        listed.iter().filter(|order| !order.state.is_final()).count()
    }

    /// Lets worker and engine take turns, and time pass, until no order is open.
    pub(super) async fn settle(&self, worker: &Worker) {
        for _ in 0..400 {
            worker.run_until_idle().await.unwrap();
            if self.open_orders().await == 0 {
                return;
            }
            self.engine.turn().await;
            self.clock.advance(TimeDelta::seconds(3));
        }
        panic!("{}: an order never ended", self.name);
    }

    /// Lets a lease run out.
    pub(super) fn outlive_leases(&self) {
        self.clock.advance(TimeDelta::from_std(Duration::from_secs(61)).unwrap());
    }

    /// What there is below the driver's root.
    pub(super) fn directories(&self) -> usize {
        std::fs::read_dir(self.root.path()).unwrap().count()
    }

    pub(super) async fn suspend_tenant(&self) {
        let mut tx = self.control.platform().await.unwrap();
        tx.act_for(self.tenant).await.unwrap();
        setup::suspend(&mut tx, self.tenant, &self.shared_clock()).await;
        tx.commit().await.unwrap();
    }

    pub(super) async fn release_tenant(&self) {
        let mut tx = self.control.platform().await.unwrap();
        tx.act_for(self.tenant).await.unwrap();
        setup::release(&mut tx, self.tenant, &self.shared_clock()).await;
        tx.commit().await.unwrap();
    }

    pub(super) async fn event_types(&self) -> Vec<String> {
        let mut tx = self.control.read_tenant(self.tenant).await.unwrap();
        setup::event_types(&mut tx, self.tenant).await
    }
}
