//! Working on a queue as a client does.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode};
use chrono::TimeDelta;
use headgate_types::channel::Lane;
use headgate_types::limits::Limits;
use headgate_types::{Clock, ElementId, FakeClock, SharedClock};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::serve;
use super::settings::Settings;
use super::store::{NewMessage, Queue, Receipt};
use crate::delivery::limits::PLENTY;
use crate::technology::{FlowKey, SinkError};

struct Bench {
    directory: tempfile::TempDir,
    limits: Limits,
    clock: Arc<FakeClock>,
    queue: Arc<Queue>,
    router: Router,
    flow: FlowKey,
    offset: u64,
}

fn settings() -> Settings {
    Settings { max_receives: 3, visibility: std::time::Duration::from_secs(30) }
}

async fn bench(limits: Limits) -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let clock = FakeClock::at("2026-05-01T10:00:00Z".parse().unwrap());
    let flow = FlowKey { element: ElementId::new(), lane: Lane::Live };
    let (queue, router) = open(&directory, &clock, &limits).await;
    Bench { directory, limits, clock, queue, router, flow, offset: 0 }
}

async fn open(directory: &tempfile::TempDir, clock: &Arc<FakeClock>, limits: &Limits) -> (Arc<Queue>, Router) {
    let queue = Queue::open(directory.path(), settings(), limits.retention_bytes).await.unwrap();
    let clock: SharedClock = Arc::clone(clock) as SharedClock;
    let working = serve::Working::new(Arc::clone(&queue), limits, vec!["a".to_owned()], clock);
    (queue, serve::addresses().with_state(working).into_router())
}

impl Bench {
    async fn reopen(&mut self) {
        let (queue, router) = open(&self.directory, &self.clock, &self.limits).await;
        (self.queue, self.router) = (queue, router);
    }

    /// One record per key, in this order.
    async fn send(&mut self, keys: &[Option<u64>]) -> Result<u64, SinkError> {
        let first = self.offset + 1;
        let message = |(key, offset): (&Option<u64>, u64)| NewMessage {
            offset,
            key: *key,
            json: json!({"n": offset}).to_string().into_bytes(),
        };
        let messages = keys.iter().zip(first..).map(message).collect();
        let to = self.offset + keys.len() as u64;
        let through = self.queue.append(self.flow, to, "a".into(), messages, self.clock.now()).await?;
        self.offset = to;
        Ok(through)
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = Request::builder().method(method).uri(path);
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let response = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status.as_u16(), serde_json::from_slice(&body).unwrap())
    }

    async fn done(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask(Method::POST, path, Some(body)).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// Numbers and receipts of what is received.
    async fn receive(&self, max: u64) -> Vec<(u64, String)> {
        let (status, answer) = self.ask(Method::POST, &format!("/receive?max={max}"), None).await;
        assert_eq!(status, 200, "{answer}");
        let message =
            |message: &Value| (message["data"]["n"].as_u64().unwrap(), message["receipt"].as_str().unwrap().to_owned());
        answer["messages"].as_array().unwrap().iter().map(message).collect()
    }

    async fn numbers(&self) -> Vec<u64> {
        self.receive(100).await.into_iter().map(|(number, _)| number).collect()
    }

    async fn dead(&self) -> Vec<u64> {
        let (_, answer) = self.ask(Method::GET, "/dead", None).await;
        answer["items"].as_array().unwrap().iter().map(|dead| dead["data"]["n"].as_u64().unwrap()).collect()
    }

    async fn depth(&self) -> (u64, u64, u64) {
        let (_, depth) = self.ask(Method::GET, "/", None).await;
        let number = |name: &str| depth[name].as_u64().unwrap();
        (number("messages"), number("in_flight"), number("dead"))
    }

    fn pass(&self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
    }
}

fn receipts(of: &[(u64, String)]) -> Value {
    json!({"receipts": of.iter().map(|(_, receipt)| receipt).collect::<Vec<_>>()})
}

