//! Every snippet that the API hands out, run as it stands.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::sync::Mutex;

use crate::harness::stage::reading;
use crate::harness::world::{Channel, Organisation};
use crate::harness::{PATIENCE, Stage, eventually};

#[tokio::test]
async fn every_snippet_of_a_channel_works_as_it_stands() {
    let stage = Stage::start("events").await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("data.csv"), "id,site,value\nc1,north,1\nc2,south,2\n").unwrap();

    // Data in: three records of the snippets and two rows of the file arrive, nothing is refused.
    let mut receipts = 0;
    for snippet in snippets(&stage.provider, &stage.feed).await {
        let answer: Value = serde_json::from_str(&run(&snippet, &stage.feed, folder.path(), &[]).await)
            .or_else(|_| Ok::<_, serde_json::Error>(json!(null)))
            .unwrap();
        receipts += 1;
        // Python prints a dictionary; bash the document itself.
        assert!(answer.is_null() || answer["receipt"].is_string(), "{answer}");
    }
    assert_eq!(receipts, 3);
    let statistics = eventually("the records of the snippets", async || {
        let statistics = stage.provider.api.get(&format!("{}/statistics", stage.feed.path)).await.unwrap();
        (statistics["flows"][0]["records"] == 4).then_some(statistics)
    })
    .await;
    assert_eq!(statistics["dead_letters"], 0);

    let sent: Vec<Value> = (0..10).map(reading).collect();
    stage.send(&sent).await;
    let received = Received::default();
    let options = [
        ("api", json!({})),
        ("file", json!({"format": "ndjson", "roll_seconds": 1})),
        ("stream", json!({})),
        ("webhook", json!({"url": serve(received.clone()).await})),
    ];
    for (profile, options) in options {
        let channel = stage.channel(profile, options).await;
        stage.settled(&channel, 14).await;
        let snippets = snippets(&stage.consumer, &channel).await;
        assert!(!snippets.is_empty(), "{profile}");
        for snippet in snippets {
            if profile == "webhook" {
                verify_a_delivery(&snippet, &channel, &received, folder.path()).await;
                continue;
            }
            let output = run(&snippet, &channel, folder.path(), &[]).await;
            assert!(output.contains("r000003") || profile == "file", "{snippet:#}\n{output}");
        }
    }
    let downloaded: usize = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|file| file.extension().is_some_and(|ending| ending == "ndjson"))
        .map(|file| std::fs::read_to_string(file).unwrap().lines().count())
        .sum();
    assert_eq!(downloaded, 14, "the files were downloaded whole");
}

async fn snippets(owner: &Organisation, channel: &Channel) -> Vec<Value> {
    let items = owner.api.get(&format!("{}/snippets", channel.path)).await.unwrap();
    items["items"].as_array().unwrap().clone()
}

/// Runs a snippet until it ends, or, if it follows something without end, until it has shown a
/// record; returns what it wrote.
async fn run(snippet: &Value, channel: &Channel, folder: &Path, environment: &[(&str, &str)]) -> String {
    let program = match snippet["language"].as_str().unwrap() {
        "python" => "python3",
        language => language,
    };
    let mut child = Command::new(program)
        .args(["-c", snippet["code"].as_str().unwrap()])
        .current_dir(folder)
        .env("HEADGATE_KEY", channel.secret("channel_key"))
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let endless = snippet["code"].as_str().unwrap().contains("curl -N");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut output = String::new();
    while let Some(line) = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("it goes on").unwrap() {
        output.push_str(&line);
        output.push('\n');
        if endless && output.contains("r000003") {
            return output;
        }
    }
    assert!(child.wait().await.unwrap().success(), "{snippet:#}\n{output}");
    let problem = serde_json::from_str::<Value>(&output).is_ok_and(|answer| answer["code"].is_string());
    assert!(!problem, "{snippet:#}\n{output}");
    output
}

type Received = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

/// A receiver that keeps deliveries as they come.
async fn serve(received: Received) -> String {
    let receive = move |headers: HeaderMap, body: Bytes| async move {
        received.lock().await.push((headers, body));
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(receive)).await });
    url
}

/// The snippet is a function: it accepts a delivery as it came and refuses a changed one.
async fn verify_a_delivery(snippet: &Value, channel: &Channel, received: &Received, folder: &Path) {
    let (headers, body) = received.lock().await.first().cloned().unwrap();
    let headers: Value =
        headers.iter().map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap()))).collect();
    std::fs::write(folder.join("body"), body).unwrap();
    std::fs::write(folder.join("headers.json"), headers.to_string()).unwrap();
    let mut program = snippet.clone();
    program["code"] = json!(format!(
        "{}\nimport json\nbody, headers = open('body', 'rb').read(), json.load(open('headers.json'))\n\
         print(verify(headers, body), verify(headers, body + b' '))\n",
        snippet["code"].as_str().unwrap()
    ));
    let secret = channel.secret("signing_secret");
    let output = run(&program, channel, folder, &[("HEADGATE_SIGNING_SECRET", secret)]).await;
    assert_eq!(output.trim(), "True False");
}
