use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use headgate_types::OrderId;
use headgate_types::channel::{ChannelState, Direction};

use super::driver::FOR_EVER;
use super::{World, setup};
use crate::driver::embedded::Effect;
use crate::failpoint::{Failpoint, Failpoints, Killed, Moment, SharedFailpoints};
use crate::orders::{ChannelChange, OrderKind, OrderRequest, OrderState};
use crate::worker::{Turned, Worker, WorkerError};

/// Kills once at each of its places.
#[derive(Debug)]
pub(super) struct KillAt {
    left: Mutex<HashSet<Failpoint>>,
}

impl KillAt {
    pub(super) fn new(places: impl IntoIterator<Item = Failpoint>) -> Arc<Self> {
        Arc::new(Self { left: Mutex::new(places.into_iter().collect()) })
    }

    pub(super) fn left(&self) -> Vec<Failpoint> {
        self.left.lock().unwrap().iter().copied().collect()
    }
}

impl Failpoints for KillAt {
    fn reach(&self, at: Failpoint) -> Result<(), Killed> {
        if self.left.lock().unwrap().remove(&at) { Err(Killed(at)) } else { Ok(()) }
    }
}

/// The ways an order can go; together they take every step of every plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    CreateOut,
    CreateIn,
    CreateFails,
    ChangeFails,
    PauseCancelled,
    ResumeCancelled,
    Other(OrderKind),
}

const WAYS: [Way; 11] = [
    Way::CreateOut,
    Way::CreateIn,
    Way::CreateFails,
    Way::ChangeFails,
    Way::PauseCancelled,
    Way::ResumeCancelled,
    Way::Other(OrderKind::Change),
    Way::Other(OrderKind::Pause),
    Way::Other(OrderKind::Resume),
    Way::Other(OrderKind::Delete),
    Way::Other(OrderKind::RotateCredentials),
];

fn request(kind: OrderKind) -> OrderRequest {
    match kind {
        OrderKind::Create => OrderRequest::Create,
        OrderKind::Change => {
            OrderRequest::Change(ChannelChange { name: Some("sluice".to_owned()), ..ChannelChange::default() })
        }
        OrderKind::Pause => OrderRequest::Pause,
        OrderKind::Resume => OrderRequest::Resume,
        OrderKind::Delete => OrderRequest::Delete,
        OrderKind::RotateCredentials => OrderRequest::RotateCredentials { grace_seconds: 60 },
    }
}

/// Lets a worker run; a kill ends it, its lease runs out, and another takes over.
async fn run(world: &World, make: impl Fn() -> Worker) {
    let mut worker = make();
    for _ in 0..400 {
        match worker.run_once().await {
            Ok(Turned::Worked) => continue,
            Ok(Turned::Idle) => {}
            Err(WorkerError::Killed(_)) => {
                worker = make();
                world.outlive_leases();
            }
            Err(error) => panic!("{}: {error}", world.name),
        }
        if world.open_orders().await == 0 {
            return;
        }
        world.engine.turn().await;
        world.clock.advance(chrono::TimeDelta::seconds(3));
    }
    panic!("{}: an order never ended", world.name);
}

