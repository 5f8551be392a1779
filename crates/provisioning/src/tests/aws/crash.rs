//! Workers that die anywhere, with stacks: no orphan of any kind is left in the account.

use headgate_types::channel::{ChannelState, Direction};
use serde_json::json;
use std::sync::atomic::Ordering;

use super::world::Cloud;
use crate::driver::cloudformation::Effect;
use crate::failpoint::{Failpoint, Moment, SharedFailpoints};
use crate::orders::plan::plan;
use crate::orders::{ChannelChange, OrderKind, OrderRequest, OrderState, Phase, PinnedSize, StepName};
use crate::tests::crash::KillAt;

/// The ways of an order on which the driver is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Create,
    /// The engine refuses the channel when its stack is there.
    CreateFails,
    /// Its owner withdraws it when the client has its key.
    CreateCancelled,
    Change,
    /// The engine refuses the new size when the stack has it.
    ChangeFails,
    Delete,
    Rotate,
}

const WAYS: [Way; 7] =
    [Way::Create, Way::CreateFails, Way::CreateCancelled, Way::Change, Way::ChangeFails, Way::Delete, Way::Rotate];

/// What a way passes, and nothing that another way before it does.
fn places(way: Way) -> Vec<Failpoint> {
    let (kind, phase, effects): (_, _, &[Effect]) = match way {
        Way::Create => (OrderKind::Create, Phase::Do, &[Effect::StackAsked, Effect::KeyMade]),
        Way::CreateFails => {
            (OrderKind::Create, Phase::Undo, &[Effect::Expelled, Effect::Cleared, Effect::RemovalAsked])
        }
        Way::CreateCancelled => {
            (OrderKind::Create, Phase::Undo, &[Effect::Expelled, Effect::Cleared, Effect::RemovalAsked])
        }
        Way::Change => (OrderKind::Change, Phase::Do, &[Effect::ChangeAsked]),
        Way::ChangeFails => (OrderKind::Change, Phase::Undo, &[]),
        Way::Delete => (OrderKind::Delete, Phase::Do, &[Effect::Expelled, Effect::Cleared, Effect::RemovalAsked]),
        Way::Rotate => (OrderKind::RotateCredentials, Phase::Do, &[Effect::KeyMade]),
    };
    let steps = plan(kind, Direction::Out, phase).iter();
    let steps = steps.flat_map(|step| Moment::ALL.map(|moment| Failpoint::Step(phase, *step, moment)));
    steps.chain(effects.iter().map(|effect| Failpoint::Stack(*effect))).collect()
}

fn larger(cloud: &Cloud) -> OrderRequest {
    let profiles = &cloud.worker().parts.profiles;
    let size = PinnedSize::of(profiles, Direction::Out, "file", "M").unwrap();
    OrderRequest::Change(ChannelChange { size: Some(size), ..ChannelChange::default() })
}

