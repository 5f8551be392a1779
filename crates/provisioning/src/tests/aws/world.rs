//! The world of orders with an account of AWS: new channels of `file` and `stream` are stacks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use headgate_database::testing::TestDb;
use headgate_types::ChannelId;
use headgate_types::channel::{ChannelState, Direction};

use super::Account;
use crate::driver::Drivers;
use crate::driver::embedded::EmbeddedDriver;
use crate::failpoint::{NoFailpoints, SharedFailpoints};
use crate::orders::{Order, OrderRequest, OrderState};
use crate::tests::World;
use crate::worker::{Turned, Worker, WorkerError};

/// How long anything may take before a test gives up; no test depends on how long it does take.
const PATIENCE: Duration = Duration::from_secs(300);

pub(super) struct Cloud {
    pub account: Account,
    pub world: World,
    _db: TestDb,
}

impl Cloud {
    /// None where there is no Python that has moto. On PostgreSQL where there is one.
    pub(super) async fn new() -> Option<Self> {
        Self::on(headgate_database::testing::databases().await.unwrap().pop().unwrap()).await
    }

    /// On SQLite, for tests of many orders: what differs between the databases is tried elsewhere.
    pub(super) async fn on_sqlite() -> Option<Self> {
        Self::on(headgate_database::testing::databases().await.unwrap().remove(0)).await
    }

    async fn on(db: TestDb) -> Option<Self> {
        let account = Account::start().await?;
        let world = World::new(&db).await;
        Some(Self { account, world, _db: db })
    }

    pub(super) fn worker(&self) -> Worker {
        self.worker_with(NoFailpoints::shared())
    }

    /// A worker with failpoints of its own and of its driver.
    pub(super) fn worker_with(&self, failpoints: SharedFailpoints) -> Worker {
        let embedded = EmbeddedDriver::with_failpoints(self.world.root.path(), failpoints.clone()).unwrap();
        let cloud = self.account.driver_with("test", failpoints.clone());
        let mut parts = self.world.parts("worker", Arc::new(embedded));
        let profiles = ["file", "stream"].map(str::to_owned).to_vec();
        parts.drivers = Drivers::only(parts.drivers.for_profile("api").clone()).and(profiles, cloud);
        Worker::with_failpoints(parts, failpoints)
    }

    pub(super) async fn place(&self, channel: ChannelId, request: OrderRequest) -> Order {
        self.world.place(channel, request).await.unwrap()
    }

    pub(super) async fn active(&self, profile: &str) -> ChannelId {
        let order = self.world.order_of(Direction::Out, profile, None).await;
        self.settle(&self.worker()).await;
        assert_eq!(self.world.channel(order.channel).await.state, ChannelState::Active);
        order.channel
    }

    /// Places an order and carries it out.
    pub(super) async fn done(&self, channel: ChannelId, request: OrderRequest) -> Order {
        let order = self.place(channel, request).await;
        self.settle(&self.worker()).await;
        let order = self.world.order(order.id).await;
        assert_eq!(order.state, OrderState::Succeeded, "{:?}", order.error);
        order
    }

    /// Lets worker and engine take turns, and time pass, until no order is open.
    pub(super) async fn settle(&self, worker: &Worker) {
        self.until(|| worker.clone(), async || self.world.open_orders().await == 0).await;
    }

    /// The same until something holds. A worker that is killed is replaced once its lease is over.
    pub(super) async fn until(&self, make: impl Fn() -> Worker, mut holds: impl AsyncFnMut() -> bool) {
        let began = Instant::now();
        let mut worker = make();
        while began.elapsed() < PATIENCE {
            match worker.run_once().await {
                Ok(Turned::Worked) if holds().await => return,
                Ok(Turned::Worked) => continue,
                Ok(Turned::Idle) => {}
                Err(WorkerError::Killed(_)) => {
                    worker = make();
                    self.world.outlive_leases();
                }
                Err(error) => panic!("{error}"),
            }
            if holds().await {
                return;
            }
            self.world.engine.turn().await;
            self.world.clock.advance(TimeDelta::seconds(3));
            // The account makes its stacks in threads of its own.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it never came to pass");
    }

    /// The public names of the keys that the tables take for good, oldest first.
    pub(super) async fn known_keys(&self, channel: ChannelId) -> Vec<String> {
        let mut tx = self.world.control.read_tenant(self.world.tenant).await.unwrap();
        let keys = self.world.access.access_keys(&mut tx, self.world.tenant, channel).await.unwrap();
        let mut good = keys.good();
        good.sort();
        good
    }
}
