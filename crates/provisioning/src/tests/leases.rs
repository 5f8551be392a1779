use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use headgate_types::channel::{ChannelState, Direction};

use super::World;
use crate::failpoint::{Failpoint, Failpoints, Killed, Moment};
use crate::orders::{OrderRequest, OrderState, StepName};
use crate::worker::{Turned, Worker, WorkerError};

/// Kills at every place: the worker dies in its first turn, holding its lease.
#[derive(Debug)]
struct KillAtOnce;

impl Failpoints for KillAtOnce {
    fn reach(&self, at: Failpoint) -> Result<(), Killed> {
        Err(Killed(at))
    }
}

#[tokio::test]
async fn an_order_whose_worker_died_waits_for_the_lease_and_is_then_taken_up() {
    for (_db, world) in World::all().await {
        let order = world.order_channel(Direction::Out).await;
        let died = world.worker_with(Arc::new(KillAtOnce)).run_once().await;
        assert!(matches!(died, Err(WorkerError::Killed(_))), "{}", world.name);
        assert_eq!(world.worker().run_once().await.unwrap(), Turned::Idle, "the lease is respected");
        world.outlive_leases();
        assert_eq!(world.worker().run_once().await.unwrap(), Turned::Worked);
        world.settle(&world.worker()).await;
        assert_eq!(world.order(order.id).await.state, OrderState::Succeeded);
    }
}

#[tokio::test]
async fn two_workers_carry_many_orders_out_once_each() {
    for (_db, world) in World::all().await {
        let mut placed = Vec::new();
        for _ in 0..6 {
            placed.push(world.order_channel(Direction::Out).await);
        }
        let [first, second] = ["first", "second"].map(|name| Worker::new(world.parts(name, world.driver.clone())));
        for _ in 0..40 {
            let (one, other) = tokio::join!(first.run_until_idle(), second.run_until_idle());
            one.unwrap();
            other.unwrap();
            if world.open_orders().await == 0 {
                break;
            }
            world.engine.turn().await;
            world.clock.advance(chrono::TimeDelta::seconds(3));
        }
        for order in placed {
            assert_eq!(world.order(order.id).await.state, OrderState::Succeeded, "{}", world.name);
        }
        let events = world.event_types().await;
        assert_eq!(events.iter().filter(|event| *event == "channel.ready").count(), 6, "{}", world.name);
    }
}

/// Lets the worker sleep through its lease after it acted, while another one takes over.
#[derive(Debug)]
struct SleepThrough {
    world_clock: Arc<headgate_types::FakeClock>,
    slept: AtomicBool,
}

impl Failpoints for SleepThrough {
    fn reach(&self, at: Failpoint) -> Result<(), Killed> {
        let acted = matches!(at, Failpoint::Step(_, StepName::Provision, Moment::Acted));
        if acted && !self.slept.swap(true, Ordering::SeqCst) {
            self.world_clock.advance(chrono::TimeDelta::minutes(10));
            return Err(Killed(at));
        }
        Ok(())
    }
}

