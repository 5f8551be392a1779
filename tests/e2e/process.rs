//! The server as a process: limits it raises, ends it comes to, starts it refuses.

use std::process::{Command, Stdio};

use crate::harness::{Database, Options, Platform};

/// What a `headgate serve` that cannot start says.
fn refusal(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_headgate"))
        .arg("serve")
        .args(arguments)
        .env("HEADGATE_CONTROL_LISTEN", "127.0.0.1:0")
        .env("HEADGATE_DATA_LISTEN", "127.0.0.1:0")
        .env("HEADGATE_INTERNAL_LISTEN", "127.0.0.1:0")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success(), "it started");
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn the_server_raises_its_limit_of_open_files_and_ends_in_order_when_asked() {
    let options = Options { open_files: Some((256, false)), ..Options::default() };
    let mut platform = Platform::start_with(options).unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", platform.pid())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<&str> = files.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers[0], numbers[1], "the soft limit is the hard one: {files}");
    assert!(platform.stop().unwrap().success(), "{}", platform.log());
}

#[tokio::test]
async fn a_start_that_cannot_work_says_why_in_one_line() {
    let platform = Platform::start(Database::Sqlite).await.unwrap();
    let data = platform.directory().join("data");
    let taken = platform.control.trim_start_matches("http://").to_owned();
    let other = tempfile::tempdir().unwrap();
    let other = other.path().join("data");
    let (data, other) = (data.to_str().unwrap(), other.to_str().unwrap());
    for (arguments, expected) in [
        (vec!["--data-dir", data], "in use by another Headgate"),
        (vec!["--data-dir", other, "--control-listen", &taken], "in use"),
        (vec!["--data-dir", other, "--control-listen", "0.0.0.0:0"], "--tls-cert"),
        (vec!["--data-dir", other, "--database-url", "mysql://x"], "postgres://"),
        (vec!["--data-dir", "/proc/nowhere"], "/proc/nowhere"),
        (vec!["--data-dir", other, "--profiles", "/nowhere.yaml"], "/nowhere.yaml"),
    ] {
        let text = refusal(&arguments);
        let last = text.trim_end().lines().next_back().unwrap_or_default();
        assert!(last.starts_with("error: ") && last.contains(expected), "{arguments:?}: {text}");
    }
}
