use std::sync::atomic::Ordering;

use headgate_types::channel::{ChannelState, Direction};

use super::World;
use super::driver::FOR_EVER;
use crate::Sweep;
use crate::driver::{Driver, ResourceSpec, conformance};
use crate::orders::{OrderRequest, OrderState, StepName};

#[tokio::test]
async fn what_a_driver_cannot_remove_is_listed_and_swept_later() {
    for (_db, world) in World::all().await {
        let id = world.active_channel(Direction::Out).await;
        world.driver.release_fails.store(FOR_EVER, Ordering::SeqCst);
        let order = world.place(id, OrderRequest::Delete).await.unwrap();
        world.settle(&world.worker()).await;
        let order = world.order(order.id).await;
        assert_eq!(order.state, OrderState::Failed, "{}", world.name);
        let error = order.error.unwrap();
        assert_eq!(error.step, StepName::Release);
        assert_eq!(error.leftovers.len(), 1);
        assert_eq!((error.leftovers[0].channel, error.leftovers[0].reason.as_str()), (id, "the disk is on fire"));
        assert_eq!(world.channel(id).await.state, ChannelState::Deleting);

        let sweep = Sweep::new(world.worker());
        assert_eq!(sweep.run_once().await.unwrap(), 0, "the driver still fails");
        world.driver.release_fails.store(0, Ordering::SeqCst);
        assert_eq!(sweep.run_once().await.unwrap(), 0, "it is not due yet");
        world.clock.advance(chrono::TimeDelta::minutes(2));
        assert_eq!(sweep.run_once().await.unwrap(), 1);
        assert_eq!(world.directories(), 0);
        assert_eq!(world.channel(id).await.state, ChannelState::Deleted);
        assert_eq!(sweep.run_once().await.unwrap(), 0, "there is nothing more to do");
        let events = world.event_types().await;
        assert_eq!(events.iter().filter(|event| *event == "channel.deleted").count(), 1);
    }
}

#[tokio::test]
async fn a_channel_with_something_left_over_can_be_deleted_again() {
    for (_db, world) in World::all().await {
        let id = world.active_channel(Direction::Out).await;
        world.driver.release_fails.store(FOR_EVER, Ordering::SeqCst);
        world.place(id, OrderRequest::Delete).await.unwrap();
        world.settle(&world.worker()).await;
        world.driver.release_fails.store(0, Ordering::SeqCst);
        let again = world.place(id, OrderRequest::Delete).await.unwrap();
        world.settle(&world.worker()).await;
        assert_eq!(world.order(again.id).await.state, OrderState::Succeeded, "{}", world.name);
        assert_eq!(world.channel(id).await.state, ChannelState::Deleted);
    }
}

#[tokio::test]
async fn a_failed_create_with_something_left_over_lists_it_and_does_not_block_the_next() {
    for (_db, world) in World::all().await {
        world.driver.ensure_fails.store(FOR_EVER, Ordering::SeqCst);
        world.driver.release_fails.store(FOR_EVER, Ordering::SeqCst);
        let order = world.order_channel(Direction::Out).await;
        world.settle(&world.worker()).await;
        let order = world.order(order.id).await;
        let error = order.error.unwrap();
        assert_eq!((error.step, error.leftovers.len()), (StepName::Provision, 1), "{}", world.name);
        assert_eq!(world.channel(order.channel).await.state, ChannelState::Failed);
        world.driver.ensure_fails.store(0, Ordering::SeqCst);
        world.driver.release_fails.store(0, Ordering::SeqCst);
        world.active_channel(Direction::Out).await;
        assert_eq!(Sweep::new(world.worker()).run_once().await.unwrap(), 1);
        assert_eq!(world.directories(), 1);
    }
}

#[tokio::test]
async fn the_sweep_removes_what_a_late_worker_made_and_touches_nothing_else() {
    for (_db, world) in World::all().await {
        let active = world.active_channel(Direction::Out).await;
        let deleted = world.active_channel(Direction::Out).await;
        world.place(deleted, OrderRequest::Delete).await.unwrap();
        world.settle(&world.worker()).await;
        // A worker that slept through its lease makes the directory after all; another
        // installation shares the root.
        let late = ResourceSpec { tenant: world.tenant, channel: deleted, ..conformance::sample() };
        let foreign = conformance::sample();
        for spec in [&late, &foreign] {
            world.driver.ensure(spec).await.unwrap();
        }
        assert_eq!(Sweep::new(world.worker()).run_once().await.unwrap(), 1, "{}", world.name);
        let mut left = world.driver.list().await.unwrap();
        left.sort_unstable();
        let mut expected = vec![active, foreign.channel];
        expected.sort_unstable();
        assert_eq!(left, expected);
    }
}
