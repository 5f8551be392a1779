//! Reading as a client does.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use chrono::TimeDelta;
use futures::StreamExt;
use headgate_types::channel::Lane;
use headgate_types::limits::Limits;
use headgate_types::{ElementId, FakeClock, SharedClock};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::block::NewRecords;
use super::ring::Ring;
use super::serve::{self, Reading};
use crate::delivery::limits::PLENTY;
use crate::technology::FlowKey;

struct Bench {
    directory: tempfile::TempDir,
    clock: Arc<FakeClock>,
    ring: Arc<Ring>,
    flow: FlowKey,
    router: Router,
    offset: u64,
}

async fn bench(limits: Limits) -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let clock = FakeClock::at("2026-05-01T10:00:00Z".parse().unwrap());
    let flow = FlowKey { element: ElementId::new(), lane: Lane::Live };
    let (ring, router) = open(&directory, &clock, &limits).await;
    Bench { directory, clock, ring, flow, router, offset: 0 }
}

async fn open(directory: &tempfile::TempDir, clock: &Arc<FakeClock>, limits: &Limits) -> (Arc<Ring>, Router) {
    use headgate_types::Clock;
    let ring = Arc::new(Ring::open(directory.path(), limits, clock.now()).await.unwrap());
    let clock: SharedClock = Arc::clone(clock) as SharedClock;
    let reading = reading(&ring, clock);
    let router = serve::addresses().with_state(reading).into_router();
    (ring, router)
}

fn reading(ring: &Arc<Ring>, clock: SharedClock) -> Reading {
    Reading::new(Arc::clone(ring), vec!["a".to_owned(), "b".to_owned()], clock)
}

impl Bench {
    async fn append(&mut self, element: &str, count: u64) {
        use headgate_types::Clock;
        let mut records = NewRecords::default();
        for offset in self.offset + 1..=self.offset + count {
            records.push(offset, json!({"n": offset}).to_string().as_bytes());
        }
        self.offset += count;
        self.ring.append(self.flow, self.offset, element.into(), records, self.clock.now()).await.unwrap();
    }

    async fn get(&self, path: &str) -> (StatusCode, String, Option<String>) {
        let response = self.router.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let next = response.headers().get("headgate-next-position").map(|next| next.to_str().unwrap().to_owned());
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap(), next)
    }

    async fn numbers(&self, path: &str) -> Vec<u64> {
        let (status, body, _) = self.get(path).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let line = |line: &str| serde_json::from_str::<Value>(line).unwrap()["data"]["n"].as_u64().unwrap();
        body.lines().map(line).collect()
    }

    async fn code(&self, path: &str) -> (u16, String) {
        let (status, body, _) = self.get(path).await;
        let problem: Value = serde_json::from_str(&body).unwrap();
        (status.as_u16(), problem["code"].as_str().unwrap().to_owned())
    }
}

#[tokio::test]
async fn a_reader_resumes_by_position_without_gap_or_double() {
    let mut bench = bench(PLENTY).await;
    bench.append("a", 5).await;
    let (_, _, next) = bench.get("/records?limit=3").await;
    bench.append("b", 2).await;
    let path = format!("/records?after={}", next.unwrap());
    assert_eq!(bench.numbers(&path).await, [4, 5, 6, 7]);
    assert_eq!(bench.numbers("/records?element=b").await, [6, 7]);
    assert_eq!(bench.numbers("/records?after=latest").await, [] as [u64; 0]);
}

#[tokio::test]
async fn a_long_poll_hears_of_a_record_when_it_comes() {
    let mut bench = bench(PLENTY).await;
    let router = bench.router.clone();
    let poll = tokio::spawn(async move {
        let request = Request::get("/records?wait=30").body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        to_bytes(response.into_body(), usize::MAX).await.unwrap()
    });
    bench.append("a", 1).await;
    assert!(!poll.await.unwrap().is_empty());
}