/// Goes one way under workers that die once at each of `places`, and says whether they all did.
async fn go(cloud: &Cloud, way: Way, places: Vec<Failpoint>) {
    let said = format!("{way:?} killed at {places:?}");
    let failpoints = KillAt::new(places);
    let make = || {
        let failpoints: SharedFailpoints = failpoints.clone();
        cloud.worker_with(failpoints)
    };
    let (world, engine) = (&cloud.world, &cloud.world.engine);
    let order = match way {
        Way::Create | Way::CreateFails | Way::CreateCancelled => world.order_of(Direction::Out, "file", None).await,
        Way::Change | Way::ChangeFails => {
            let channel = cloud.active("file").await;
            cloud.place(channel, larger(cloud)).await
        }
        Way::Delete => {
            let channel = cloud.active("file").await;
            cloud.place(channel, OrderRequest::Delete).await
        }
        Way::Rotate => {
            let channel = cloud.active("file").await;
            cloud.place(channel, OrderRequest::RotateCredentials { grace_seconds: 3_600 }).await
        }
    };
    if way == Way::CreateCancelled {
        let healthy = cloud.worker();
        let behind_its_key = async || world.order(order.id).await.step == Some(StepName::InitialLoad);
        cloud.until(|| healthy.clone(), behind_its_key).await;
        assert_eq!(cloud.account.left().await["keys"].len(), 1, "{said}");
        world.cancel(order.id).await.unwrap();
    }
    engine.refuses.store(matches!(way, Way::CreateFails | Way::ChangeFails), Ordering::SeqCst);
    cloud.until(make, async || world.open_orders().await == 0).await;
    engine.refuses.store(false, Ordering::SeqCst);
    assert_eq!(failpoints.left(), [], "{said}: nobody was killed there");

    let (order, channel) = (world.order(order.id).await, world.channel(order.channel).await);
    let said = format!("{said}: {:?}", order.error);
    let (state, channel_state) = match way {
        Way::Create | Way::Change | Way::Rotate => (OrderState::Succeeded, ChannelState::Active),
        Way::CreateFails => (OrderState::Failed, ChannelState::Failed),
        Way::CreateCancelled => (OrderState::Cancelled, ChannelState::Deleted),
        Way::ChangeFails => (OrderState::Failed, ChannelState::Active),
        Way::Delete => (OrderState::Succeeded, ChannelState::Deleted),
    };
    assert_eq!((order.state, channel.state), (state, channel_state), "{said}");
    let left = cloud.account.left().await;
    let known = cloud.known_keys(channel.id).await;
    if channel.state.is_final() {
        assert_eq!((left, known), Default::default(), "{said}");
        return;
    }
    let mut keys = left["keys"].clone();
    keys.sort();
    assert_eq!(keys.len(), 1 + usize::from(way == Way::Rotate), "{said}");
    assert_eq!(keys, known, "{said}: the tables know every key");
    let count = |kind: &str| left.get(kind).map_or(0, Vec::len);
    let counted = ["stacks", "buckets", "roles", "users", "policies", "secrets", "queues"].map(count);
    assert_eq!(counted, [1, 1, 1, 1, 2, 0, 0], "{said}: {left:?}");
    let size = if way == Way::Change { "M" } else { "S" };
    assert_eq!(channel.size, size, "{said}");

    // Nothing of it is in the way of the next.
    cloud.done(channel.id, OrderRequest::Delete).await;
    assert_eq!(cloud.account.left().await, Default::default(), "{said}");
}

async fn one_kill_each(ways: &[Way]) {
    let Some(cloud) = Cloud::on_sqlite().await else { return };
    for way in ways {
        for place in places(*way) {
            go(&cloud, *way, vec![place]).await;
        }
    }
}

#[tokio::test]
async fn a_worker_killed_anywhere_while_it_creates_leaves_no_orphan() {
    one_kill_each(&[Way::Create]).await;
}

#[tokio::test]
async fn a_worker_killed_anywhere_while_it_undoes_leaves_no_orphan() {
    one_kill_each(&[Way::CreateFails]).await;
}

#[tokio::test]
async fn a_worker_killed_anywhere_while_it_withdraws_leaves_no_orphan() {
    one_kill_each(&[Way::CreateCancelled]).await;
}

#[tokio::test]
async fn a_worker_killed_anywhere_while_it_changes_leaves_no_orphan() {
    one_kill_each(&[Way::Change, Way::ChangeFails]).await;
}

#[tokio::test]
async fn a_worker_killed_anywhere_while_it_deletes_or_rotates_leaves_no_orphan() {
    one_kill_each(&[Way::Delete, Way::Rotate]).await;
}

#[tokio::test]
async fn orders_whose_workers_die_at_every_place_in_turn_leave_no_orphan() {
    let Some(cloud) = Cloud::on_sqlite().await else { return };
    for way in WAYS {
        go(&cloud, way, places(way)).await;
    }
}

#[test]
fn every_effect_of_the_driver_is_killed_at_by_some_way() {
    let passed: Vec<_> = WAYS.into_iter().flat_map(places).collect();
    assert!(Effect::ALL.iter().all(|effect| passed.contains(&Failpoint::Stack(*effect))));
}

#[tokio::test]
async fn a_worker_killed_while_answers_are_lost_leaves_no_orphan() {
    let Some(cloud) = Cloud::on_sqlite().await else { return };
    for (service, action) in [
        ("cloudformation", "CreateStack"),
        ("iam", "CreateAccessKey"),
        ("iam", "DeleteAccessKey"),
        ("cloudformation", "DeleteStack"),
    ] {
        cloud.account.fault(json!({"service": service, "action": action, "effect": "lose_answer", "times": 1})).await;
    }
    let effects = [Effect::StackAsked, Effect::KeyMade, Effect::RemovalAsked].map(Failpoint::Stack).to_vec();
    go(&cloud, Way::Create, effects[..2].to_vec()).await;
    go(&cloud, Way::Delete, effects[2..].to_vec()).await;
}
