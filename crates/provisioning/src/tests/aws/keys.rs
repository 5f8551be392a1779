//! Keys and roles of clients, as a client sees them: with boto3 and with rights enforced.

use chrono::TimeDelta;
use headgate_access::{Principal, Scopes, TenantCaller};
use headgate_types::channel::{Binding, ChannelState, CloudClient, Direction};
use headgate_types::{ChannelId, ClientId};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

use super::Account;
use super::account::PLATFORM_ROLE;
use super::driver::{SPARK, THIEF, binding, ensure, spec};
use super::world::Cloud;
use crate::Sweep;
use crate::driver::cloudformation::PROFILES;
use crate::driver::{Admission, Driver};
use crate::failpoint::{Failpoint, Moment};
use crate::orders::{Order, OrderRequest, OrderState, Phase, StepName};
use crate::tests::crash::KillAt;

/// Credentials for jobs.
fn by(person: &Value, roles: &[(&str, Option<&str>)]) -> Value {
    let role = |(arn, external_id): &(&str, Option<&str>)| match external_id {
        Some(id) => json!({"arn": arn, "external_id": id}),
        None => json!({"arn": arn}),
    };
    json!({"id": person["id"], "secret": person["secret"], "roles": roles.iter().map(role).collect::<Vec<_>>()})
}

/// The platform at work for one channel.
fn platform(people: &Value, binding: &Binding) -> Value {
    let cloud = binding.cloud.as_ref().unwrap();
    by(&people["operator"], &[(PLATFORM_ROLE, None), (&cloud.role, Some(&cloud.external_id))])
}

/// Writing one record into what a binding names, and reading from it.
fn put_and_take(account: &Account, binding: &Binding, who: &Value) -> [Value; 2] {
    let (scheme, rest) = binding.url.split_once("://").unwrap();
    let (_, place) = rest.split_once('/').unwrap_or(("", rest));
    let job = |call: &str, with: Value| {
        let service = if scheme == "sqs" || scheme == "kinesis" { scheme } else { "s3" };
        json!({"as": who, "service": service, "call": call, "with": with})
    };
    match scheme {
        "s3" => [
            job("put_object", json!({"Bucket": rest, "Key": "part-0", "Body": "rows"})),
            job("get_object", json!({"Bucket": rest, "Key": "part-0"})),
        ],
        "sqs" => {
            let queue = format!("{}/{place}", account.url);
            [
                job("send_message", json!({"QueueUrl": queue, "MessageBody": "row"})),
                job("receive_message", json!({"QueueUrl": queue, "WaitTimeSeconds": 0})),
            ]
        }
        _ => {
            let first = json!({"StreamName": place, "ShardId": "shardId-000000000000", "ShardIteratorType": "LATEST"});
            [
                job("put_record", json!({"StreamName": place, "Data": "row", "PartitionKey": "k"})),
                job("get_shard_iterator", first),
            ]
        }
    }
}

async fn isolated(direction: Direction) {
    let Some(mut account) = Account::start().await else { return };
    let people = account.enforce().await;
    for profile in PROFILES {
        let driver = account.driver();
        let specs = [spec(direction, profile), spec(direction, profile)];
        let mut sides = Vec::new();
        for spec in &specs {
            ensure(driver.as_ref(), spec).await.unwrap();
            let Admission::Key(key) = driver.admit(spec.tenant, spec.channel, &[]).await.unwrap() else { panic!() };
            let client = json!({"id": key.id, "secret": key.secret.expose_secret()});
            let binding = binding(driver.as_ref(), spec).await;
            sides.push((platform(&people, &binding), client, binding));
        }
        for (own, other) in [(0, 1), (1, 0)] {
            let (platform, client, binding) = &sides[own];
            let (writer, reader) = if direction == Direction::In { (client, platform) } else { (platform, client) };
            let [put, take] = put_and_take(&account, binding, writer);
            let [not_put, taken] = put_and_take(&account, binding, reader);
            let others = [platform, client].map(|who| put_and_take(&account, &sides[other].2, who));
            let mut jobs = vec![put, taken, not_put];
            let mut expected = vec!["ok", "ok", "refused"];
            if direction == Direction::In {
                jobs.push(take);
                expected.push("refused");
            }
            jobs.extend(others.into_iter().flatten());
            expected.extend(["refused"; 4]);
            for (service, call) in [("iam", "list_users"), ("s3", "list_buckets"), ("cloudformation", "list_stacks")] {
                jobs.push(json!({"as": client, "service": service, "call": call, "with": {}}));
                expected.push("refused");
            }
            assert_eq!(account.client(&jobs).await, expected, "data-{direction}/{profile}: {jobs:#?}");
        }
    }
}

#[tokio::test]
async fn a_key_the_driver_made_opens_its_own_data_out_channel_and_no_other() {
    isolated(Direction::Out).await;
}

