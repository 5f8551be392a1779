//! The rights of the platform's own role: `templates/platform-role.yaml`.

use std::collections::{BTreeMap, BTreeSet};

use headgate_types::OrderId;
use headgate_types::channel::{Binding, Direction};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use serde_yaml_ng::Value as Yaml;

use super::Account;
use super::account::PLATFORM_ROLE;
use super::driver::{ensure, release, spec};
use crate::driver::cloudformation::PROFILES;
use crate::driver::{Admission, Driver, Observed, ResourceSpec};

const ROLE: &str = include_str!("../../../../../templates/platform-role.yaml");
const GUIDE: &str = include_str!("../../../../../docs/aws.md");
const SPARK: &str = "arn:aws:iam::222222222222:role/spark";

/// What the template allows, as (statement, action), and the actions that no test is expected to see, with why.
fn written() -> (BTreeSet<(String, String)>, BTreeMap<String, String>) {
    let text = |value: &Yaml| value.as_str().unwrap().to_owned();
    let template: Yaml = serde_yaml_ng::from_str(ROLE).unwrap();
    let (mut rights, mut not_seen) = (BTreeSet::new(), BTreeMap::new());
    for name in ["OwnPolicy", "StackPolicy"] {
        let resource = &template["Resources"][name];
        for statement in resource["Properties"]["PolicyDocument"]["Statement"].as_sequence().unwrap() {
            let actions = &statement["Action"];
            let actions = actions.as_sequence().cloned().unwrap_or_else(|| vec![actions.clone()]);
            rights.extend(actions.iter().map(|action| (text(&statement["Sid"]), text(action))));
        }
        let reasons = resource.get("Metadata").and_then(|metadata| metadata.get("NotSeen")).and_then(Yaml::as_mapping);
        not_seen.extend(reasons.into_iter().flatten().map(|(action, why)| (text(action), text(why))));
    }
    (rights, not_seen)
}

/// What a channel is bound to.
async fn binding(driver: &dyn Driver, spec: &ResourceSpec) -> Binding {
    match driver.observe(spec.tenant, spec.channel).await.unwrap() {
        Observed::Present(binding) => binding,
        other => panic!("{other:?}"),
    }
}

/// The platform under the role of a channel.
async fn mover(driver: &dyn Driver, spec: &ResourceSpec, people: &Value) -> Value {
    let cloud = binding(driver, spec).await.cloud.unwrap();
    let role = json!({"arn": cloud.role, "external_id": cloud.external_id});
    let operator = &people["operator"];
    json!({"id": operator["id"], "secret": operator["secret"], "roles": [{"arn": PLATFORM_ROLE}, role]})
}

/// An object put into a channel's bucket by whoever fills it.
async fn put(driver: &dyn Driver, spec: &ResourceSpec, client: &Value, people: &Value) -> Value {
    let url = binding(driver, spec).await.url;
    let bucket = url.strip_prefix("s3://").unwrap();
    let who = if spec.direction == Direction::In { client.clone() } else { mover(driver, spec, people).await };
    json!({"as": who, "service": "s3", "call": "put_object", "with": {"Bucket": bucket, "Key": "files/1", "Body": "x"}})
}

#[tokio::test]
async fn the_platforms_role_may_do_all_that_channels_need_and_nothing_that_no_channel_does() {
    let Some(mut account) = Account::start().await else { return };
    let people = account.enforce().await;
    let driver = account.driver();
    let driver = driver.as_ref();
    for direction in [Direction::In, Direction::Out] {
        for profile in PROFILES {
            let keys = spec(direction, profile);
            let by_role = ResourceSpec { client_principal: Some(SPARK.to_owned()), ..spec(direction, profile) };
            for spec in [&keys, &by_role] {
                ensure(driver, spec).await.unwrap();
            }
            assert_eq!(driver.list().await.unwrap().len(), 2);
            let Admission::Key(key) = driver.admit(keys.tenant, keys.channel, &[]).await.unwrap() else { panic!() };
            let client = json!({"id": key.id, "secret": key.secret.expose_secret()});
            driver.admit(keys.tenant, keys.channel, &[key.id]).await.unwrap();
            for spec in [&keys, &by_role] {
                let who = mover(driver, spec, &people).await;
                let job = json!({"as": who, "service": "sts", "call": "get_caller_identity", "with": {}});
                assert_eq!(account.client(&[job]).await, ["ok"], "{direction}/{profile}");
            }
            if profile == "file" {
                assert_eq!(account.client(&[put(driver, &keys, &client, &people).await]).await, ["ok"]);
            }
            for (attempt, size) in [(2, "M"), (3, "S")] {
                let other = ResourceSpec { size: size.to_owned(), attempt, order: OrderId::new(), ..keys.clone() };
                ensure(driver, &other).await.unwrap();
            }
            if profile == "queue" {
                // An update that fails, and its way back once, too.
                let (role, queue) = (("PlatformRole", 0), ("Queue", 1));
                for (resource, after) in [role, queue] {
                    let fault = json!({"resource": resource, "operation": "update", "effect": "fail",
                        "after": after, "times": 1});
                    account.fault(fault).await;
                }
                let larger = ResourceSpec { size: "L".to_owned(), order: OrderId::new(), ..keys.clone() };
                let mut attempt = 0;
                while let Err(error) = ensure(driver, &ResourceSpec { attempt, ..larger.clone() }).await {
                    assert!(attempt < 4, "{error}");
                    attempt += 1;
                }
                account.no_faults().await;
            }
            for spec in [&keys, &by_role] {
                driver.expel(spec.tenant, spec.channel).await.unwrap();
                release(driver, spec).await.unwrap();
            }
        }
    }
    assert!(account.asked("cloudformation:ContinueUpdateRollback").await > 0);

    let (rights, not_seen) = written();
    let used: BTreeSet<(String, String)> = account.used().await.into_iter().collect();
    let spare: BTreeSet<&str> = rights.difference(&used).map(|(_, action)| action.as_str()).collect();
    assert_eq!(spare, not_seen.keys().map(String::as_str).collect(), "a right that is not used has its reason");
    assert!(not_seen.values().all(|why| why.len() > 20));
    assert!(used.is_subset(&rights), "what was used was allowed by the template alone: {used:?}");
    assert!(rights.iter().all(|(_, action)| !action.contains('*')));
}

