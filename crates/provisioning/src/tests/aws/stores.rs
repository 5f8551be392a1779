//! What the stores themselves say: policies and settings of buckets and queues.

use std::collections::HashMap;

use aws_sdk_sqs::types::QueueAttributeName;
use headgate_types::OrderId;
use headgate_types::channel::Direction;
use serde_json::{Value, json};

use super::Account;
use super::driver::{SPARK, THIEF, binding, ensure, spec};
use crate::driver::{Admission, Driver, ResourceSpec};

/// Every attribute of a queue, by its `sqs://` address.
async fn attributes(account: &Account, url: &str) -> HashMap<String, String> {
    let place = url.strip_prefix("sqs://").unwrap().split_once('/').unwrap().1;
    let sqs = aws_sdk_sqs::Client::new(account.config());
    let asked = sqs.get_queue_attributes().queue_url(format!("{}/{place}", account.url));
    let answer = asked.attribute_names(QueueAttributeName::All).send().await.unwrap();
    answer.attributes.unwrap().into_iter().map(|(name, value)| (name.as_str().to_owned(), value)).collect()
}

#[tokio::test]
async fn however_many_clients_there_are_the_policies_of_a_store_name_none_of_them() {
    let Some(account) = Account::start().await else { return };
    let driver = account.driver();
    let driver = driver.as_ref();
    for direction in [Direction::In, Direction::Out] {
        for profile in ["file", "queue"] {
            let (first, by_role) = (spec(direction, profile), spec(direction, profile));
            let by_role = ResourceSpec { client_principal: Some(SPARK.to_owned()), ..by_role };
            for spec in [&first, &by_role] {
                ensure(driver, spec).await.unwrap();
            }
            let before = [store_policy(&account, &first).await, store_policy(&account, &by_role).await];
            // More clients of every kind, more keys, another size.
            for _ in 0..3 {
                let other = ResourceSpec { client_principal: Some(THIEF.to_owned()), ..spec(direction, profile) };
                ensure(driver, &other).await.unwrap();
                ensure(driver, &spec(direction, profile)).await.unwrap();
            }
            let Admission::Key(key) = driver.admit(first.tenant, first.channel, &[]).await.unwrap() else { panic!() };
            driver.admit(first.tenant, first.channel, &[key.id]).await.unwrap();
            let larger = ResourceSpec { size: "M".to_owned(), order: OrderId::new(), ..first.clone() };
            ensure(driver, &larger).await.unwrap();
            let after = [store_policy(&account, &first).await, store_policy(&account, &by_role).await];
            assert_eq!(before, after, "data-{direction}/{profile}");
            for (spec, policy) in [&first, &by_role].into_iter().zip(&after) {
                let policy: Value = serde_json::from_str(policy).unwrap();
                for statement in policy["Statement"].as_array().unwrap() {
                    // Nobody is let in by a store but the service that announces what was put.
                    let service = statement["Principal"] == json!({"Service": "s3.amazonaws.com"});
                    assert!(statement["Effect"] == "Deny" && statement["Principal"] == "*" || service, "{policy:#}");
                }
                let (own, text) = (spec.channel.uuid().simple().to_string(), policy.to_string());
                let names =
                    text.match_indices("headgate-ch-").all(|(at, found)| text[at + found.len()..].starts_with(&own));
                assert!(names && !text.contains("222222222222"), "{policy:#}");
            }
        }
    }
}

/// The policy of the store that holds a channel's data.
async fn store_policy(account: &Account, spec: &ResourceSpec) -> String {
    let url = binding(account.driver().as_ref(), spec).await.url;
    if let Some(bucket) = url.strip_prefix("s3://") {
        let config = aws_sdk_s3::config::Builder::from(account.config()).force_path_style(true).build();
        let answer = aws_sdk_s3::Client::from_conf(config).get_bucket_policy().bucket(bucket).send().await.unwrap();
        return answer.policy.unwrap();
    }
    attributes(account, &url).await["Policy"].clone()
}

#[tokio::test]
async fn a_queue_hides_and_sets_aside_as_ordered_and_else_as_its_size_says_and_never_changes_its_order() {
    let Some(account) = Account::start().await else { return };
    let driver = account.driver();
    let driver = driver.as_ref();
    let with = |parameters: Value| {
        let parameters = serde_json::from_value(parameters).unwrap();
        ResourceSpec { parameters, ..spec(Direction::Out, "queue") }
    };
    let settings = async |spec: &ResourceSpec| {
        let attributes = attributes(&account, &binding(driver, spec).await.url).await;
        let redrive: Value = serde_json::from_str(&attributes["RedrivePolicy"]).unwrap();
        (attributes["VisibilityTimeout"].clone(), redrive["maxReceiveCount"].to_string().replace('"', ""))
    };
    let plain = with(json!({}));
    let ordered = with(json!({"VisibilitySeconds": 7, "MaxReceives": 3, "Ordered": true}));
    for (spec, small, large) in [(plain, ("60", "5"), ("120", "5")), (ordered, ("7", "3"), ("7", "3"))] {
        ensure(driver, &spec).await.unwrap();
        let pair = |(visibility, receives): (&str, &str)| (visibility.to_owned(), receives.to_owned());
        assert_eq!(settings(&spec).await, pair(small));
        let url = binding(driver, &spec).await.url;
        // The profile's parameters say something else by now.
        let mut larger = ResourceSpec { size: "L".to_owned(), order: OrderId::new(), attempt: 1, ..spec.clone() };
        match larger.parameters.shift_remove("Ordered") {
            Some(_) => {}
            None => drop(larger.parameters.insert("Ordered".to_owned(), json!(true))),
        }
        ensure(driver, &larger).await.unwrap();
        assert_eq!((settings(&larger).await, binding(driver, &larger).await.url), (pair(large), url));
    }
}