/// Goes one way under workers that die once at each of `places`; returns those never reached.
async fn go(world: &World, way: Way, places: Vec<Failpoint>) -> Vec<Failpoint> {
    let said = format!("{} {way:?} killed at {places:?}", world.name);
    let failpoints = KillAt::new(places);
    // Ways whose driver fails by script need the scripted driver.
    let scripted = matches!(way, Way::CreateFails | Way::ChangeFails);
    let make = || {
        let failpoints: SharedFailpoints = failpoints.clone();
        if scripted { world.worker_with(failpoints) } else { world.doomed_worker(failpoints) }
    };
    let order = match way {
        Way::CreateOut => world.order_channel(Direction::Out).await,
        Way::CreateIn => world.order_channel(Direction::In).await,
        Way::CreateFails => {
            world.engine.refuses.store(true, Ordering::SeqCst);
            world.order_channel(Direction::In).await
        }
        Way::ChangeFails => {
            let channel = world.active_channel(Direction::Out).await;
            world.driver.ensure_fails.store(FOR_EVER, Ordering::SeqCst);
            world.place(channel, request(OrderKind::Change)).await.unwrap()
        }
        Way::PauseCancelled => {
            let channel = world.active_channel(Direction::Out).await;
            let order = world.place(channel, OrderRequest::Pause).await.unwrap();
            world.cancel(order.id).await.unwrap()
        }
        Way::ResumeCancelled | Way::Other(OrderKind::Resume) => {
            let channel = world.active_channel(Direction::Out).await;
            world.place(channel, OrderRequest::Pause).await.unwrap();
            world.settle(&world.worker()).await;
            let order = world.place(channel, OrderRequest::Resume).await.unwrap();
            if way == Way::ResumeCancelled { world.cancel(order.id).await.unwrap() } else { order }
        }
        Way::Other(kind) => {
            let channel = world.active_channel(Direction::Out).await;
            world.place(channel, request(kind)).await.unwrap()
        }
    };
    run(world, make).await;
    world.driver.ensure_fails.store(0, Ordering::SeqCst);
    world.engine.refuses.store(false, Ordering::SeqCst);
    check(world, way, &said, order.id).await;
    failpoints.left()
}

/// However it went, the order ended as it would have without the crash, and nothing is doubled.
async fn check(world: &World, way: Way, said: &str, order: OrderId) {
    let order = world.order(order).await;
    let channel = world.channel(order.channel).await;
    let (state, channel_state) = match way {
        Way::CreateOut | Way::CreateIn => (OrderState::Succeeded, ChannelState::Active),
        Way::CreateFails => (OrderState::Failed, ChannelState::Failed),
        Way::ChangeFails => (OrderState::Failed, ChannelState::Active),
        Way::PauseCancelled => (OrderState::Cancelled, ChannelState::Active),
        Way::ResumeCancelled => (OrderState::Cancelled, ChannelState::Paused),
        Way::Other(OrderKind::Pause) => (OrderState::Succeeded, ChannelState::Paused),
        Way::Other(OrderKind::Delete) => (OrderState::Succeeded, ChannelState::Deleted),
        Way::Other(_) => (OrderState::Succeeded, ChannelState::Active),
    };
    let said = format!("{said}: {:?}", order.error);
    assert_eq!((order.state, channel.state), (state, channel_state), "{said}");
    let directories = usize::from(!channel_state.is_final());
    assert_eq!(world.directories(), directories, "{said}");

    let events = world.event_types().await;
    let count = |wanted: &str| events.iter().filter(|event| *event == wanted).count();
    let ready = usize::from(way != Way::CreateFails);
    assert_eq!(count("channel.ready"), ready, "{said}: {events:?}");
    assert_eq!(count("order.failed"), usize::from(state == OrderState::Failed), "{said}: {events:?}");
    assert_eq!(count("channel.failed"), usize::from(way == Way::CreateFails), "{said}: {events:?}");
    assert_eq!(count("channel.deleted"), usize::from(channel_state == ChannelState::Deleted), "{said}: {events:?}");
    let rotated = usize::from(way == Way::Other(OrderKind::RotateCredentials));
    assert_eq!(count("credential.rotated"), rotated, "{said}: {events:?}");

    let mut tx = world.control.read_tenant(world.tenant).await.unwrap();
    let now = order.updated_at;
    let issued = headgate_access::credentials::list(&mut tx, world.tenant, order.channel, now).await.unwrap();
    let good = issued.iter().filter(|credential| credential.revoked_at.is_none()).count();
    let expected = if channel_state.is_final() { 0 } else { 1 + rotated };
    assert_eq!(good, expected, "{said}");
    let elements = setup::element_states(&mut tx, world.tenant).await;
    let born = if way == Way::CreateIn { vec!["PUBLISHED".to_owned()] } else { Vec::new() };
    assert_eq!(elements, born, "{said}");
}

