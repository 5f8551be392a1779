//! An account of AWS for one test: a process of its own, which ends with the test.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_iam::config::Credentials;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::driver::cloudformation::{CloudFormationDriver, CloudFormationSettings};
use crate::failpoint::{NoFailpoints, SharedFailpoints};

pub(in crate::tests) const PLATFORM_ROLE: &str = "arn:aws:iam::123456789012:role/headgate-platform";

/// What exists, by kind, without the kinds of which nothing does.
pub(in crate::tests) type Left = BTreeMap<String, Vec<String>>;

#[derive(Debug)]
pub(in crate::tests) struct Account {
    /// Ends when its standard input does.
    _process: Child,
    pub url: String,
    config: SdkConfig,
}

impl Account {
    /// None where there is no Python that has moto.
    pub(in crate::tests) async fn start() -> Option<Self> {
        let Ok(python) = std::env::var("HEADGATE_TEST_PYTHON") else {
            eprintln!("skipped: HEADGATE_TEST_PYTHON is not set");
            return None;
        };
        let mut process = Command::new(python)
            .args(["-m", "shim"])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/aws"))
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| !name.to_string_lossy().starts_with("AWS_")))
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        let url = said["url"].as_str().unwrap().to_owned();
        let config = config(&url, Credentials::new("AKIATEST", "secret", None, None, "test")).await;
        Some(Self { _process: process, url, config })
    }

    pub(in crate::tests) fn config(&self) -> &SdkConfig {
        &self.config
    }

    pub(in crate::tests) fn driver(&self) -> Arc<CloudFormationDriver> {
        self.driver_with("test", NoFailpoints::shared())
    }

    pub(in crate::tests) fn driver_with(
        &self,
        installation: &str,
        failpoints: SharedFailpoints,
    ) -> Arc<CloudFormationDriver> {
        let mut settings = CloudFormationSettings::new(installation, PLATFORM_ROLE);
        settings.poll = Duration::from_millis(10);
        Arc::new(CloudFormationDriver::with_failpoints(settings, &self.config, failpoints).unwrap())
    }

    pub(in crate::tests) async fn fault(&self, fault: Value) {
        let answer = self.control("POST", "faults", &fault).await;
        assert_eq!(answer, json!({}), "{fault}");
    }

    pub(in crate::tests) async fn no_faults(&self) {
        self.control("DELETE", "faults", &Value::Null).await;
    }

    pub(in crate::tests) async fn left(&self) -> Left {
        let left: Left = serde_json::from_value(self.control("GET", "left", &Value::Null).await).unwrap();
        assert_eq!(left["broken"], [""; 0], "the account itself is broken");
        left.into_iter().filter(|(_, names)| !names.is_empty()).collect()
    }

    /// How often an action was asked for, for example `cloudformation:CreateStack`.
    pub(in crate::tests) async fn asked(&self, action: &str) -> u64 {
        self.control("GET", "requests", &Value::Null).await[action].as_u64().unwrap_or_default()
    }

    /// From now on every request must be signed and allowed: the driver's too, which become those of
    /// an operator. Returns who else there is (`tests/aws/client.py`).
    pub(in crate::tests) async fn enforce(&mut self) -> Value {
        let people: Value = serde_json::from_slice(&self.python(&["--people"], &Value::Null).await).unwrap();
        let text = |name: &str| people["operator"][name].as_str().unwrap().to_owned();
        self.config = config(&self.url, Credentials::new(text("id"), text("secret"), None, None, "test")).await;
        self.control("POST", "enforcement", &json!({"on": true})).await;
        people
    }

    /// What a client does with boto3: each job is a call with the credentials it names, and comes to
    /// `ok`, `refused` or another code (`tests/aws/client.py`).
    pub(in crate::tests) async fn client(&self, jobs: &[Value]) -> Vec<String> {
        serde_json::from_slice(&self.python(&[], &json!(jobs)).await).unwrap()
    }

    async fn python(&self, arguments: &[&str], input: &Value) -> Vec<u8> {
        let mut client = Command::new(std::env::var("HEADGATE_TEST_PYTHON").unwrap())
            .args(["client.py", &self.url])
            .args(arguments)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/aws"))
            .env_clear()
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        client.stdin.take().unwrap().write_all(input.to_string().as_bytes()).await.unwrap();
        let output = client.wait_with_output().await.unwrap();
        assert!(output.status.success(), "the client failed");
        output.stdout
    }

    async fn control(&self, method: &str, name: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let address = self.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "{method} /_shim/{name} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let start = answer.find("\r\n\r\n").unwrap() + 4;
        let text = &answer[start..];
        // An answer without a length comes in chunks.
        let text = &text[text.find(['{', '[']).unwrap()..=text.rfind(['}', ']']).unwrap()];
        serde_json::from_str(text).unwrap()
    }
}

async fn config(url: &str, credentials: Credentials) -> SdkConfig {
    let retries = RetryConfig::standard().with_max_attempts(3).with_initial_backoff(Duration::from_millis(10));
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .endpoint_url(url)
        .credentials_provider(credentials)
        .retry_config(retries)
        .load()
        .await
}