#[tokio::test]
async fn what_is_received_is_nobody_elses_until_its_time_is_over() {
    let mut bench = bench(PLENTY).await;
    bench.send(&[None; 3]).await.unwrap();
    let first = bench.receive(2).await;
    assert_eq!(first.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((bench.numbers().await, bench.depth().await), (vec![3], (3, 3, 0)));
    bench.pass(29);
    assert_eq!(bench.numbers().await, [] as [u64; 0]);
    assert_eq!(bench.done("/ack", receipts(&first[..1])).await, json!({"decided": 1, "gone": []}));
    bench.pass(1);
    assert_eq!(bench.numbers().await, [2, 3]);
    // Somebody else has it now: the old receipt decides nothing.
    let answer = bench.done("/ack", receipts(&first)).await;
    assert_eq!((&answer["decided"], answer["gone"].as_array().unwrap().len()), (&json!(0), 2));
    assert_eq!(bench.depth().await, (2, 2, 0));
}

#[tokio::test]
async fn a_receiver_gives_back_and_asks_for_more_time() {
    let mut bench = bench(PLENTY).await;
    bench.send(&[None; 2]).await.unwrap();
    let both = bench.receive(2).await;
    bench.done("/nack", receipts(&both[..1])).await;
    assert_eq!(bench.numbers().await, [1]);
    let mut later = receipts(&both[1..]);
    later["visibility_seconds"] = json!(100);
    assert_eq!(bench.done("/extend", later).await["decided"], 1);
    bench.pass(99);
    assert_eq!(bench.numbers().await, [1]);
    bench.pass(1);
    let again = bench.receive(100).await;
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].0, 2);
    let mut delayed = receipts(&again);
    delayed["delay_seconds"] = json!(10);
    bench.done("/nack", delayed).await;
    bench.pass(9);
    assert_eq!(bench.numbers().await, [] as [u64; 0]);
    bench.pass(1);
    assert_eq!(bench.numbers().await, [2]);
}

#[tokio::test]
async fn records_of_a_key_are_done_in_order_and_others_do_not_wait() {
    let mut bench = bench(PLENTY).await;
    bench.send(&[Some(7), Some(7), Some(8), None, Some(7)]).await.unwrap();
    let first = bench.receive(100).await;
    assert_eq!(first.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 3, 4]);
    assert_eq!(bench.numbers().await, [] as [u64; 0]);
    // Given back with a delay it still holds those behind it.
    let mut delayed = receipts(&first[..1]);
    delayed["delay_seconds"] = json!(5);
    bench.done("/nack", delayed).await;
    assert_eq!(bench.numbers().await, [] as [u64; 0]);
    bench.pass(5);
    let again = bench.receive(100).await;
    assert_eq!(again[0].0, 1);
    bench.done("/ack", receipts(&again)).await;
    assert_eq!(bench.numbers().await, [2]);
}

#[tokio::test]
async fn what_nobody_acknowledges_is_set_aside_and_can_be_put_back() {
    let mut bench = bench(PLENTY).await;
    bench.send(&[Some(1), Some(1), None]).await.unwrap();
    let keyless = bench.receive(100).await;
    bench.done("/ack", receipts(&keyless[1..])).await;
    for _ in 0..2 {
        bench.pass(30);
        assert_eq!(bench.numbers().await, [1]);
    }
    bench.pass(30);
    // Received three times: the next of its key is not held up any longer.
    let second = bench.receive(100).await;
    assert_eq!(second[0].0, 2);
    assert_eq!((bench.dead().await, bench.depth().await), (vec![1], (1, 1, 1)));
    assert_eq!(bench.done("/redrive", json!({})).await, json!({"redriven": 0}), "a later record is on its way");
    bench.done("/ack", receipts(&second)).await;
    assert_eq!(bench.done("/redrive", json!({"ids": [1]})).await, json!({"redriven": 0}), "it was superseded");
    assert_eq!(bench.ask(Method::GET, "/dead", None).await.1["items"][0]["superseded"], true);

    bench.send(&[None]).await.unwrap();
    for _ in 0..3 {
        assert_eq!(bench.numbers().await, [4]);
        bench.pass(30);
    }
    assert_eq!(bench.numbers().await, [] as [u64; 0]);
    assert_eq!(bench.dead().await, [1, 4]);
    let one = bench.queue.dead(0, 100, 1).await.unwrap();
    assert_eq!(one.len(), 1, "an answer ends when it has its bytes");
    assert_eq!(bench.queue.dead(one[0].id, 100, 1).await.unwrap().len(), 1);
    assert_eq!(bench.done("/redrive", json!({})).await, json!({"redriven": 1}));
    assert_eq!((bench.numbers().await, bench.dead().await), (vec![4], vec![1]));
    assert_eq!(bench.done("/discard", json!({})).await, json!({"discarded": 1}));
    assert_eq!(bench.depth().await, (1, 1, 0));
}

#[tokio::test]
async fn a_full_queue_takes_nothing_more_and_drops_nothing() {
    let mut bench = bench(Limits { retention_bytes: 20, ..PLENTY }).await;
    bench.send(&[None; 3]).await.unwrap();
    let refused = bench.send(&[None]).await;
    assert!(matches!(&refused, Err(SinkError::Retry { reason, .. }) if reason.contains("21 bytes")), "{refused:?}");
    assert_eq!(bench.queue.cursor(bench.flow).await.unwrap(), 3);
    let some = bench.receive(2).await;
    bench.done("/ack", receipts(&some)).await;
    assert_eq!(bench.send(&[None]).await.unwrap(), 4);
    assert_eq!(bench.numbers().await, [3, 4]);
}

