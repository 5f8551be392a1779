use headgate_catalog::channels;
use headgate_types::Coded;
use headgate_types::channel::{ChannelState, Direction};

use super::World;
use crate::driver::embedded::{MARKER, Marker};
use crate::orders::{ChannelChange, OrderRequest, OrderState, PinnedSize};
use crate::profiles::Profiles;

pub(super) fn resize(size: &str) -> OrderRequest {
    let size = PinnedSize::of(&Profiles::embedded().unwrap(), Direction::Out, "api", size).unwrap();
    OrderRequest::Change(ChannelChange { size: Some(size), ..ChannelChange::default() })
}

#[tokio::test]
async fn a_resize_changes_limits_resource_and_generation() {
    for (_db, world) in World::all().await {
        let id = world.active_channel(Direction::Out).await;
        let before = world.channel(id).await;
        let order = world.place(id, resize("large")).await.unwrap();
        world.settle(&world.worker()).await;
        assert_eq!(world.order(order.id).await.state, OrderState::Succeeded, "{}", world.name);
        let after = world.channel(id).await;
        assert_eq!((after.state, after.size.as_str()), (ChannelState::Active, "L"));
        assert_eq!(after.generation, before.generation + 1);
        assert_eq!(after.binding, before.binding);
        let marker = world.root.path().join(id.to_string()).join(MARKER);
        let marker: Marker = serde_json::from_slice(&std::fs::read(marker).unwrap()).unwrap();
        assert_eq!(marker.limits, after.limits);
        assert_eq!(world.event_types().await[2..], ["channel.updated", "order.succeeded"]);
    }
}

#[tokio::test]
async fn pause_holds_the_channel_and_resume_lets_it_go() {
    for (_db, world) in World::all().await {
        let id = world.active_channel(Direction::Out).await;
        world.place(id, OrderRequest::Pause).await.unwrap();
        world.worker().run_until_idle().await.unwrap();
        assert_eq!(world.channel(id).await.state, ChannelState::Paused, "the engine is told by the state");
        assert_eq!(world.open_orders().await, 1, "and the order waits until it holds");
        world.settle(&world.worker()).await;
        world.place(id, resize("M")).await.unwrap();
        assert_eq!(world.channel(id).await.state, ChannelState::Paused, "a change does not resume it");
        world.settle(&world.worker()).await;
        let changed = world.channel(id).await;
        assert_eq!((changed.state, changed.size.as_str()), (ChannelState::Paused, "M"), "{}", world.name);
        world.place(id, OrderRequest::Resume).await.unwrap();
        world.settle(&world.worker()).await;
        assert_eq!(world.channel(id).await.state, ChannelState::Active);
        let updated = world.event_types().await.iter().filter(|event| *event == "channel.updated").count();
        assert_eq!(updated, 3);
    }
}

#[tokio::test]
async fn a_channel_that_the_platform_suspends_during_a_change_stays_suspended() {
    for (_db, world) in World::all().await {
        let id = world.active_channel(Direction::Out).await;
        let order = world.place(id, resize("M")).await.unwrap();
        world.worker().run_until_idle().await.unwrap();
        let mut tx = world.control.tenant(world.tenant).await.unwrap();
        let (from, to) = ([ChannelState::Updating], ChannelState::Suspended);
        channels::transition(&mut tx, world.tenant, id, &from, to, Some("budget"), order.created_at).await.unwrap();
        tx.commit().await.unwrap();
        world.settle(&world.worker()).await;
        assert!(world.order(order.id).await.state.is_final());
        assert_eq!(world.channel(id).await.state, ChannelState::Suspended, "{}", world.name);
    }
}

#[tokio::test]
async fn the_channels_of_a_suspended_tenant_stop_with_it_and_go_on_with_it() {
    for (_db, world) in World::all().await {
        let (running, paused) = (world.active_channel(Direction::Out).await, world.active_channel(Direction::In).await);
        world.place(paused, OrderRequest::Pause).await.unwrap();
        world.settle(&world.worker()).await;
        let states = async || (world.channel(running).await.state, world.channel(paused).await.state);

        let clock = world.shared_clock();
        let mut tx = world.control.platform().await.unwrap();
        tx.act_for(world.tenant).await.unwrap();
        assert_eq!(crate::suspend_channels(&mut tx, &clock, world.tenant).await.unwrap(), 1);
        tx.commit().await.unwrap();
        assert_eq!(states().await, (ChannelState::Suspended, ChannelState::Paused), "{}", world.name);
        let refused = world.place(running, OrderRequest::Resume).await.unwrap_err();
        assert_eq!(headgate_types::Coded::code(&refused), "channel_state", "its owner cannot undo it");

        let mut tx = world.control.platform().await.unwrap();
        tx.act_for(world.tenant).await.unwrap();
        assert_eq!(crate::release_channels(&mut tx, &clock, world.tenant).await.unwrap(), 1);
        tx.commit().await.unwrap();
        assert_eq!(states().await, (ChannelState::Active, ChannelState::Paused), "{}", world.name);
        let events = world.event_types().await;
        assert_eq!(events.iter().filter(|event| *event == "channel.suspended").count(), 1);
        assert_eq!(events.last().map(String::as_str), Some("channel.updated"));
    }
}

