//! Swagger UI as an administrator uses it, in a real browser over WebDriver
//! (<https://www.w3.org/TR/webdriver2/>): authorize with client credentials, try an operation out.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::harness::{Database, Platform};

/// How long a page may take to show something.
const PATIENCE: Duration = Duration::from_secs(60);
/// The name WebDriver gives an element's id in JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A headless browser with one tab.
struct Browser {
    _driver: Child,
    profile: tempfile::TempDir,
    http: reqwest::Client,
    session: String,
}

impl Browser {
    async fn start() -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("chromedriver is installed: run the tests by `cargo xtask test`");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = loop {
            let line = lines.next_line().await.unwrap().expect("chromedriver says its port");
            if let Some((_, port)) = line.split_once("successfully on port ") {
                break port.trim_end_matches('.').to_owned();
            }
        };
        let profile = tempfile::tempdir().unwrap();
        let http = reqwest::Client::new();
        let mut arguments: Vec<String> = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--window-size=1300,1400",
        ]
        .map(str::to_owned)
        .into();
        arguments.extend(
            ["--disable-background-networking", "--disable-component-update", "--disable-sync"].map(str::to_owned),
        );
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        let capabilities = json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": {"args": arguments}}}});
        let base = format!("http://127.0.0.1:{port}/session");
        let answer: Value = http.post(&base).json(&capabilities).send().await.unwrap().json().await.unwrap();
        let id = answer["value"]["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {answer}"));
        Self { session: format!("{base}/{id}"), _driver: driver, profile, http }
    }

    async fn command(&self, path: &str, body: Value) -> Result<Value, Value> {
        let answer = self.http.post(format!("{}{path}", self.session)).json(&body).send().await.unwrap();
        let mut answer: Value = answer.json().await.unwrap();
        let value = answer["value"].take();
        if value["error"].is_string() { Err(value) } else { Ok(value) }
    }

    /// Does something with the first element that fits, as soon as there is one and it can be done.
    async fn on(&self, selector: &str, action: &str, body: Value) {
        let start = Instant::now();
        loop {
            let found = self.command("/element", json!({"using": "css selector", "value": selector})).await;
            let done = match found {
                Ok(element) => {
                    let id = element[ELEMENT].as_str().unwrap();
                    self.command(&format!("/element/{id}/{action}"), body.clone()).await
                }
                Err(missing) => Err(missing),
            };
            match done {
                Ok(_) => return,
                Err(error) => assert!(start.elapsed() < PATIENCE, "{selector}: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn click(&self, selector: &str) {
        self.on(selector, "click", json!({})).await;
    }

    async fn fill(&self, selector: &str, text: &str) {
        self.on(selector, "value", json!({"text": text})).await;
    }

    /// The text of the first element that fits, once it is not empty.
    async fn text(&self, selector: &str) -> String {
        let script = "return document.querySelector(arguments[0])?.innerText ?? ''";
        let start = Instant::now();
        loop {
            let text = self.command("/execute/sync", json!({"script": script, "args": [selector]})).await.unwrap();
            let text = text.as_str().unwrap_or_default().trim();
            if !text.is_empty() {
                return text.to_owned();
            }
            assert!(start.elapsed() < PATIENCE, "{selector} stays empty");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver's children outlive it; they are known by their profile.
        let profile = self.profile.path().to_string_lossy().into_owned();
        let _ = std::process::Command::new("pkill").args(["-KILL", "-f", &profile]).status();
    }
}

#[tokio::test]
async fn an_administrator_authorizes_in_swagger_ui_and_tries_an_operation_out() {
    let platform = Platform::start(Database::Sqlite).await.unwrap();
    let browser = Browser::start().await;
    browser.command("/url", json!({"url": format!("{}/docs", platform.control)})).await.unwrap();

    // Without a token the operation is refused, and says so.
    let operation = "#operations-admin-create_tenant";
    browser.click(&format!("{operation} .opblock-summary-control")).await;
    browser.fill(&format!("{operation} tr[data-param-name='Idempotency-Key'] input"), "from-a-browser").await;
    browser.click(&format!("{operation} .execute")).await;
    let status = format!("{operation} .live-responses-table .response .response-col_status");
    assert_eq!(browser.text(&status).await.lines().next(), Some("401"));

    browser.click(".auth-wrapper .authorize").await;
    browser.fill("#client_id_clientCredentials", &platform.admin.0).await;
    browser.fill("#client_secret_clientCredentials", &platform.admin.1).await;
    browser.click(".dialog-ux .scopes a").await;
    browser.click(".dialog-ux .auth-container:nth-of-type(2) button.authorize").await;
    assert_eq!(browser.text(".dialog-ux .auth-container:nth-of-type(2) h6").await, "Authorized");
    browser.click(".dialog-ux .btn-done").await;

    browser.click(&format!("{operation} .btn-clear")).await;
    browser.click(&format!("{operation} .execute")).await;
    assert_eq!(browser.text(&status).await.lines().next(), Some("201"));
    let admin = platform.admin().await.unwrap();
    let tenants = admin.get("/v1/admin/tenants").await.unwrap();
    assert_eq!(tenants["items"].as_array().unwrap().len(), 1, "what was tried out was done: {tenants}");
}
