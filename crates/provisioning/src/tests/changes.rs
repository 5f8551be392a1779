use headgate_catalog::channels::{self, Lanes};
use headgate_types::channel::{ChannelState, Direction};
use headgate_types::{ChannelId, Coded};

use super::World;
use crate::driver::embedded::{MARKER, Marker};
use crate::orders::{ChannelChange, OrderRequest, OrderState, PinnedSize};
use crate::profiles::Profiles;

async fn lanes(world: &World, channel: ChannelId) -> Lanes {
    let mut tx = world.control.read_tenant(world.tenant).await.unwrap();
    channels::lanes(&mut tx, world.tenant, channel).await.unwrap()
}

fn resize(size: &str) -> OrderRequest {
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
async fn pause_stops_the_lanes_and_resume_starts_them() {
    for (_db, world) in World::all().await {
        let id = world.active_channel(Direction::Out).await;
        world.place(id, OrderRequest::Pause).await.unwrap();
        world.settle(&world.worker()).await;
        assert_eq!(world.channel(id).await.state, ChannelState::Paused);
        assert_eq!(lanes(&world, id).await, Lanes { live: false, backfill: false });
        world.place(id, resize("M")).await.unwrap();
        world.settle(&world.worker()).await;
        let changed = world.channel(id).await;
        assert_eq!((changed.state, changed.size.as_str()), (ChannelState::Paused, "M"), "a change does not resume");
        world.place(id, OrderRequest::Resume).await.unwrap();
        world.settle(&world.worker()).await;
        assert_eq!(world.channel(id).await.state, ChannelState::Active);
        assert_eq!(lanes(&world, id).await, Lanes { live: true, backfill: true });
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
