use std::sync::atomic::Ordering;

use headgate_types::channel::{ChannelState, Direction};

use super::driver::FOR_EVER;
use super::{World, setup};
use crate::orders::{ChannelChange, OrderRequest, OrderState, Phase, PinnedSize, StepName, StepState};
use crate::profiles::Profiles;

#[tokio::test]
async fn a_driver_that_fails_once_is_asked_again_and_the_order_succeeds() {
    for (_db, world) in World::all().await {
        world.driver.ensure_fails.store(1, Ordering::SeqCst);
        let order = world.order_channel(Direction::Out).await;
        world.worker().run_until_idle().await.unwrap();
        let waiting = world.order(order.id).await;
        let step = waiting.steps.iter().find(|step| step.name == StepName::Provision).unwrap();
        assert_eq!((step.state, step.attempts), (StepState::Running, 1));
        assert_eq!(step.message.as_deref(), Some("the disk is on fire"), "the owner sees why it takes longer");
        world.settle(&world.worker()).await;
        assert_eq!(world.order(order.id).await.state, OrderState::Succeeded);
    }
}

#[tokio::test]
async fn a_create_order_that_cannot_be_carried_out_ends_failed_with_nothing_left() {
    for (_db, world) in World::all().await {
        for direction in [Direction::Out, Direction::In] {
            world.driver.ensure_fails.store(FOR_EVER, Ordering::SeqCst);
            let order = world.order_channel(direction).await;
            world.settle(&world.worker()).await;
            let order = world.order(order.id).await;
            assert_eq!(order.state, OrderState::Failed, "{}", world.name);
            let error = order.error.clone().unwrap();
            assert_eq!((error.code.as_str(), error.step), ("step_failed", StepName::Provision));
            assert_eq!(error.detail, "the disk is on fire");
            assert!(error.leftovers.is_empty());
            let skipped = order.steps.iter().filter(|step| step.state == StepState::Skipped);
            assert!(skipped.count() > 0, "what was not reached is shown as skipped");
            assert!(order.steps.iter().any(|step| step.phase == Phase::Undo && step.state == StepState::Done));

            let channel = world.channel(order.channel).await;
            assert_eq!(channel.state, ChannelState::Failed);
            assert_eq!(channel.state_reason.as_deref(), Some("the disk is on fire"));
            assert_eq!(channel.binding, None);
            assert_eq!(world.directories(), 0, "the driver had made a directory before it failed");
            let mut tx = world.control.read_tenant(world.tenant).await.unwrap();
            assert!(setup::element_states(&mut tx, world.tenant).await.is_empty());
        }
        let events = world.event_types().await;
        assert_eq!(events, ["channel.failed", "order.failed", "channel.failed", "order.failed"]);
        world.driver.ensure_fails.store(0, Ordering::SeqCst);
        world.active_channel(Direction::In).await;
    }
}

#[tokio::test]
async fn a_change_that_cannot_be_carried_out_leaves_the_channel_active_on_its_old_spec() {
    for (_db, world) in World::all().await {
        let id = world.active_channel(Direction::Out).await;
        let before = world.channel(id).await;
        world.driver.ensure_fails.store(FOR_EVER, Ordering::SeqCst);
        let size = PinnedSize::of(&Profiles::embedded().unwrap(), Direction::Out, "api", "XL").unwrap();
        let change = ChannelChange { name: Some("weir".to_owned()), size: Some(size), ..ChannelChange::default() };
        let order = world.place(id, OrderRequest::Change(change.clone())).await.unwrap();
        assert_eq!(world.channel(id).await.state, ChannelState::Updating);
        world.settle(&world.worker()).await;
        assert_eq!(world.order(order.id).await.state, OrderState::Failed, "{}", world.name);
        let after = world.channel(id).await;
        assert_eq!(after.state, ChannelState::Active);
        assert_eq!((&after.size, &after.limits, &after.name), (&before.size, &before.limits, &before.name));

        // Also when the engine refuses it after it was applied.
        world.driver.ensure_fails.store(0, Ordering::SeqCst);
        let order = world.place(id, OrderRequest::Change(change)).await.unwrap();
        world.engine.refuses.store(true, Ordering::SeqCst);
        world.engine.turn().await;
        world.settle(&world.worker()).await;
        let order = world.order(order.id).await;
        assert_eq!(order.error.unwrap().code, "schema_incompatible", "{}", world.name);
        let after = world.channel(id).await;
        assert_eq!((after.state, &after.size, &after.name), (ChannelState::Active, &before.size, &before.name));
        assert!(after.generation > before.generation, "the engine is told to go back");
    }
}

#[tokio::test]
async fn an_engine_that_never_answers_ends_the_order_in_time() {
    for (_db, world) in World::all().await {
        world.engine.away.store(true, Ordering::SeqCst);
        let order = world.order_channel(Direction::Out).await;
        world.settle(&world.worker()).await;
        let order = world.order(order.id).await;
        assert_eq!(order.error.unwrap().code, "engine_timeout", "{}", world.name);
        assert_eq!(world.directories(), 0);
        assert_eq!(world.channel(order.channel).await.state, ChannelState::Failed);
    }
}

#[tokio::test]
async fn an_order_for_a_profile_the_engine_does_not_serve_fails_and_says_so() {
    for (_db, world) in World::all().await {
        world.engine.ignorant.store(true, Ordering::SeqCst);
        let order = world.order_channel(Direction::Out).await;
        world.settle(&world.worker()).await;
        assert_eq!(world.order(order.id).await.error.unwrap().code, "unknown_technology");
        assert_eq!(world.directories(), 0);
    }
}

#[tokio::test]
async fn the_order_of_a_tenant_that_was_suspended_meanwhile_fails() {
    for (_db, world) in World::all().await {
        let order = world.order_channel(Direction::Out).await;
        world.suspend_tenant().await;
        world.settle(&world.worker()).await;
        let order = world.order(order.id).await;
        assert_eq!(order.error.unwrap().code, "tenant_suspended", "{}", world.name);
        assert_eq!(world.channel(order.channel).await.state, ChannelState::Failed);
    }
}
