//! The README's quick start, run as it stands there.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::process::Command;

use crate::harness::{Database, Platform};

/// How long the record may take from the source to the channel.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_quick_start_of_the_readme_works_as_it_is_written() {
    let readme = std::fs::read_to_string(crate::tidy::root().join("README.md")).unwrap();
    let script = readme.split("```bash\n").nth(1).and_then(|rest| rest.split("```").next());
    let script = script.expect("the README has a quick start");
    let platform = Platform::start(Database::Sqlite).await.unwrap();
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &format!("{script}\nprintf '\\n%s %s' $URL $KEY")])
        .env("API", &platform.control)
        .env("ID", &platform.admin.0)
        .env("SECRET", &platform.admin.1)
        .output()
        .await
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    let (url, key) = printed.lines().next_back().unwrap().split_once(' ').unwrap();
    // What the script read at its end may be a moment behind what it sent.
    let start = Instant::now();
    let page = loop {
        let page = reqwest::Client::new().get(format!("{url}/readings")).bearer_auth(key).send().await.unwrap();
        let page: Value = page.json().await.unwrap();
        if page["items"].as_array().is_some_and(|items| !items.is_empty()) {
            break page;
        }
        assert!(start.elapsed() < PATIENCE, "{page}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    assert_eq!((&page["items"][0]["sensor"], &page["items"][0]["celsius"]), (&"a".into(), &20.5.into()));
}
