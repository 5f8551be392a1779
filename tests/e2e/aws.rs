//! The AWS side: the templates, the account of AWS that they are tried in (`tests/aws`), and a
//! Headgate that has its channels there.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{Options, Platform, Stage, eventually};

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
fn the_account_for_tests_refuses_what_it_does_not_understand() {
    pytest("test_shim.py");
}

/// An account of AWS; it ends with its standard input.
pub struct Account {
    _process: Child,
    pub url: String,
}

impl Account {
    pub fn start() -> Option<Self> {
        let Ok(python) = std::env::var("HEADGATE_TEST_PYTHON") else {
            eprintln!("skipped: HEADGATE_TEST_PYTHON is not set");
            return None;
        };
        let mut process = Command::new(python)
            .args(["-m", "shim"])
            .current_dir(crate::tidy::root().join("tests/aws"))
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| !name.to_string_lossy().starts_with("AWS_")))
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        Some(Self { _process: process, url: said["url"].as_str().unwrap().to_owned() })
    }

    pub async fn ask(&self, name: &str) -> Value {
        reqwest::get(format!("{}/_shim/{name}", self.url)).await.unwrap().json().await.unwrap()
    }

    async fn count(&self, kind: &str) -> usize {
        self.ask("left").await[kind].as_array().unwrap().len()
    }

    /// The variables by which every program of AWS finds an account.
    pub fn environment(&self) -> Vec<(String, String)> {
        self.environment_of("AKIATEST", "secret")
    }

    /// The same with the key of a user that may use one user pool as docs/issuers.md says, and nothing else.
    /// From now on every request is held against what its caller may.
    pub async fn limited(&self, pool: &str) -> Vec<(String, String)> {
        let actions = ["DescribeResourceServer", "CreateResourceServer", "UpdateResourceServer"].into_iter();
        let actions = actions.chain(["CreateUserPoolClient", "DeleteUserPoolClient", "ListUserPoolClients"]);
        let actions: Vec<_> = actions.map(|action| format!("cognito-idp:{action}")).collect();
        let resource = format!("arn:aws:cognito-idp:us-east-1:123456789012:userpool/{pool}");
        let statement = json!({"Effect": "Allow", "Action": actions, "Resource": resource});
        let policy = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
        let iam = async |form: &[(&str, &str)]| {
            let scope = "Credential=AKIATEST/20260101/us-east-1/iam/aws4_request";
            let request = reqwest::Client::new().post(&self.url).form(form);
            let request = request.header("authorization", format!("AWS4-HMAC-SHA256 {scope}, Signature=0"));
            let answer = request.send().await.unwrap();
            assert!(answer.status().is_success(), "{form:?}: {}", answer.status());
            answer.text().await.unwrap()
        };
        let user = ("UserName", "headgate");
        iam(&[("Action", "CreateUser"), user]).await;
        let named = ("PolicyName", "pool");
        iam(&[("Action", "PutUserPolicy"), user, named, ("PolicyDocument", &policy)]).await;
        let key = iam(&[("Action", "CreateAccessKey"), user]).await;
        let told = |name: &str| {
            let rest = key.split(&format!("<{name}>")).nth(1).unwrap();
            rest.split('<').next().unwrap().to_owned()
        };
        let url = format!("{}/_shim/enforcement", self.url);
        reqwest::Client::new().post(url).body(r#"{"on": true}"#).send().await.unwrap();
        self.environment_of(&told("AccessKeyId"), &told("SecretAccessKey"))
    }

    fn environment_of(&self, key: &str, secret: &str) -> Vec<(String, String)> {
        [
            ("AWS_ENDPOINT_URL", self.url.as_str()),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", key),
            ("AWS_SECRET_ACCESS_KEY", secret),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self._process.kill();
        let _ = self._process.wait();
    }
}

#[tokio::test]
async fn a_profile_that_is_named_is_held_by_aws_and_every_other_stays_here() {
    let Some(account) = Account::start() else { return };
    let role = "arn:aws:iam::123456789012:role/headgate-platform";
    let options = Options {
        environment: account.environment(),
        ..Options::arguments(&["--aws-profiles", "file", "--aws-platform-role", role])
    };
    let stage = Stage::on(Platform::start_with(options).unwrap(), "events").await;
    assert_eq!(account.count("stacks").await, 0, "the feed is served here");

    let accepted =
        stage.consumer.api.post("/v1/data-out-channels", &stage.order_out("file", &json!({}))).await.unwrap();
    let order = format!("/v1/orders/{}", accepted["order"]["id"].as_str().unwrap());
    let channel = format!("/v1/data-out-channels/{}", accepted["channel"]["id"].as_str().unwrap());
    let step = async |order: &str, name: &str| {
        let order = stage.consumer.api.get(order).await.unwrap();
        order["steps"].as_array().unwrap().iter().find(|step| step["name"] == name).cloned().unwrap()
    };
    eventually("the stack", async || {
        let provision = step(&order, "provision").await;
        (provision["state"] == "DONE").then_some(())
    })
    .await;
    assert_eq!((account.count("stacks").await, account.count("buckets").await), (1, 1));
    let endpoint = stage.consumer.api.get(&channel).await.unwrap()["status"]["endpoint"].clone();
    assert!(endpoint["url"].as_str().unwrap().starts_with("s3://headgate-ch-"), "{endpoint}");
    assert_eq!((&endpoint["cloud"]["region"], &endpoint["host"]), (&json!("us-east-1"), &Value::Null));

    // Nothing moves data into a bucket yet; the order waits for that and can be withdrawn.
    stage.consumer.api.send(reqwest::Method::DELETE, &channel, None, &[("if-match", "*")]).await.unwrap().ok().unwrap();
    eventually("the removal", async || (account.count("stacks").await == 0).then_some(())).await;
    assert_eq!((account.count("buckets").await, account.count("roles").await), (0, 0));
}

#[tokio::test]
async fn without_a_setting_nothing_of_aws_is_asked_although_an_account_is_there() {
    let Some(account) = Account::start() else { return };
    let options = Options { environment: account.environment(), ..Options::default() };
    let stage = Stage::on(Platform::start_with(options).unwrap(), "events").await;
    stage.channel("file", json!({})).await;
    assert_eq!(account.ask("requests").await, json!({}));
}