#[tokio::test]
async fn a_range_that_comes_again_is_taken_once_and_all_of_it_survives_a_restart() {
    let mut bench = bench(PLENTY).await;
    bench.send(&[None; 4]).await.unwrap();
    bench.offset = 2;
    bench.send(&[None; 4]).await.unwrap();
    let one = bench.receive(1).await;
    bench.queue.close().await;
    bench.reopen().await;
    assert_eq!(bench.queue.cursor(bench.flow).await.unwrap(), 6);
    assert_eq!(bench.numbers().await, [2, 3, 4, 5, 6]);
    assert_eq!(bench.done("/ack", receipts(&one)).await["decided"], 1, "receipts are good across a restart");
}

#[tokio::test]
async fn a_receiver_that_waits_hears_of_a_message_when_it_comes_and_when_the_channel_closes() {
    let mut bench = bench(PLENTY).await;
    let wait = |router: Router| {
        tokio::spawn(async move {
            let request = Request::post("/receive?wait=60").body(Body::empty()).unwrap();
            let response = router.oneshot(request).await.unwrap();
            let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
            serde_json::from_slice::<Value>(&body).unwrap()["messages"].as_array().unwrap().len()
        })
    };
    let waiting = wait(bench.router.clone());
    bench.send(&[None]).await.unwrap();
    assert_eq!(waiting.await.unwrap(), 1);
    let waiting = wait(bench.router.clone());
    bench.queue.close().await;
    assert_eq!(waiting.await.unwrap(), 0);
}

#[tokio::test]
async fn wrong_requests_name_what_is_wrong() {
    let bench = bench(PLENTY).await;
    for (path, body, code) in [
        ("/receive?max=0", None, "invalid_query"),
        ("/receive?wait=61", None, "invalid_query"),
        ("/receive?visibility=43201", None, "invalid_query"),
        ("/receive?limit=1", None, "invalid_query"),
        ("/ack", Some(json!({"receipts": ["1"]})), "invalid_receipt"),
        ("/ack", Some(json!({"receipts": ["1-0"]})), "invalid_receipt"),
        ("/ack", Some(json!({"receipts": vec!["x"; 1_001]})), "invalid_body"),
        ("/ack", Some(json!({"ids": []})), "invalid_body"),
        ("/extend", Some(json!({"receipts": []})), "invalid_body"),
        ("/extend", Some(json!({"receipts": [], "visibility_seconds": 99_999})), "invalid_query"),
        ("/redrive", Some(json!({"ids": "all"})), "invalid_body"),
    ] {
        let (status, answer) = bench.ask(Method::POST, path, body).await;
        assert_eq!((status, answer["code"].as_str()), (400, Some(code)), "{path}: {answer}");
    }
}

#[tokio::test]
async fn who_waits_for_a_message_is_answered_when_the_channel_closes() {
    let bench = bench(PLENTY).await;
    let request = Request::post("/receive?wait=60").body(Body::empty()).unwrap();
    let mut waiting = std::pin::pin!(bench.router.clone().oneshot(request));
    assert!(futures::poll!(&mut waiting).is_pending());
    bench.queue.close().await;
    assert_eq!(waiting.await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn what_was_acknowledged_takes_no_room_in_the_file_for_ever() {
    let bench = bench(PLENTY).await;
    let now = bench.clock.now();
    let pad = "x".repeat(100_000);
    let message =
        |offset| NewMessage { offset, key: None, json: format!("{{\"n\":{offset},\"pad\":\"{pad}\"}}").into() };
    bench.queue.append(bench.flow, 60, "e".into(), (1..=60).map(message).collect(), now).await.unwrap();
    let file = rusqlite::Connection::open(bench.directory.path().join("queue.db")).unwrap();
    let pages = || file.query_row("PRAGMA page_count", [], |row| row.get::<_, u32>(0)).unwrap();
    assert!(pages() > 1_400, "{}", pages());
    loop {
        let received = bench.receive(10).await;
        if received.is_empty() {
            break;
        }
        bench.done("/ack", receipts(&received)).await;
    }
    assert!(pages() < 300, "{}", pages());
}

#[test]
fn fuzzed_receipts_are_read_as_they_are_written() {
    crate::fuzz::text(
        "fanout-engine/src/technology/queue/store.rs from_str",
        &["1-00000000000000ff", "ff-0123456789abcdef"],
        |text| {
            let receipt = text.parse::<Receipt>()?;
            assert_eq!(receipt.to_string(), text);
            Ok::<_, ()>(())
        },
    );
}