#[tokio::test]
async fn a_key_the_driver_made_opens_its_own_data_in_channel_and_no_other() {
    isolated(Direction::In).await;
}

fn caller(cloud: &Cloud) -> TenantCaller {
    let (client, tenant) = (ClientId::new(), Some(cloud.world.tenant));
    let principal = Principal { client, tenant, scopes: Scopes::tenant(), subject: client.to_string(), issuer: None };
    principal.tenant_caller("request").unwrap()
}

/// The key that an order issued, revealed by its claim.
async fn revealed(cloud: &Cloud, order: &Order) -> Value {
    let order = cloud.world.order(order.id).await;
    let [credential] = &order.result.credentials[..] else { panic!("{:?}", order.result) };
    assert_eq!(credential.kind, "access_key");
    let revealed = cloud.world.access.reveal(&caller(cloud), credential.claim).await.unwrap();
    let again = cloud.world.access.reveal(&caller(cloud), credential.claim).await;
    assert!(again.is_err(), "a claim reveals once");
    let (id, secret) = (revealed.key_id.unwrap(), revealed.secret.expose_secret().to_owned());
    assert!(!format!("{order:?}").contains(&secret), "an order shows no secret");
    json!({"id": id, "secret": secret})
}

/// What reading comes to with each of these keys.
async fn reads(cloud: &Cloud, channel: ChannelId, keys: &[&Value]) -> Vec<String> {
    let binding = cloud.world.channel(channel).await.binding.unwrap();
    let jobs: Vec<_> = keys.iter().map(|key| put_and_take(&cloud.account, &binding, key)[1].clone()).collect();
    cloud.account.client(&jobs).await
}

const ENDED: &str = "InvalidClientTokenId";

#[tokio::test]
async fn a_client_reads_with_the_key_of_its_claim_until_that_is_rotated_away_or_the_channel_goes() {
    let Some(mut cloud) = Cloud::new().await else { return };
    let people = cloud.account.enforce().await;
    let order = cloud.world.order_of(Direction::Out, "file", None).await;
    let channel = order.channel;
    cloud.settle(&cloud.worker()).await;
    let endpoint = cloud.world.order(order.id).await.result.endpoint.unwrap();
    let binding = cloud.world.channel(channel).await.binding.unwrap();
    assert_eq!((endpoint.url, endpoint.host), (binding.url.clone(), None));
    let [put, _] = put_and_take(&cloud.account, &binding, &platform(&people, &binding));
    assert_eq!(cloud.account.client(&[put]).await, ["ok"]);

    let first = revealed(&cloud, &order).await;
    assert_eq!(reads(&cloud, channel, &[&first]).await, ["ok"]);

    let rotate = |grace_seconds| OrderRequest::RotateCredentials { grace_seconds };
    let second = revealed(&cloud, &cloud.done(channel, rotate(3_600)).await).await;
    assert_eq!(reads(&cloud, channel, &[&first, &second]).await, ["ok", "ok"], "both are good for a while");
    let third = revealed(&cloud, &cloud.done(channel, rotate(3_600)).await).await;
    assert_eq!(reads(&cloud, channel, &[&first, &second, &third]).await, [ENDED, "ok", "ok"], "two, never three");

    let sweep = Sweep::new(cloud.worker());
    sweep.run_once().await.unwrap();
    assert_eq!(reads(&cloud, channel, &[&second, &third]).await, ["ok", "ok"], "the grace is not over");
    cloud.world.clock.advance(TimeDelta::hours(2));
    sweep.run_once().await.unwrap();
    assert_eq!(reads(&cloud, channel, &[&second, &third]).await, [ENDED, "ok"], "the grace is over");
    let asked = cloud.account.asked("iam:ListAccessKeys").await;
    sweep.run_once().await.unwrap();
    assert_eq!(cloud.account.asked("iam:ListAccessKeys").await, asked, "nothing is due any more");

    let fourth = revealed(&cloud, &cloud.done(channel, rotate(0)).await).await;
    assert_eq!(reads(&cloud, channel, &[&third, &fourth]).await, [ENDED, "ok"], "without grace at once");

    // The key is gone before anything else is, while the last records still drain.
    cloud.world.engine.away.store(true, Ordering::SeqCst);
    let delete = cloud.place(channel, OrderRequest::Delete).await;
    let worker = cloud.worker();
    let draining = async || cloud.world.order(delete.id).await.step == Some(StepName::Drain);
    cloud.until(|| worker.clone(), draining).await;
    assert_eq!(reads(&cloud, channel, &[&fourth]).await, [ENDED]);
    assert_eq!(cloud.account.left().await["buckets"].len(), 1);
    cloud.world.engine.away.store(false, Ordering::SeqCst);
    cloud.settle(&worker).await;
    assert_eq!(cloud.world.channel(channel).await.state, ChannelState::Deleted);
    let left = cloud.account.left().await;
    assert!(!["stacks", "buckets", "policies"].iter().any(|kind| left.contains_key(*kind)), "{left:?}");
}

