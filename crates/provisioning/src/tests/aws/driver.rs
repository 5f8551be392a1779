//! What every driver promises, and what only this one does.

use headgate_types::channel::{Binding, CloudClient, Direction};
use serde_json::json;

use super::Account;
use crate::driver::cloudformation::PROFILES;
use crate::driver::{Admission, Driver, DriverError, Ensured, Observed, Released, ResourceSpec, conformance};

/// Roles of an account that is not the platform's.
pub(super) const SPARK: &str = "arn:aws:iam::222222222222:role/spark";
pub(super) const THIEF: &str = "arn:aws:iam::222222222222:role/thief";

pub(super) fn spec(direction: Direction, profile: &str) -> ResourceSpec {
    ResourceSpec { direction, profile: profile.to_owned(), ..conformance::sample() }
}

/// Asks until the resource is there or the driver fails.
pub(super) async fn ensure(driver: &dyn Driver, spec: &ResourceSpec) -> Result<(), DriverError> {
    while let Ensured::Pending { after, .. } = driver.ensure(spec).await? {
        tokio::time::sleep(after).await;
    }
    Ok(())
}

pub(super) async fn release(driver: &dyn Driver, spec: &ResourceSpec) -> Result<(), DriverError> {
    while let Released::Pending { after, .. } = driver.release(spec.tenant, spec.channel).await? {
        tokio::time::sleep(after).await;
    }
    Ok(())
}

/// Where the channel's data is; the resource has to be whole.
pub(super) async fn binding(driver: &dyn Driver, spec: &ResourceSpec) -> Binding {
    match driver.observe(spec.tenant, spec.channel).await.unwrap() {
        Observed::Present(binding) => binding,
        other => panic!("{other:?}"),
    }
}

async fn conforms(direction: Direction) {
    let Some(account) = Account::start().await else { return };
    for profile in PROFILES {
        let driver = account.driver();
        conformance::check(driver.as_ref(), direction, profile)
            .await
            .unwrap_or_else(|broken| panic!("{profile}: {broken}"));
        assert_eq!(account.left().await, Default::default(), "data-{direction}/{profile}");
    }
}

#[tokio::test]
async fn the_cloudformation_driver_keeps_every_promise_of_a_driver_for_data_out() {
    conforms(Direction::Out).await;
}

#[tokio::test]
async fn the_cloudformation_driver_keeps_every_promise_of_a_driver_for_data_in() {
    conforms(Direction::In).await;
}

#[tokio::test]
async fn a_binding_says_where_the_data_is_and_who_may_get_at_it() {
    let Some(account) = Account::start().await else { return };
    let driver = account.driver();
    let found = async |spec: &ResourceSpec| {
        ensure(driver.as_ref(), spec).await.unwrap();
        binding(driver.as_ref(), spec).await
    };
    let mut file = spec(Direction::In, "file");
    file.client_principal = Some(SPARK.to_owned());
    let name = format!("headgate-ch-{}", file.channel.uuid().simple());
    let binding = found(&file).await;
    let cloud = binding.cloud.unwrap();
    assert_eq!(binding.url, format!("s3://{name}-123456789012"));
    assert_eq!((cloud.region.as_str(), cloud.external_id), ("us-east-1", file.channel.to_string()));
    assert!(cloud.role.starts_with("arn:aws:iam::123456789012:role/headgate/test/"), "{}", cloud.role);
    assert!(cloud.further["notifications"].starts_with("sqs://us-east-1/123456789012/"), "{:?}", cloud.further);
    assert!(matches!(&cloud.client, CloudClient::Role { external_id, .. } if *external_id == file.channel.to_string()));
    assert!(matches!(driver.admit(file.tenant, file.channel, &[]).await.unwrap(), Admission::Role));

    let queue = spec(Direction::Out, "queue");
    let name = format!("headgate-ch-{}", queue.channel.uuid().simple());
    let binding = found(&queue).await;
    assert_eq!(binding.url, format!("sqs://us-east-1/123456789012/{name}-records"));
    let cloud = binding.cloud.unwrap();
    assert_eq!(cloud.further["dead_letters"], format!("sqs://us-east-1/123456789012/{name}-dead"));
    assert!(matches!(cloud.client, CloudClient::User { .. }));

    let stream = spec(Direction::Out, "stream");
    let name = format!("headgate-ch-{}", stream.channel.uuid().simple());
    assert_eq!(found(&stream).await.url, format!("kinesis://us-east-1/{name}"));
}

#[tokio::test]
async fn two_installations_share_an_account_without_seeing_each_other() {
    let Some(account) = Account::start().await else { return };
    let (mine, other) = (account.driver(), account.driver_with("other", crate::failpoint::NoFailpoints::shared()));
    let spec = spec(Direction::Out, "queue");
    ensure(mine.as_ref(), &spec).await.unwrap();
    assert_eq!(other.list().await.unwrap(), []);
    assert_eq!(other.observe(spec.tenant, spec.channel).await.unwrap(), Observed::Absent);
    assert!(other.ensure(&spec).await.is_err() && other.release(spec.tenant, spec.channel).await.is_err());
    assert_eq!(mine.list().await.unwrap(), [spec.channel]);
}

#[tokio::test]
async fn the_events_of_a_stack_are_the_progress_of_its_order() {
    let Some(account) = Account::start().await else { return };
    account.fault(json!({"resource": "PlatformRole", "operation": "create", "effect": "hold"})).await;
    let (driver, spec) = (account.driver(), spec(Direction::Out, "file"));
    let mut last = 0;
    loop {
        let Ensured::Pending { message, progress, .. } = driver.ensure(&spec).await.unwrap() else {
            panic!("it is held")
        };
        let progress = progress.unwrap();
        assert!(progress.done >= last && progress.unit == "resources", "{progress:?} after {last}");
        assert!(progress.total.unwrap() > progress.done, "{progress:?}");
        last = progress.done;
        if message.ends_with(": PlatformRole") {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(last >= 4, "everything before the role is done: {last}");
    account.no_faults().await;
    ensure(driver.as_ref(), &spec).await.unwrap();
}

#[tokio::test]
async fn a_bucket_is_emptied_of_every_version_before_it_goes() {
    let Some(account) = Account::start().await else { return };
    let (driver, spec) = (account.driver(), spec(Direction::In, "file"));
    ensure(driver.as_ref(), &spec).await.unwrap();
    let bucket = account.left().await["buckets"][0].clone();
    let s3 = aws_sdk_s3::Client::from_conf(
        aws_sdk_s3::config::Builder::from(account.config()).force_path_style(true).build(),
    );
    for number in 0..1_050 {
        s3.put_object()
            .bucket(&bucket)
            .key(format!("part-{number}"))
            .body(b"rows".to_vec().into())
            .send()
            .await
            .unwrap();
    }
    s3.put_object().bucket(&bucket).key("part-0").body(b"again".to_vec().into()).send().await.unwrap();
    s3.delete_object().bucket(&bucket).key("part-1").send().await.unwrap();
    release(driver.as_ref(), &spec).await.unwrap();
    assert_eq!(account.left().await, Default::default());
}