/// Every place is killed at in a world of its own, on the first way that passes it. The places are
/// dealt out to as many tests, which run beside each other.
async fn one_kill_each(share: usize) {
    for db in headgate_database::testing::databases().await.unwrap() {
        for place in Failpoint::all().skip(share).step_by(SHARES) {
            let Some(way) = WAYS.into_iter().find(|way| takes(*way, place)) else { continue };
            let world = World::new(&db).await;
            let missed = go(&world, way, vec![place]).await;
            assert!(missed.is_empty(), "{} {way:?}: nobody was killed at {missed:?}", db.name);
        }
    }
}

const SHARES: usize = 4;

#[tokio::test]
async fn a_worker_killed_at_any_place_is_replaced_and_the_order_ends_as_if_nothing_had_happened_1() {
    one_kill_each(0).await;
}

#[tokio::test]
async fn a_worker_killed_at_any_place_is_replaced_and_the_order_ends_as_if_nothing_had_happened_2() {
    one_kill_each(1).await;
}

#[tokio::test]
async fn a_worker_killed_at_any_place_is_replaced_and_the_order_ends_as_if_nothing_had_happened_3() {
    one_kill_each(2).await;
}

#[tokio::test]
async fn a_worker_killed_at_any_place_is_replaced_and_the_order_ends_as_if_nothing_had_happened_4() {
    one_kill_each(3).await;
}

#[tokio::test]
async fn an_order_whose_workers_die_at_every_place_in_turn_ends_as_if_nothing_had_happened() {
    for db in headgate_database::testing::databases().await.unwrap() {
        for way in WAYS {
            let world = World::new(&db).await;
            let places = Failpoint::all().filter(|place| takes(way, *place)).collect();
            let missed = go(&world, way, places).await;
            assert!(missed.is_empty(), "{} {way:?}: nobody was killed at {missed:?}", db.name);
        }
    }
}

#[test]
fn every_step_and_every_effect_is_killed_at_by_some_way() {
    use crate::orders::{Phase, StepName};
    let passed = |place| WAYS.into_iter().any(|way| takes(way, place));
    for step in StepName::ALL {
        let moments = |phase| Moment::ALL.into_iter().all(|moment| passed(Failpoint::Step(phase, *step, moment)));
        assert!(Phase::ALL.into_iter().any(moments), "{step}");
    }
    assert!(Effect::ALL.iter().all(|effect| passed(Failpoint::Effect(*effect))));
}

/// Whether an order that goes this way passes a place, by its plan.
fn takes(way: Way, place: Failpoint) -> bool {
    use crate::orders::Phase;
    use crate::orders::plan::plan;
    let Failpoint::Step(phase, step, _) = place else {
        // Those of the other driver are passed in `aws/crash.rs`.
        let Failpoint::Effect(effect) = place else { return false };
        return match way {
            Way::CreateOut => !matches!(effect, Effect::Renamed | Effect::Removed),
            Way::Other(OrderKind::Delete) => matches!(effect, Effect::Renamed | Effect::Removed),
            _ => false,
        };
    };
    let (kind, direction) = match way {
        Way::CreateOut => (OrderKind::Create, Direction::Out),
        Way::CreateIn | Way::CreateFails => (OrderKind::Create, Direction::In),
        Way::ChangeFails => (OrderKind::Change, Direction::Out),
        Way::PauseCancelled => (OrderKind::Pause, Direction::Out),
        Way::ResumeCancelled => (OrderKind::Resume, Direction::Out),
        Way::Other(kind) => (kind, Direction::Out),
    };
    let undone = matches!(way, Way::CreateFails | Way::ChangeFails | Way::PauseCancelled | Way::ResumeCancelled);
    // What comes before the failure is covered by the ways that succeed.
    let wanted = if undone { Phase::Undo } else { Phase::Do };
    phase == wanted && plan(kind, direction, phase).contains(&step)
}
