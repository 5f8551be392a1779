//! The AWS side: the templates, the account of AWS that they are tried in (`tests/aws`), and a
//! Headgate that has its channels there.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::aws_account::{Account, PLATFORM_ROLE};
use crate::harness::{Options, Platform, Stage, eventually};

pub mod cloud;
mod crash;
mod delivered;
mod ended;
mod offered;
mod told;

async fn count(account: &Account, kind: &str) -> usize {
    account.left().await.get(kind).map_or(0, Vec::len)
}

/// Runs one file of `tests/aws` with pytest, in the Python that has moto.
fn pytest(file: &str) {
    let Ok(python) = std::env::var("HEADGATE_TEST_PYTHON") else {
        eprintln!("skipped: HEADGATE_TEST_PYTHON is not set");
        return;
    };
    let output = Command::new(python)
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "--show-capture=no", file])
        .current_dir(crate::tidy::root().join("tests/aws"))
        // Neither this machine's own account, if it has one, nor files beside the sources.
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| !name.to_string_lossy().starts_with("AWS_")))
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    // A file without tests ends well, too.
    assert!(output.status.success() && said.contains(" passed"), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_templates_keep_their_rules_and_name_only_the_channels_own() {
    pytest("test_templates.py");
}

#[test]
fn stacks_are_made_changed_and_removed_and_fail_as_asked() {
    pytest("test_stacks.py");
}

#[test]
fn credentials_of_a_channel_open_that_channel_only() {
    pytest("test_access.py");
}

#[test]
fn the_user_pool_of_our_template_is_protected_closed_and_strict_and_the_guide_deploys_it() {
    pytest("test_user_pool.py");
}

#[test]
fn no_policy_that_headgate_has_made_reaches_beyond_the_boundary_of_channels() {
    pytest("test_boundary.py");
}

#[test]
fn the_account_for_tests_refuses_what_it_does_not_understand() {
    pytest("test_shim.py");
}

#[tokio::test]
async fn a_profile_that_is_named_is_held_by_aws_and_every_other_stays_here() {
    let Some(account) = Account::start().await else { return };
    let options = Options {
        environment: account.environment(),
        ..Options::arguments(&["--aws-profiles", "file", "--aws-platform-role", PLATFORM_ROLE])
    };
    let stage = Stage::on(Platform::start_with(options).unwrap(), "events").await;
    assert_eq!(count(&account, "stacks").await, 0, "the feed is served here");

    let accepted =
        stage.consumer.api.post("/v1/data-out-channels", &stage.order_out("file", &json!({}))).await.unwrap();
    let order = format!("/v1/orders/{}", accepted["order"]["id"].as_str().unwrap());
    let channel = format!("/v1/data-out-channels/{}", accepted["channel"]["id"].as_str().unwrap());
    eventually("the order", async || {
        (stage.consumer.api.get(&order).await.unwrap()["state"] == "SUCCEEDED").then_some(())
    })
    .await;
    assert_eq!((count(&account, "stacks").await, count(&account, "buckets").await), (1, 1));
    let endpoint = stage.consumer.api.get(&channel).await.unwrap()["status"]["endpoint"].clone();
    assert!(endpoint["url"].as_str().unwrap().starts_with("s3://headgate-ch-"), "{endpoint}");
    assert_eq!((&endpoint["cloud"]["region"], &endpoint["host"]), (&json!("us-east-1"), &Value::Null));

    stage.consumer.api.send(reqwest::Method::DELETE, &channel, None, &[("if-match", "*")]).await.unwrap().ok().unwrap();
    eventually("the removal", async || (count(&account, "stacks").await == 0).then_some(())).await;
    assert_eq!((count(&account, "buckets").await, count(&account, "roles").await), (0, 0));
}

#[tokio::test]
async fn without_a_setting_nothing_of_aws_is_asked_although_an_account_is_there() {
    let Some(account) = Account::start().await else { return };
    let options = Options { environment: account.environment(), ..Options::default() };
    let stage = Stage::on(Platform::start_with(options).unwrap(), "events").await;
    stage.channel("file", json!({})).await;
    assert!(account.requests().await.is_empty());
}
