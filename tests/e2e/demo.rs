//! `headgate demo`: the README's first command.

use std::process::Command;

use serde_json::Value;

/// Runs the demo to its end and returns what it wrote with `--json`.
fn demo(arguments: &[&str], database: Option<&str>) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("result.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_headgate"));
    command.args(["demo", "--exit", "--json"]).arg(&json).args(arguments);
    if let Some(url) = database {
        command.env("HEADGATE_DATABASE_URL", url);
    }
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap()
}

fn assert_verified(result: &Value, rows: u64) {
    assert_eq!(result["input_rows"], rows);
    let channels = result["channels"].as_array().unwrap();
    let profiles: Vec<&str> = channels.iter().map(|channel| channel["channel_profile"].as_str().unwrap()).collect();
    assert_eq!(profiles, ["api", "file", "stream", "webhook"]);
    assert!(channels.iter().all(|channel| channel["verified"] == true), "{channels:#?}");
    let delivered: u64 = channels.iter().map(|channel| channel["rows"].as_u64().unwrap()).sum();
    let metered = result["usage"]["items"].as_array().unwrap().iter().find(|item| item["meter"] == "deliver.records");
    assert_eq!(metered.unwrap()["quantity"], delivered, "what is metered is what arrived");
    assert!(result["price"]["total"].is_string());
}

#[test]
fn the_demo_delivers_to_every_kind_of_channel_on_the_embedded_default() {
    assert_verified(&demo(&[], None), 5_000);
}

#[tokio::test]
async fn the_demo_delivers_to_every_kind_of_channel_on_postgres() {
    let url = crate::harness::platform::fresh_database().await.unwrap();
    let result = tokio::task::spawn_blocking(move || demo(&["--rows", "1000"], Some(&url))).await.unwrap();
    assert_verified(&result, 1_000);
}

#[test]
fn the_demo_takes_a_file_of_the_users_and_makes_its_models() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("people.csv");
    let rows: String =
        (0..300).map(|n| format!("{n},\"Name {n}\",{},{}.5\n", ["red", "green", "blue"][n % 3], n * 7 % 50)).collect();
    std::fs::write(&file, format!("id,name,team,score\n{rows}")).unwrap();
    let result = demo(&["--input", file.to_str().unwrap(), "--format", "csv"], None);
    assert_verified(&result, 300);
    assert_eq!(result["channels"][2]["rows"], 100, "the stream has one of three teams");
}
