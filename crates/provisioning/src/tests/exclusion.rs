use headgate_types::channel::{ChannelState, Direction};
use headgate_types::{Coded, ErrorKind};

use super::World;
use crate::OrderError;
use crate::orders::{OrderKind, OrderRequest, OrderState};

#[tokio::test]
async fn a_second_order_that_changes_a_channel_is_refused_naming_the_first() {
    for (_db, world) in World::all().await {
        let create = world.order_channel(Direction::Out).await;
        for request in [OrderRequest::Pause, OrderRequest::Change(Default::default())] {
            let refused = world.place(create.channel, request).await.unwrap_err();
            assert_eq!((refused.kind(), refused.code()), (ErrorKind::Conflict, "order_in_progress"));
            assert!(refused.to_string().contains(&create.id.to_string()), "{refused}");
        }
        world.settle(&world.worker()).await;
        let pause = world.place(create.channel, OrderRequest::Pause).await.unwrap();
        let refused = world.place(create.channel, OrderRequest::Resume).await.unwrap_err();
        assert!(matches!(refused, OrderError::Busy { order, kind: OrderKind::Pause } if order == pause.id));
        world.settle(&world.worker()).await;
        assert_eq!(world.channel(create.channel).await.state, ChannelState::Paused);
    }
}

#[tokio::test]
async fn of_two_orders_placed_at_the_same_time_one_is_refused_naming_the_other() {
    for (_db, world) in World::all().await {
        let channel = world.active_channel(Direction::Out).await;
        let (first, second) =
            tokio::join!(world.place(channel, OrderRequest::Pause), world.place(channel, OrderRequest::Pause));
        let (taken, refused) = match (first, second) {
            (Ok(taken), Err(refused)) | (Err(refused), Ok(taken)) => (taken, refused),
            other => panic!("{}: {other:?}", world.name),
        };
        assert_eq!(refused.kind(), ErrorKind::Conflict, "{}: {refused}", world.name);
        world.settle(&world.worker()).await;
        assert_eq!(world.order(taken.id).await.state, OrderState::Succeeded);
    }
}

#[tokio::test]
async fn credentials_are_rotated_beside_an_order_that_changes_the_channel() {
    for (_db, world) in World::all().await {
        let channel = world.active_channel(Direction::Out).await;
        let pause = world.place(channel, OrderRequest::Pause).await.unwrap();
        let rotate = world.place(channel, OrderRequest::RotateCredentials { grace_seconds: 60 }).await.unwrap();
        world.settle(&world.worker()).await;
        for order in [pause.id, rotate.id] {
            assert_eq!(world.order(order).await.state, OrderState::Succeeded, "{}", world.name);
        }
        let result = world.order(rotate.id).await.result;
        assert_eq!(result.credentials.len(), 1);
        assert_eq!(world.event_types().await.iter().filter(|event| *event == "credential.rotated").count(), 1);
    }
}

#[tokio::test]
async fn a_channel_takes_only_orders_that_fit_its_state() {
    for (_db, world) in World::all().await {
        let channel = world.active_channel(Direction::Out).await;
        let refused = world.place(channel, OrderRequest::Resume).await.unwrap_err();
        assert_eq!(refused.code(), "channel_state");
        assert_eq!(refused.to_string(), "a channel in state ACTIVE does not take a resume order");
        world.place(channel, OrderRequest::Delete).await.unwrap();
        let refused = world.place(channel, OrderRequest::RotateCredentials { grace_seconds: 0 }).await.unwrap_err();
        assert_eq!(refused.code(), "channel_state");
        world.settle(&world.worker()).await;
        assert_eq!(world.place(channel, OrderRequest::Delete).await.unwrap_err().code(), "channel_state");
    }
}