#[tokio::test]
async fn what_a_worker_made_before_it_was_superseded_is_removed_by_the_delete_order() {
    for (_db, world) in World::all().await {
        let create = world.order_channel(Direction::Out).await;
        let sleeper = SleepThrough { world_clock: world.clock.clone(), slept: AtomicBool::new(false) };
        let worker = world.worker_with(Arc::new(sleeper));
        // The directory is there and nothing in the order's row says so.
        assert!(matches!(worker.run_until_idle().await, Err(WorkerError::Killed(_))));
        assert_eq!(world.directories(), 1);
        world.place(create.channel, OrderRequest::Delete).await.unwrap();
        world.settle(&world.worker()).await;
        assert_eq!(world.directories(), 0, "{}", world.name);
        assert_eq!(world.channel(create.channel).await.state, ChannelState::Deleted);
    }
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_saves_nothing() {
    use crate::worker::lease;
    for (_db, world) in World::all().await {
        let order = world.order_channel(Direction::Out).await;
        let whose = (world.tenant, order.channel);
        let now = order.created_at;
        let minute = chrono::TimeDelta::minutes(1);
        let mut tx = world.control.tenant(world.tenant).await.unwrap();
        let old = lease::take(&mut tx, whose, "old", now, now + minute).await.unwrap().unwrap();
        assert!(lease::take(&mut tx, whose, "new", now, now + minute).await.unwrap().is_none());
        let later = now + minute;
        assert!(lease::take(&mut tx, whose, "new", later, later + minute).await.unwrap().is_some());
        assert!(!lease::hold(&mut tx, &old, later).await.unwrap(), "{}", world.name);
    }
}

#[tokio::test]
async fn a_worker_that_follows_a_killed_one_of_its_name_need_not_wait_for_its_leases() {
    use crate::worker::lease;
    for (_db, world) in World::all().await {
        let [own, other] = [world.order_channel(Direction::Out).await, world.order_channel(Direction::Out).await];
        let (now, until) = (own.created_at, own.created_at + chrono::TimeDelta::minutes(1));
        let mut tx = world.control.tenant(world.tenant).await.unwrap();
        let mine = (world.tenant, own.channel);
        let killed = lease::take(&mut tx, mine, "worker/0", now, until).await.unwrap().unwrap();
        lease::take(&mut tx, (world.tenant, other.channel), "worker2/0", now, until).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        assert_eq!(world.worker().take_over().await.unwrap(), 1, "{}: nobody else's", world.name);
        let mut tx = world.control.tenant(world.tenant).await.unwrap();
        assert!(!lease::hold(&mut tx, &killed, until).await.unwrap(), "{}", world.name);
        assert!(lease::take(&mut tx, mine, "worker/0", now, until).await.unwrap().is_some());
    }
}

/// Fails the first step that was claimed, as a database does that goes away.
#[derive(Debug, Default)]
struct FailsOnce(std::sync::atomic::AtomicBool);

impl Failpoints for FailsOnce {
    fn reach(&self, point: Failpoint) -> Result<(), Killed> {
        let first = matches!(point, Failpoint::Step(_, _, Moment::Claimed))
            && !self.0.swap(true, std::sync::atomic::Ordering::SeqCst);
        if first { Err(Killed(point)) } else { Ok(()) }
    }
}

#[tokio::test]
async fn a_worker_whose_turn_failed_does_not_wait_for_its_own_lease() {
    for (_db, world) in World::all().await {
        let order = world.order_channel(Direction::Out).await;
        let failpoints = std::sync::Arc::new(FailsOnce::default());
        let worker = world.worker_with(failpoints.clone());
        let shutdown = tokio_util::sync::CancellationToken::new();
        let running = tokio::spawn({
            let (worker, shutdown) = (worker.clone(), shutdown.clone());
            async move { worker.run(shutdown).await }
        });
        // The clock stands still: the lease does not end by itself.
        let start = std::time::Instant::now();
        while world.order(order.id).await.step == Some(StepName::Validate) {
            assert!(start.elapsed().as_secs() < 60, "{}: the order stands still", world.name);
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        assert!(failpoints.0.load(std::sync::atomic::Ordering::SeqCst), "{}", world.name);
        shutdown.cancel();
        running.await.unwrap();
    }
}

#[tokio::test]
async fn a_running_worker_finishes_its_step_and_ends_at_shutdown() {
    let db = headgate_database::testing::databases().await.unwrap().remove(0);
    let world = World::new(&db).await;
    let order = world.order_channel(Direction::Out).await;
    let worker = world.worker();
    let shutdown = tokio_util::sync::CancellationToken::new();
    let running = tokio::spawn({
        let (worker, shutdown) = (worker.clone(), shutdown.clone());
        async move { worker.run(shutdown).await }
    });
    while world.order(order.id).await.step != Some(StepName::Serve) {
        tokio::task::yield_now().await;
    }
    // The order waits for the engine; nobody wakes the worker when its time has come.
    while world.order(order.id).await.step == Some(StepName::Serve) {
        world.engine.turn().await;
        world.clock.advance(chrono::TimeDelta::seconds(1));
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    shutdown.cancel();
    running.await.unwrap();
}