#[tokio::test]
async fn a_client_reads_from_its_own_account_by_the_role_it_ordered_and_nobody_else_does() {
    let Some(mut cloud) = Cloud::new().await else { return };
    let people = cloud.account.enforce().await;
    let order = cloud.world.order_of(Direction::Out, "file", Some(SPARK)).await;
    let other = cloud.world.order_of(Direction::Out, "file", Some(SPARK)).await;
    cloud.settle(&cloud.worker()).await;
    let result = cloud.world.order(order.id).await.result;
    assert_eq!(result.credentials, [], "there is no secret");
    let endpoint = result.endpoint.unwrap().cloud.unwrap();
    let (role, external_id) = (endpoint.role.unwrap(), endpoint.external_id.unwrap());
    let binding = cloud.world.channel(order.channel).await.binding.unwrap();
    assert!(matches!(&binding.cloud.as_ref().unwrap().client, CloudClient::Role { role: of, .. } if *of == role));
    let others = cloud.world.channel(other.channel).await.binding.unwrap();

    let as_client = |principal, external_id| by(&people["analyst"], &[(principal, None), (role.as_str(), external_id)]);
    let spark = as_client(SPARK, Some(external_id.as_str()));
    let read = |binding: &Binding, who: &Value| put_and_take(&cloud.account, binding, who)[1].clone();
    let jobs = [
        put_and_take(&cloud.account, &binding, &platform(&people, &binding))[0].clone(),
        read(&binding, &spark),
        read(&others, &spark),
        read(&binding, &as_client(SPARK, None)),
        read(&binding, &as_client(SPARK, Some(&others.cloud.as_ref().unwrap().external_id))),
        read(&binding, &as_client(THIEF, Some(external_id.as_str()))),
        read(&binding, &by(&people["analyst"], &[(SPARK, None)])),
        put_and_take(&cloud.account, &binding, &spark)[0].clone(),
    ];
    let refused = "refused";
    let expected = ["ok", "ok", refused, refused, refused, refused, refused, refused];
    assert_eq!(cloud.account.client(&jobs).await, expected);

    // The role loses its rights before the last records have drained.
    cloud.world.engine.away.store(true, Ordering::SeqCst);
    let delete = cloud.place(order.channel, OrderRequest::Delete).await;
    let worker = cloud.worker();
    let draining = async || cloud.world.order(delete.id).await.step == Some(StepName::Drain);
    cloud.until(|| worker.clone(), draining).await;
    assert_eq!(cloud.account.client(&[read(&binding, &spark)]).await, [refused]);
    cloud.world.engine.away.store(false, Ordering::SeqCst);
    cloud.settle(&worker).await;
    assert_eq!(cloud.account.left().await["stacks"].len(), 1, "the other's");
}

#[tokio::test]
async fn a_principal_is_refused_where_no_cloud_holds_the_channel() {
    let Some(cloud) = Cloud::new().await else { return };
    let order = cloud.world.order_of(Direction::Out, "api", Some(SPARK)).await;
    cloud.settle(&cloud.worker()).await;
    let error = cloud.world.order(order.id).await.error.unwrap();
    assert_eq!((error.code.as_str(), error.step), ("client_principal_unsupported", StepName::Provision));
}

#[tokio::test]
async fn a_key_that_was_made_and_never_written_down_is_ended_by_the_sweep() {
    let Some(cloud) = Cloud::new().await else { return };
    let channel = cloud.active("file").await;
    let order = cloud.place(channel, OrderRequest::RotateCredentials { grace_seconds: 60 }).await;
    let place = Failpoint::Step(Phase::Do, StepName::Rotate, Moment::Acted);
    let failpoints = KillAt::new([place]);
    let doomed = cloud.worker_with(failpoints.clone());
    while doomed.run_once().await.is_ok() {}
    assert_eq!(failpoints.left(), []);
    assert_eq!(cloud.account.left().await["keys"].len(), 2, "one that no row knows");
    // Nobody takes the order up again.
    cloud.world.cancel(order.id).await.unwrap();
    assert_eq!(cloud.world.order(order.id).await.state, OrderState::Cancelled);
    let sweep = Sweep::new(cloud.worker());
    sweep.run_once().await.unwrap();
    assert_eq!(cloud.account.left().await["keys"].len(), 2, "the dead worker still holds the lease");
    cloud.world.outlive_leases();
    sweep.run_once().await.unwrap();
    assert_eq!(cloud.account.left().await["keys"], cloud.known_keys(channel).await);
}
