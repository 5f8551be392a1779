//! An account of AWS for one test: a process of its own (`tests/aws/shim`), which ends with the test.
//! It knows no SDK: whoever has one makes its own configuration of [`Account::url`] and [`Account::key`].

#![allow(dead_code, reason = "shared by test binaries that each use a part of it")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// The role that Headgate's processes run under.
pub const PLATFORM_ROLE: &str = "arn:aws:iam::123456789012:role/headgate-platform";

/// The policy that users and roles of channels may do no more than, once rights are enforced.
pub const BOUNDARY: &str = "arn:aws:iam::123456789012:policy/headgate/boundary";

/// What exists, by kind, without the kinds of which nothing does.
pub type Left = BTreeMap<String, Vec<String>>;

/// The account.
#[derive(Debug)]
pub struct Account {
    /// Ends when its standard input does.
    _process: Child,
    /// Where every service of it is.
    pub url: String,
    /// Id and secret of whoever administers it.
    pub key: (String, String),
}

fn folder() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = here.ancestors().map(|above| above.join("tests/aws")).find(|folder| folder.join("shim").is_dir());
    found.expect("the account for tests has a folder")
}

/// Python in that folder, knowing nothing of this machine's own account.
fn python(arguments: &[&str]) -> Option<Command> {
    let Ok(python) = std::env::var("HEADGATE_TEST_PYTHON") else {
        eprintln!("skipped: HEADGATE_TEST_PYTHON is not set");
        return None;
    };
    let mut command = Command::new(python);
    command
        .args(arguments)
        .current_dir(folder())
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| !name.to_string_lossy().starts_with("AWS_")))
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    Some(command)
}

impl Account {
    /// None where there is no Python that has moto.
    pub async fn start() -> Option<Self> {
        let mut process = python(&["-m", "shim"])?.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        let url = said["url"].as_str().unwrap().to_owned();
        Some(Self { _process: process, url, key: ("AKIATEST".to_owned(), "secret".to_owned()) })
    }

    /// The variables by which every program of AWS finds an account, for whoever administers it.
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("AWS_ENDPOINT_URL", self.url.as_str()),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", &self.key.0),
            ("AWS_SECRET_ACCESS_KEY", &self.key.1),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// Has something go wrong (`tests/aws/shim/faults.py`).
    pub async fn fault(&self, fault: Value) {
        let answer = self.control("POST", "faults", &fault).await;
        assert_eq!(answer, json!({}), "{fault}");
    }

    /// Has nothing go wrong any more.
    pub async fn no_faults(&self) {
        self.control("DELETE", "faults", &Value::Null).await;
    }

    /// What exists.
    pub async fn left(&self) -> Left {
        let left: Left = serde_json::from_value(self.control("GET", "left", &Value::Null).await).unwrap();
        assert_eq!(left["broken"], [""; 0], "the account itself is broken");
        left.into_iter().filter(|(_, names)| !names.is_empty()).collect()
    }

    /// How often each action was asked for, for example `cloudformation:CreateStack`.
    pub async fn requests(&self) -> BTreeMap<String, u64> {
        serde_json::from_value(self.control("GET", "requests", &Value::Null).await).unwrap()
    }

    /// How often an action was asked for.
    pub async fn asked(&self, action: &str) -> u64 {
        self.requests().await.get(action).copied().unwrap_or_default()
    }

    /// From now on every request must be signed and allowed, those of whoever administers the account too.
    /// Returns who else there is (`tests/aws/client.py`); the platform's own role has the rights of
    /// `templates/platform-role.yaml` for an installation of this name.
    pub async fn enforce(&mut self, installation: &str) -> Value {
        let people = self.python(&["--people", installation], &Value::Null).await;
        let people: Value = serde_json::from_slice(&people).unwrap();
        let text = |name: &str| people["operator"][name].as_str().unwrap().to_owned();
        self.key = (text("id"), text("secret"));
        self.control("POST", "enforcement", &json!({"on": true})).await;
        people
    }

    /// A session of the platform's own role (`id`, `secret`, `token`), once rights are enforced.
    pub async fn platform(&self) -> Value {
        self.session(PLATFORM_ROLE).await
    }

    /// A session of a role that whoever administers the account takes up.
    pub async fn session(&self, role: &str) -> Value {
        let job = json!({"as": self.operator(), "role": role});
        serde_json::from_slice(&self.python(&["--platform"], &job).await).unwrap()
    }

    /// The variables by which every program of AWS finds the account for this session.
    pub fn environment_of(&self, session: &Value) -> Vec<(String, String)> {
        let names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
        let mut environment = self.environment();
        environment.retain(|(name, _)| !names.contains(&name.as_str()));
        for (name, member) in names.into_iter().zip(["id", "secret", "token"]) {
            environment.push((name.to_owned(), session[member].as_str().unwrap().to_owned()));
        }
        environment
    }

    /// Makes a stack of a template of `templates/`, as whoever administers the account; its outputs.
    pub async fn deploy(&self, name: &str, template: &str, parameters: &Value) -> BTreeMap<String, String> {
        let job = json!({"as": self.operator(), "name": name, "template": template, "parameters": parameters});
        serde_json::from_slice(&self.python(&["--deploy"], &job).await).unwrap()
    }

    /// What a service answers to whoever administers the account.
    pub async fn ask(&self, service: &str, call: &str, with: &Value) -> Value {
        let job = json!({"as": self.operator(), "service": service, "call": call, "with": with});
        serde_json::from_slice(&self.python(&["--ask"], &job).await).unwrap()
    }

    /// Whoever administers the account, in the words of `tests/aws/client.py`.
    pub fn operator(&self) -> Value {
        json!({"id": self.key.0, "secret": self.key.1})
    }

    /// What the platform's own role was allowed so far: the statement of its policies, and the action.
    pub async fn used(&self) -> Vec<(String, String)> {
        let used = self.control("GET", "used", &Value::Null).await;
        serde_json::from_value(used.get(PLATFORM_ROLE).cloned().unwrap_or_default()).unwrap_or_default()
    }

    /// What a client does with boto3: each job is a call with the credentials it names, and comes to
    /// `ok`, `refused` or another code (`tests/aws/client.py`).
    pub async fn client(&self, jobs: &[Value]) -> Vec<String> {
        serde_json::from_slice(&self.python(&[], &json!(jobs)).await).unwrap()
    }

    /// What a client finds with boto3 in what it may read (`tests/aws/client.py`).
    pub async fn read(&self, job: &Value) -> Value {
        serde_json::from_slice(&self.python(&["--read"], job).await).unwrap()
    }

    async fn python(&self, arguments: &[&str], input: &Value) -> Vec<u8> {
        let mut command = python(&["client.py", &self.url]).unwrap();
        let mut client = command.args(arguments).spawn().unwrap();
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
