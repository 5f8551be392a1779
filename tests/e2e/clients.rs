//! Channels as clients of many kinds use them.

mod api;
mod files;
mod lake;
mod revoked;
mod snippets;
mod stream;

use std::path::Path;
use std::process::{Command, Stdio};

use reqwest::header::HeaderMap;
use reqwest::{Response, StatusCode};
use serde_json::Value;

use crate::harness::world::Channel;

/// One GET of a channel with its key and these headers.
async fn get(channel: &Channel, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = reqwest::Client::new().get(format!("{}{path}", channel.url()));
    request = request.bearer_auth(channel.secret("channel_key"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

/// The same, for its status, headers and text.
async fn text(channel: &Channel, path: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, String) {
    let response = get(channel, path, headers).await;
    (response.status(), response.headers().clone(), response.text().await.unwrap())
}

/// Runs a script in the Python that has the readers, with arguments; returns the JSON it prints.
/// `None` where there is no such Python.
pub fn python(script: &str, arguments: &[&Path]) -> Option<Value> {
    let Ok(python) = std::env::var("HEADGATE_TEST_PYTHON") else {
        eprintln!("skipped: HEADGATE_TEST_PYTHON is not set");
        return None;
    };
    let output = Command::new(python).args(["-c", script]).args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}
