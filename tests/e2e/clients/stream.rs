//! The stream channel over server-sent events, WebSocket and long poll.

use std::time::Duration;

use futures::StreamExt;
use reqwest::Response;
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::{get, text};
use crate::harness::stage::reading;
use crate::harness::world::Channel;
use crate::harness::{PATIENCE, Stage};

#[tokio::test]
async fn a_stream_is_followed_and_resumed_over_sse_websocket_and_long_poll() {
    let stage = Stage::start("events").await;
    let channel = stage.channel("stream", json!({})).await;
    let sent: Vec<Value> = (0..40).map(reading).collect();
    stage.send(&sent[..20]).await;
    stage.settled(&channel, 20).await;

    // Server-sent events: broken off after five, taken up with the last id.
    let mut first = EventSource::open(&channel, "/sse", None).await;
    let events = first.take(5).await;
    drop(first);
    assert_eq!(plain(&events), sent[..5]);
    let mut second = EventSource::open(&channel, "/sse", Some(&events[4].0)).await;
    let rest = second.take(15).await;
    assert_eq!(plain(&rest), sent[5..20]);
    let waiting = second.take(10);
    let (live, ()) = futures::join!(waiting, stage.send(&sent[20..30]));
    assert_eq!(plain(&live), sent[20..30], "records come while the connection waits");

    // WebSocket from a position on.
    let address = channel.url().replacen("http", "ws", 1);
    let mut request = format!("{address}/ws?after={}", rest[14].0).into_client_request().unwrap();
    let bearer = format!("Bearer {}", channel.secret("channel_key"));
    request.headers_mut().insert("authorization", bearer.parse().unwrap());
    let (mut socket, _) = connect_async(request).await.unwrap();
    let frames = async |socket: &mut tokio_tungstenite::WebSocketStream<_>, count: usize| {
        let mut records = Vec::new();
        while records.len() < count {
            let message = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
            if message.is_text() {
                let frame: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
                records.push((frame["position"].to_string(), frame["data"].clone()));
            }
        }
        records
    };
    assert_eq!(plain(&frames(&mut socket, 10).await), sent[20..30]);
    stage.send(&sent[30..]).await;
    let live = frames(&mut socket, 10).await;
    assert_eq!(plain(&live), sent[30..]);
    let refused = connect_async(format!("{address}/ws")).await.unwrap_err().to_string();
    assert!(refused.contains("401"), "{refused}");

    // Long poll: pages by position, then waiting for news.
    let (_, headers, page) = text(&channel, "/records?after=earliest&limit=25", &[]).await;
    assert_eq!(page.lines().count(), 25);
    let next = headers["headgate-next-position"].to_str().unwrap().to_owned();
    let (_, headers, page) = text(&channel, &format!("/records?after={next}"), &[]).await;
    assert_eq!(page.lines().count(), 15);
    let next = headers["headgate-next-position"].to_str().unwrap().to_owned();
    assert_eq!(next, live[9].0);
    let path = format!("/records?after={next}&wait=60");
    let more = [reading(40)];
    let (polled, ()) = futures::join!(text(&channel, &path, &[]), stage.send(&more));
    let polled: Value = serde_json::from_str(polled.2.trim()).unwrap();
    assert_eq!(plain(&[(String::new(), polled["data"].clone())]), more);

    let (status, _, problem) = text(&channel, "/sse", &[("last-event-id", "999999")]).await;
    assert_eq!(status, 400);
    assert_eq!(serde_json::from_str::<Value>(&problem).unwrap()["code"], "invalid_position");
}

/// The records of events without Headgate's own members, in order.
fn plain(events: &[(String, Value)]) -> Vec<Value> {
    let record = |record: &Value| {
        let mut record = record.as_object().unwrap().clone();
        record.retain(|name, _| !name.starts_with('_'));
        // Whole floats are written without a point.
        record["value"] = json!(record["value"].as_f64().unwrap());
        Value::Object(record)
    };
    events.iter().map(|(_, data)| record(data)).collect()
}

/// A reader of `text/event-stream`, as browsers have one.
struct EventSource {
    response: Response,
    buffer: String,
}

impl EventSource {
    async fn open(channel: &Channel, path: &str, last: Option<&str>) -> Self {
        let headers: Vec<(&str, &str)> = last.map(|id| ("last-event-id", id)).into_iter().collect();
        let response = get(channel, path, &headers).await;
        assert_eq!(response.status(), 200);
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
        Self { response, buffer: String::new() }
    }

    /// The next events with an id: id and data.
    async fn take(&mut self, count: usize) -> Vec<(String, Value)> {
        let mut events = Vec::new();
        while events.len() < count {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let field = |name: &str| {
                    block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
                };
                if let (Some(id), Some(data)) = (field("id"), field("data")) {
                    events.push((id, serde_json::from_str(&data).unwrap()));
                }
                self.buffer = rest.to_owned();
                continue;
            }
            let wait: Duration = PATIENCE;
            let chunk = tokio::time::timeout(wait, self.response.chunk()).await.unwrap().unwrap();
            self.buffer.push_str(std::str::from_utf8(&chunk.expect("the stream goes on")).unwrap());
        }
        events
    }
}
