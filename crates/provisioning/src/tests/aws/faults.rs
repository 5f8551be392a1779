//! An account that fails, forgets and asks to slow down.

use std::time::Duration;

use headgate_types::channel::{ChannelState, Direction};
use serde_json::json;

use super::Account;
use super::driver::{ensure, release, spec};
use super::world::Cloud;
use crate::Sweep;
use crate::driver::{Driver, DriverError, Ensured, Observed, ResourceSpec};
use crate::orders::{ChannelChange, OrderRequest, OrderState, PinnedSize, StepName};

fn retried(result: Result<(), DriverError>) -> String {
    match result {
        Err(DriverError::Retry { message, .. }) => message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_creation_that_fails_is_rolled_back_told_and_tried_again() {
    let Some(account) = Account::start().await else { return };
    let (driver, mut spec) = (account.driver(), spec(Direction::Out, "queue"));
    account
        .fault(json!({"resource": "ClientPolicy", "operation": "create", "effect": "fail", "message": "Slots are full", "times": 1}))
        .await;
    let told = retried(ensure(driver.as_ref(), &spec).await);
    assert!(told.contains("ClientPolicy: Slots are full"), "{told}");
    spec.attempt = 1;
    ensure(driver.as_ref(), &spec).await.unwrap();
    assert_eq!(account.left().await["stacks"].len(), 1);
    release(driver.as_ref(), &spec).await.unwrap();
    assert_eq!(account.left().await, Default::default());
}

#[tokio::test]
async fn a_rollback_that_fails_too_is_removed_before_the_next_try() {
    let Some(account) = Account::start().await else { return };
    let (driver, spec) = (account.driver(), spec(Direction::Out, "queue"));
    account.fault(json!({"resource": "ClientPolicy", "operation": "create", "effect": "fail", "times": 1})).await;
    account.fault(json!({"resource": "Queue", "operation": "delete", "effect": "fail", "times": 1})).await;
    retried(ensure(driver.as_ref(), &spec).await);
    ensure(driver.as_ref(), &ResourceSpec { attempt: 1, ..spec }).await.unwrap();
}

#[tokio::test]
async fn a_principal_that_does_not_exist_ends_the_order_at_once() {
    let Some(account) = Account::start().await else { return };
    let (driver, mut spec) = (account.driver(), spec(Direction::Out, "queue"));
    spec.client_principal = Some("arn:aws:iam::222222222222:role/nobody".to_owned());
    account
        .fault(json!({"resource": "ClientRole", "operation": "create", "effect": "fail", "message": "Invalid principal in policy"}))
        .await;
    let Err(DriverError::Permanent { code, .. }) = ensure(driver.as_ref(), &spec).await else { panic!() };
    assert_eq!(code, "client_principal_refused");
    release(driver.as_ref(), &spec).await.unwrap();
    assert_eq!(account.left().await, Default::default());
}

#[tokio::test]
async fn an_update_that_fails_is_told_once_and_tried_again_by_the_next_attempt() {
    let Some(account) = Account::start().await else { return };
    let (driver, spec) = (account.driver(), spec(Direction::Out, "queue"));
    ensure(driver.as_ref(), &spec).await.unwrap();
    let larger = ResourceSpec { size: "L".to_owned(), ..spec.clone() };
    account
        .fault(
            json!({"resource": "PlatformRole", "operation": "update", "effect": "fail", "message": "no", "times": 1}),
        )
        .await;
    // Another order, so that the role is changed: its tags name the order.
    let larger = ResourceSpec { order: headgate_types::OrderId::new(), ..larger };
    for _ in 0..2 {
        // Asked again, as after a crash, it is the same failure and not another update.
        let told = retried(ensure(driver.as_ref(), &larger).await);
        assert!(told.contains("PlatformRole: no"), "{told}");
    }
    assert_eq!(account.asked("cloudformation:UpdateStack").await, 1);
    ensure(driver.as_ref(), &ResourceSpec { attempt: 1, ..larger }).await.unwrap();
    assert_eq!(account.asked("cloudformation:UpdateStack").await, 2);
}

#[tokio::test]
async fn an_update_whose_way_back_fails_is_continued() {
    let Some(account) = Account::start().await else { return };
    let (driver, spec) = (account.driver(), spec(Direction::Out, "queue"));
    ensure(driver.as_ref(), &spec).await.unwrap();
    account.fault(json!({"resource": "PlatformRole", "operation": "update", "effect": "fail", "times": 1})).await;
    account.fault(json!({"resource": "Queue", "operation": "update", "effect": "fail", "after": 1, "times": 1})).await;
    let larger = ResourceSpec { size: "L".to_owned(), order: headgate_types::OrderId::new(), ..spec };
    retried(ensure(driver.as_ref(), &larger).await);
    // The next look finds the stack back where it was, the one after that updates it.
    let mut attempt = 1;
    while let Err(error) = ensure(driver.as_ref(), &ResourceSpec { attempt, ..larger.clone() }).await {
        assert!(attempt < 4, "{error}");
        attempt += 1;
    }
    assert!(account.asked("cloudformation:ContinueUpdateRollback").await >= 1);
}

#[tokio::test]
async fn a_removal_that_fails_is_told_and_goes_on() {
    let Some(account) = Account::start().await else { return };
    let (driver, spec) = (account.driver(), spec(Direction::Out, "queue"));
    ensure(driver.as_ref(), &spec).await.unwrap();
    account
        .fault(json!({"resource": "Queue", "operation": "delete", "effect": "fail", "message": "in use", "times": 1}))
        .await;
    // The failure is told after the next removal was asked for; held, it cannot end before the look.
    account.fault(json!({"resource": "Queue", "operation": "delete", "effect": "hold"})).await;
    let told = retried(release(driver.as_ref(), &spec).await);
    assert!(told.contains("Queue: in use"), "{told}");
    assert_eq!(driver.observe(spec.tenant, spec.channel).await.unwrap(), Observed::Partial);
    account.no_faults().await;
    release(driver.as_ref(), &spec).await.unwrap();
    assert_eq!(account.left().await, Default::default());
}

#[tokio::test]
async fn a_stack_that_is_being_made_can_be_removed_at_once() {
    let Some(account) = Account::start().await else { return };
    let (driver, spec) = (account.driver(), spec(Direction::Out, "file"));
    account.fault(json!({"resource": "ClientUser", "operation": "create", "effect": "hold"})).await;
    assert!(matches!(driver.ensure(&spec).await.unwrap(), Ensured::Pending { .. }));
    driver.release(spec.tenant, spec.channel).await.unwrap();
    account.no_faults().await;
    release(driver.as_ref(), &spec).await.unwrap();
    assert_eq!(account.left().await, Default::default());
}

#[tokio::test]
async fn lost_requests_and_answers_make_nothing_twice() {
    let Some(account) = Account::start().await else { return };
    let (driver, spec) = (account.driver(), spec(Direction::Out, "file"));
    for effect in ["lose_request", "lose_answer"] {
        for action in ["CreateStack", "DescribeStacks", "UpdateStack", "DeleteStack", "ListStackResources"] {
            account.fault(json!({"service": "cloudformation", "action": action, "effect": effect, "times": 1})).await;
        }
    }
    ensure(driver.as_ref(), &spec).await.unwrap();
    ensure(driver.as_ref(), &ResourceSpec { size: "M".to_owned(), ..spec.clone() }).await.unwrap();
    let left = account.left().await;
    assert_eq!((left["stacks"].len(), left["buckets"].len()), (1, 1));
    release(driver.as_ref(), &spec).await.unwrap();
    assert_eq!(account.left().await, Default::default());
}

#[tokio::test]
async fn a_stack_that_is_not_seen_yet_is_not_made_twice() {
    let Some(account) = Account::start().await else { return };
    let (driver, spec) = (account.driver(), spec(Direction::Out, "queue"));
    assert!(matches!(driver.ensure(&spec).await.unwrap(), Ensured::Pending { .. }));
    // What was just made is not seen by every reader at once.
    account
        .fault(json!({"service": "cloudformation", "action": "DescribeStacks", "effect": "refuse", "times": 3,
            "code": "ValidationError", "message": "Stack with id x does not exist"}))
        .await;
    ensure(driver.as_ref(), &spec).await.unwrap();
    assert_eq!(account.left().await["stacks"].len(), 1);
}

#[tokio::test]
async fn an_account_that_asks_to_slow_down_costs_time_and_no_attempts() {
    let Some(cloud) = Cloud::new().await else { return };
    let throttle = |action: &str| json!({"service": "cloudformation", "action": action, "effect": "throttle"});
    for action in ["CreateStack", "DescribeStacks"] {
        cloud.account.fault(throttle(action)).await;
    }
    let order = cloud.world.order_of(Direction::Out, "file", None).await;
    let seen = async || {
        let steps = cloud.world.order(order.id).await.steps;
        steps.iter().any(|step| step.message.as_deref() == Some("AWS asks to slow down"))
    };
    let worker = cloud.worker();
    cloud.until(|| worker.clone(), seen).await;
    cloud.account.no_faults().await;
    cloud.settle(&worker).await;
    let order = cloud.world.order(order.id).await;
    assert_eq!(order.state, OrderState::Succeeded, "{:?}", order.error);
    assert!(order.steps.iter().all(|step| step.attempts == 0), "{:?}", order.steps);
}

#[tokio::test]
async fn an_order_that_cannot_be_had_fails_with_the_reason_and_leaves_nothing() {
    let Some(cloud) = Cloud::new().await else { return };
    cloud
        .account
        .fault(json!({"resource": "Bucket", "operation": "create", "effect": "fail", "message": "LimitExceeded"}))
        .await;
    let order = cloud.world.order_of(Direction::Out, "file", None).await;
    cloud.settle(&cloud.worker()).await;
    let error = cloud.world.order(order.id).await.error.unwrap();
    assert_eq!(error.step, StepName::Provision);
    assert!(error.detail.contains("Bucket: LimitExceeded") && error.leftovers.is_empty(), "{error:?}");
    assert_eq!(cloud.world.channel(order.channel).await.state, ChannelState::Failed);
    assert_eq!(cloud.account.left().await, Default::default());
}

#[tokio::test]
async fn a_change_that_is_withdrawn_on_its_way_goes_back_to_where_it_was() {
    let Some(cloud) = Cloud::new().await else { return };
    let channel = cloud.active("stream").await;
    let worker = cloud.worker();
    let size = PinnedSize::of(&worker.parts.profiles, Direction::Out, "stream", "L").unwrap();
    // The first step of the way from 3 to 50 shards does not end before the order is withdrawn.
    cloud.account.fault(json!({"resource": "Stream", "operation": "update", "effect": "hold"})).await;
    let change = OrderRequest::Change(ChannelChange { size: Some(size), ..ChannelChange::default() });
    let order = cloud.place(channel, change).await;
    let running = async || cloud.account.asked("cloudformation:UpdateStack").await == 1;
    cloud.until(|| worker.clone(), running).await;
    cloud.world.cancel(order.id).await.unwrap();
    cloud.account.no_faults().await;
    cloud.settle(&worker).await;
    let channel = cloud.world.channel(channel).await;
    assert_eq!((channel.size.as_str(), channel.state), ("S", ChannelState::Active));
    let parameters = stack_parameters(&cloud.account).await;
    assert_eq!((parameters["Size"].as_str(), parameters["ShardStep"].as_str()), ("S", "0"));
}

async fn stack_parameters(account: &Account) -> std::collections::BTreeMap<String, String> {
    let client = aws_sdk_cloudformation::Client::new(account.config());
    let stacks = client.describe_stacks().send().await.unwrap().stacks.unwrap();
    let pairs = stacks[0].parameters().iter();
    pairs.map(|one| (one.parameter_key().unwrap().to_owned(), one.parameter_value().unwrap().to_owned())).collect()
}

#[tokio::test]
async fn a_stack_that_was_not_seen_when_its_channel_went_is_swept_by_its_tags() {
    let Some(cloud) = Cloud::new().await else { return };
    let channel = cloud.active("file").await;
    // Nobody sees the stack until the order is over.
    cloud
        .account
        .fault(json!({"service": "cloudformation", "action": "DescribeStacks", "effect": "refuse",
            "code": "ValidationError", "message": "Stack with id x does not exist"}))
        .await;
    cloud.done(channel, OrderRequest::Delete).await;
    cloud.account.no_faults().await;
    assert_eq!(cloud.account.left().await["stacks"].len(), 1);
    let other = super::driver::spec(Direction::Out, "queue");
    ensure(cloud.account.driver().as_ref(), &other).await.unwrap();
    let sweep = Sweep::new(cloud.worker());
    for _ in 0..2_000 {
        sweep.run_once().await.unwrap();
        if cloud.account.left().await["stacks"].len() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let left = cloud.account.left().await;
    let name = format!("headgate-ch-{}", other.channel.uuid().simple());
    assert_eq!(left["stacks"], [name], "what no row knows is not the sweep's");
    assert!(!left.contains_key("buckets"), "{left:?}");
}
