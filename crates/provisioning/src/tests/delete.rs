use headgate_access::credentials;
use headgate_types::channel::{ChannelState, Direction};

use super::{World, setup};
use crate::orders::{OrderRequest, OrderState, StepName, StepState};

#[tokio::test]
async fn a_deleted_channel_leaves_a_tombstone_and_nothing_else() {
    for (_db, world) in World::all().await {
        let keep = world.active_channel(Direction::Out).await;
        let id = world.active_channel(Direction::Out).await;
        let file = world.root.path().join(id.to_string()).join("store.db");
        std::fs::write(&file, "rows").unwrap();
        let order = world.place(id, OrderRequest::Delete).await.unwrap();
        assert_eq!(world.channel(id).await.state, ChannelState::Deleting, "visible at once");
        world.settle(&world.worker()).await;
        assert_eq!(world.order(order.id).await.state, OrderState::Succeeded, "{}", world.name);
        let channel = world.channel(id).await;
        assert_eq!(channel.state, ChannelState::Deleted);
        assert!(channel.deleted_at.is_some() && channel.binding.is_none());
        assert!(!file.exists());
        assert_eq!(world.directories(), 1, "the other channel's directory stays");
        let mut tx = world.control.read_tenant(world.tenant).await.unwrap();
        let now = order.created_at;
        let revoked = credentials::list(&mut tx, world.tenant, id, now).await.unwrap();
        assert!(!revoked.is_empty() && revoked.iter().all(|credential| credential.revoked_at.is_some()));
        let kept = credentials::list(&mut tx, world.tenant, keep, now).await.unwrap();
        assert!(kept.iter().all(|credential| credential.revoked_at.is_none()));
        drop(tx);
        assert_eq!(world.event_types().await[4..], ["channel.deleted", "order.succeeded"]);
    }
}

#[tokio::test]
async fn credentials_are_revoked_before_anything_is_removed() {
    for (_db, world) in World::all().await {
        let id = world.active_channel(Direction::Out).await;
        let order = world.place(id, OrderRequest::Delete).await.unwrap();
        // The engine has not drained it yet.
        world.worker().run_until_idle().await.unwrap();
        let order = world.order(order.id).await;
        assert_eq!(order.step, Some(StepName::Drain));
        assert_eq!(world.directories(), 1);
        let mut tx = world.control.read_tenant(world.tenant).await.unwrap();
        let listed = credentials::list(&mut tx, world.tenant, id, order.updated_at).await.unwrap();
        assert!(listed.iter().all(|credential| credential.revoked_at.is_some()), "{}", world.name);
    }
}

#[tokio::test]
async fn a_delete_order_supersedes_the_order_that_is_making_the_channel() {
    for (_db, world) in World::all().await {
        for direction in [Direction::Out, Direction::In] {
            let create = world.order_channel(direction).await;
            world.worker().run_until_idle().await.unwrap();
            let delete = world.place(create.channel, OrderRequest::Delete).await.unwrap();
            let superseded = world.order(create.id).await;
            assert_eq!(superseded.state, OrderState::Cancelled);
            assert_eq!(superseded.superseded_by, Some(delete.id));
            assert!(superseded.steps.iter().all(|step| step.state != StepState::Running));
            world.settle(&world.worker()).await;
            assert_eq!(world.order(delete.id).await.state, OrderState::Succeeded, "{}", world.name);
            assert_eq!(world.channel(create.channel).await.state, ChannelState::Deleted);
            assert_eq!(world.directories(), 0);
            let mut tx = world.control.read_tenant(world.tenant).await.unwrap();
            assert!(setup::element_states(&mut tx, world.tenant).await.is_empty(), "names are free again");
        }
        let expected = ["channel.deleted", "order.succeeded", "channel.deleted", "order.succeeded"];
        assert_eq!(world.event_types().await, expected);
    }
}