#[tokio::test]
async fn a_range_that_comes_again_is_written_once() {
    let mut bench = bench(PLENTY).await;
    bench.append("a", 4).await;
    bench.offset = 2;
    bench.append("a", 4).await;
    assert_eq!(bench.numbers("/records").await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(bench.ring.cursor(bench.flow).await.unwrap(), Some(6));
}

#[tokio::test]
async fn what_fell_out_of_the_ring_answers_410_never_a_gap() {
    let mut bench = bench(Limits { retention_bytes: 30, ..PLENTY }).await;
    bench.append("a", 10).await;
    assert_eq!(bench.code("/records?after=1").await, (410, "position_too_old".to_owned()));
    let kept = bench.numbers("/records?after=earliest").await;
    assert_eq!(kept.last(), Some(&10));
    assert!(kept.len() < 10 && kept.windows(2).all(|pair| pair[1] == pair[0] + 1), "{kept:?}");
}

#[tokio::test]
async fn records_age_out_even_when_nothing_is_written() {
    let mut bench = bench(Limits { retention_seconds: 60, ..PLENTY }).await;
    bench.append("a", 3).await;
    bench.clock.advance(TimeDelta::seconds(61));
    assert_eq!(bench.numbers("/records").await, [] as [u64; 0]);
    assert_eq!(bench.code("/records?after=1").await, (410, "position_too_old".to_owned()));
}

#[tokio::test]
async fn each_record_goes_when_its_own_time_is_over_whatever_is_written_meanwhile() {
    let mut bench = bench(Limits { retention_seconds: 60, ..PLENTY }).await;
    for tick in 0..40 {
        bench.append("a", 1).await;
        // The newest and the eight before it were written in the last 56 seconds, the one before these 63 ago.
        let oldest = (tick + 1_u64).saturating_sub(8).max(1);
        assert_eq!(bench.ring.ends().borrow().floor, oldest - 1, "tick {tick}");
        bench.clock.advance(TimeDelta::seconds(7));
    }
    assert_eq!(bench.numbers("/records").await, (33..=40).collect::<Vec<_>>());
}

#[tokio::test]
async fn positions_are_never_used_twice_not_even_after_a_crash() {
    let mut bench = bench(PLENTY).await;
    bench.append("a", 3).await;
    // No close: what was handed out may have been lost with the power.
    let (ring, router) = open(&bench.directory, &bench.clock, &PLENTY).await;
    (bench.ring, bench.router) = (ring, router);
    bench.append("a", 1).await;
    let after_crash = bench.ring.ends().borrow().last;
    assert!(after_crash > 1_000_000, "{after_crash}");
    assert_eq!(bench.numbers("/records?after=3").await, [4]);
    bench.ring.close().await;
    let (ring, router) = open(&bench.directory, &bench.clock, &PLENTY).await;
    (bench.ring, bench.router) = (ring, router);
    bench.append("a", 1).await;
    assert_eq!(bench.ring.ends().borrow().last, after_crash + 1);
}

#[tokio::test]
async fn a_ring_that_rests_lets_go_of_its_file_and_goes_on_where_it_was() {
    let mut bench = bench(Limits { retention_seconds: 60, ..PLENTY }).await;
    bench.append("a", 3).await;
    assert_eq!(bench.numbers("/records").await, [1, 2, 3]);
    bench.ring.rest(std::time::Duration::from_secs(3_600)).await.unwrap();
    assert!(bench.ring.is_open(), "it was used a moment ago");
    bench.ring.rest(std::time::Duration::ZERO).await.unwrap();
    assert!(!bench.ring.is_open());
    assert_eq!(bench.get("/").await.0, StatusCode::OK);
    assert_eq!(bench.numbers("/records?after=latest").await, [] as [u64; 0]);
    assert!(!bench.ring.is_open(), "who asks for nothing opens nothing");
    assert_eq!(bench.numbers("/records").await, [1, 2, 3]);
    bench.append("a", 1).await;
    assert_eq!(bench.ring.ends().borrow().last, 4);
    assert_eq!(bench.ring.cursor(bench.flow).await.unwrap(), Some(4));

    // A kill while it rests loses no number; one after it woke skips those it had reserved.
    bench.ring.rest(std::time::Duration::ZERO).await.unwrap();
    let (ring, router) = open(&bench.directory, &bench.clock, &PLENTY).await;
    (bench.ring, bench.router) = (ring, router);
    bench.append("a", 1).await;
    assert_eq!(bench.ring.ends().borrow().last, 5);
    bench.ring.rest(std::time::Duration::ZERO).await.unwrap();
    bench.append("a", 1).await;
    assert_eq!(bench.ring.ends().borrow().last, 6);
    let (ring, router) = open(&bench.directory, &bench.clock, &Limits { retention_seconds: 60, ..PLENTY }).await;
    (bench.ring, bench.router) = (ring, router);
    bench.append("a", 1).await;
    assert!(bench.ring.ends().borrow().last > 1_000_000);

    // What ages out while the file is closed is not shown.
    bench.ring.rest(std::time::Duration::ZERO).await.unwrap();
    bench.clock.advance(TimeDelta::seconds(61));
    assert_eq!(bench.numbers("/records").await, [] as [u64; 0]);
}

#[tokio::test]
async fn events_carry_their_position_and_end_when_the_channel_closes() {
    let mut bench = bench(PLENTY).await;
    bench.append("a", 2).await;
    let request = Request::get("/sse").header("last-event-id", "1").body(Body::empty()).unwrap();
    let response = bench.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body().into_data_stream();
    let first = String::from_utf8(body.next().await.unwrap().unwrap().to_vec()).unwrap();
    for part in ["id: 2\n", "event: a\n", "data: {\"n\":2}\n"] {
        assert!(first.contains(part), "{first}");
    }
    bench.ring.close().await;
    assert!(body.next().await.is_none(), "the stream ends when the channel closes");
}

/// Whoever may not read any more is not sent records for longer than a connection lasts; whoever may goes on.
#[tokio::test]
async fn connections_that_stay_end_in_time_and_their_clients_go_on_where_they_were() {
    use tokio_tungstenite::tungstenite::Message;

    let mut bench = bench(PLENTY).await;
    bench.append("a", 3).await;
    let reading = reading(&bench.ring, Arc::clone(&bench.clock) as SharedClock);
    let router = serve::addresses().with_state(reading.ending_after(Duration::from_millis(300))).into_router();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let ended = async |url: String| {
        let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        let mut positions = Vec::new();
        loop {
            match socket.next().await.unwrap().unwrap() {
                Message::Text(text) => {
                    let record: Value = serde_json::from_str(&text).unwrap();
                    positions.push(record["position"].as_u64().unwrap());
                }
                Message::Close(frame) => return (positions, u16::from(frame.unwrap().code)),
                _ => {}
            }
        }
    };
    // Only a connection that does not end by itself takes so long.
    let ended = async |url| tokio::time::timeout(Duration::from_secs(60), ended(url)).await.unwrap();
    let (mut positions, code) = ended(format!("ws://{address}/ws?after=earliest")).await;
    assert_eq!(code, 1001);
    // How much came in time is not what is tested.
    let last = positions.last().copied().unwrap_or(0);
    bench.append("a", 2).await;
    while positions.last() != Some(&5) {
        let last = positions.last().copied().unwrap_or(0);
        let after = if last == 0 { "earliest".to_owned() } else { last.to_string() };
        positions.extend(ended(format!("ws://{address}/ws?after={after}")).await.0);
    }
    assert!(last <= 3);
    assert_eq!(positions, [1, 2, 3, 4, 5]);

    let mut seen: Vec<String> = Vec::new();
    while seen.last().is_none_or(|last| last != "5") {
        let request = reqwest::Client::new().get(format!("http://{address}/sse?after=earliest"));
        let request = request.timeout(Duration::from_secs(60));
        let request = seen.iter().last().iter().fold(request, |request, last| request.header("last-event-id", *last));
        // The whole body: the stream ended by itself.
        let body = request.send().await.unwrap().text().await.unwrap();
        seen.extend(body.lines().filter_map(|line| Some(line.strip_prefix("id: ")?.to_owned())));
    }
    assert_eq!(seen, ["1", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn wrong_requests_name_what_is_wrong() {
    let bench = bench(PLENTY).await;
    assert_eq!(bench.code("/records?element=c").await, (400, "unknown_element".to_owned()));
    assert_eq!(bench.code("/records?after=5").await, (400, "invalid_position".to_owned()));
    assert_eq!(bench.code("/records?page=5").await, (400, "invalid_query".to_owned()));
    assert_eq!(bench.code("/ws").await, (400, "websocket_expected".to_owned()));
}

#[tokio::test]
async fn what_is_kept_is_cut_by_record_although_it_is_stored_by_block() {
    let mut bench = bench(Limits { retention_bytes: 100, ..PLENTY }).await;
    let size = |number: u64| json!({"n": number}).to_string().len() as u64;
    for count in [9, 4, 1, 40, 3] {
        bench.append("a", count).await;
        let numbers = bench.numbers("/records").await;
        let ends = *bench.ring.ends().borrow();
        let (first, bytes) = (numbers[0], numbers.iter().copied().map(size).sum::<u64>());
        assert!(numbers.iter().copied().eq(first..=bench.offset), "{numbers:?}");
        assert_eq!((ends.bytes, ends.floor), (bytes, first - 1));
        assert!(bytes <= 100 && (first == 1 || bytes + size(first - 1) > 100), "{bytes} bytes from {first}");
    }
}