#[tokio::test]
async fn the_platforms_role_reaches_nothing_but_channels_and_makes_nothing_by_itself() {
    let Some(mut account) = Account::start().await else { return };
    let people = account.enforce().await;
    let (driver, spec) = (account.driver(), spec(Direction::Out, "file"));
    ensure(driver.as_ref(), &spec).await.unwrap();
    let left = account.left().await;
    let (bucket, user) = (left["buckets"][0].clone(), &left["users"]);
    let user = user.iter().find(|name| name.starts_with("headgate-ch-")).unwrap();
    let who = json!({"id": people["operator"]["id"], "secret": people["operator"]["secret"],
        "roles": [{"arn": PLATFORM_ROLE}]});
    let anything = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}"#;
    let path = "/headgate/test/";
    let tries = [
        // What only CloudFormation does in its name.
        ("iam", "create_user", json!({"UserName": "mine", "Path": path})),
        ("iam", "create_policy", json!({"PolicyName": "mine", "Path": path, "PolicyDocument": anything})),
        ("iam", "create_role", json!({"RoleName": "mine", "Path": path, "AssumeRolePolicyDocument": anything})),
        (
            "iam",
            "attach_user_policy",
            json!({"UserName": user, "PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}),
        ),
        ("iam", "put_user_policy", json!({"UserName": user, "PolicyName": "mine", "PolicyDocument": anything})),
        ("s3", "create_bucket", json!({"Bucket": "headgate-ch-mine"})),
        ("s3", "put_bucket_policy", json!({"Bucket": bucket, "Policy": anything})),
        ("sqs", "create_queue", json!({"QueueName": "headgate-ch-mine"})),
        ("kinesis", "create_stream", json!({"StreamName": "headgate-ch-mine", "ShardCount": 1})),
        // What belongs to a channel's own role.
        ("s3", "get_object", json!({"Bucket": bucket, "Key": "manifest.json"})),
        ("s3", "put_object", json!({"Bucket": bucket, "Key": "files/mine", "Body": "x"})),
        // What belongs to nobody here.
        ("iam", "create_access_key", json!({"UserName": "operator"})),
        ("iam", "list_users", json!({})),
        ("sts", "assume_role", json!({"RoleArn": "arn:aws:iam::123456789012:role/other", "RoleSessionName": "mine"})),
        ("s3", "list_object_versions", json!({"Bucket": "lake"})),
        ("cloudformation", "delete_stack", json!({"StackName": "accounting"})),
    ];
    let jobs = tries.map(|(service, call, with)| json!({"as": who, "service": service, "call": call, "with": with}));
    let came_to = account.client(&jobs).await;
    for (job, outcome) in jobs.iter().zip(&came_to) {
        assert_eq!(outcome, "refused", "{job}");
    }
    release(driver.as_ref(), &spec).await.unwrap();
}

#[test]
fn the_guide_names_the_template_of_the_role_and_every_right_that_headgate_itself_asks_for() {
    assert!(GUIDE.contains("templates/platform-role.yaml"));
    let (rights, _) = written();
    let own = ["Stacks", "Find", "Keys", "Expel", "Look", "Empty", "Move"];
    for (statement, action) in rights {
        let (_, verb) = action.split_once(':').unwrap();
        assert!(!own.contains(&statement.as_str()) || GUIDE.contains(&format!("`{verb}`")), "{action}");
    }
}