#[tokio::test]
async fn a_channel_that_is_being_made_while_its_tenant_is_suspended_begins_once_it_is_released() {
    for (_db, world) in World::all().await {
        for direction in [Direction::Out, Direction::In] {
            let order = world.order_channel(direction).await;
            let worker = world.worker();
            worker.run_until_idle().await.unwrap();
            world.suspend_tenant().await;
            for _ in 0..40 {
                world.engine.turn().await;
                world.clock.advance(chrono::TimeDelta::seconds(3));
                worker.run_until_idle().await.unwrap();
            }
            let waiting = world.order(order.id).await;
            assert_eq!(waiting.state, OrderState::Running, "{}: {:?}", world.name, waiting.error);
            assert_eq!(world.channel(order.channel).await.state, ChannelState::Provisioning);
            world.release_tenant().await;
            world.settle(&worker).await;
            assert_eq!(world.order(order.id).await.state, OrderState::Succeeded, "{}", world.name);
            assert_eq!(world.channel(order.channel).await.state, ChannelState::Active);
        }
    }
}

#[tokio::test]
async fn a_cancelled_create_order_leaves_nothing() {
    for (_db, world) in World::all().await {
        for direction in [Direction::Out, Direction::In] {
            let order = world.order_channel(direction).await;
            // Far enough to have a directory.
            world.worker().run_until_idle().await.unwrap();
            assert_eq!(world.directories(), 1);
            let cancelled = world.cancel(order.id).await.unwrap();
            assert_eq!(cancelled.state, OrderState::Running, "it is being undone");
            world.cancel(order.id).await.unwrap();
            world.settle(&world.worker()).await;
            assert_eq!(world.order(order.id).await.state, OrderState::Cancelled, "{}", world.name);
            assert_eq!(world.channel(order.channel).await.state, ChannelState::Deleted);
            assert_eq!(world.directories(), 0);
        }
        assert_eq!(world.event_types().await, ["channel.deleted", "channel.deleted"]);
    }
}

#[tokio::test]
async fn an_order_that_no_worker_took_up_can_be_cancelled() {
    for (_db, world) in World::all().await {
        let order = world.order_channel(Direction::Out).await;
        world.cancel(order.id).await.unwrap();
        world.settle(&world.worker()).await;
        assert_eq!(world.order(order.id).await.state, OrderState::Cancelled);
        assert_eq!(world.channel(order.channel).await.state, ChannelState::Deleted);
    }
}

#[tokio::test]
async fn a_cancelled_change_leaves_the_channel_as_it_was() {
    for (_db, world) in World::all().await {
        let id = world.active_channel(Direction::Out).await;
        let order = world.place(id, resize("XL")).await.unwrap();
        // Applied, and waiting for the engine.
        world.worker().run_until_idle().await.unwrap();
        assert_eq!(world.channel(id).await.size, "XL");
        world.cancel(order.id).await.unwrap();
        world.settle(&world.worker()).await;
        assert_eq!(world.order(order.id).await.state, OrderState::Cancelled, "{}", world.name);
        let channel = world.channel(id).await;
        assert_eq!((channel.state, channel.size.as_str()), (ChannelState::Active, "S"));
    }
}

#[tokio::test]
async fn an_order_that_is_over_or_a_deletion_cannot_be_cancelled() {
    for (_db, world) in World::all().await {
        let order = world.order_channel(Direction::Out).await;
        world.settle(&world.worker()).await;
        assert_eq!(world.cancel(order.id).await.unwrap_err().code(), "order_finished");
        let delete = world.place(order.channel, OrderRequest::Delete).await.unwrap();
        assert!(!delete.is_cancellable());
        assert_eq!(world.cancel(delete.id).await.unwrap_err().code(), "order_not_cancellable");
    }
}
