//! Shortages that others cause: connections, files, receivers that do not answer, sources that send too much. Whoever
//! causes one is told so; nobody else is harmed, nothing acknowledged is lost, and it goes on by itself. Shortages of the
//! disk are rounds of `crash`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::harness::read::ChannelReader;
use crate::harness::records::Records;
use crate::harness::stage::{order_in, reading};
use crate::harness::world::{Channel, Organisation, send};
use crate::harness::{ApiClient, Options, Platform, Stage, eventually, settled};
use crate::short_disk::ShortDisk;

/// How long whoever causes nothing may have to wait for an answer: wide, because others share the machine.
const RESPONSIVE: Duration = Duration::from_secs(5);
/// How much memory a shortage may cost, in bytes.
const MEMORY: u64 = 300 << 20;

/// Reads the control API all the time.
struct Watch {
    stop: CancellationToken,
    reads: tokio::task::JoinHandle<Duration>,
}

impl Watch {
    fn over(api: &ApiClient, channel: &Channel) -> Self {
        let (api, stop) = (api.clone(), CancellationToken::new());
        let paths = [channel.path.clone(), format!("{}/statistics", channel.path), "/v1/orders".to_owned()];
        let ended = stop.clone();
        let reads = tokio::spawn(async move {
            let mut slowest = Duration::ZERO;
            for path in paths.iter().cycle() {
                if ended.is_cancelled() {
                    break;
                }
                let start = Instant::now();
                api.get(path).await.unwrap();
                slowest = slowest.max(start.elapsed());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            slowest
        });
        Self { stop, reads }
    }

    async fn end(self) {
        self.stop.cancel();
        let slowest = self.reads.await.unwrap();
        assert!(slowest < RESPONSIVE, "a read of the control API took {slowest:?}");
    }
}

/// Posts a payload and reads the whole answer, so that the connection can be used again. A refusal that asks to come again
/// says when.
async fn post(http: &Client, feed: &Channel, key: &str, body: String) -> reqwest::Result<StatusCode> {
    let request = http.post(format!("{}/{}", feed.url(), feed.stream())).bearer_auth(feed.secret("channel_key"));
    let response = request
        .header("content-type", "application/x-ndjson")
        .header("idempotency-key", key)
        .timeout(Duration::from_secs(30))
        .body(body)
        .send()
        .await?;
    if matches!(response.status().as_u16(), 429 | 503 | 507) {
        assert!(response.headers().contains_key("retry-after"), "{response:?}");
    }
    let status = response.status();
    response.bytes().await?;
    Ok(status)
}

fn lines(records: &[Value]) -> String {
    records.iter().map(|record| format!("{record}\n")).collect()
}

async fn api_records(channel: &Channel) -> Vec<Value> {
    ChannelReader::new(channel.url(), channel.secret("channel_key")).api("readings").await.unwrap()
}

/// A connection that never asks anything whole.
async fn idle(address: &str, number: usize) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    if number % 2 == 1 {
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nx-slow: ").await?;
    }
    Ok(stream)
}

/// A thousand of them.
async fn silence(address: &str) -> Vec<TcpStream> {
    let mut silent = Vec::new();
    for number in 0..1_000 {
        silent.extend(idle(address, number).await);
    }
    assert!(silent.len() > 900, "{}", silent.len());
    silent
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_that_say_nothing_keep_nobody_out_and_leave_the_stores_their_files() {
    // This process holds the other ends.
    rlimit::increase_nofile_limit(8_192).unwrap();
    let options = Options { open_files: Some((400, true)), ..Options::default() };
    let stage = Stage::on(Platform::start_with(options).unwrap(), "events").await;
    let api = stage.channel("api", json!({})).await;
    let known = Client::new();
    assert_eq!(post(&known, &stage.feed, "0", reading(0).to_string()).await.unwrap(), 202);
    let memory = stage.platform.peak_memory();
    let watch = Watch::over(&stage.consumer.api, &api);

    let address = stage.platform.data.trim_start_matches("http://").to_owned();
    let silent = silence(&address).await;
    // Who has a connection keeps it.
    for number in 1..20 {
        let body = reading(number).to_string();
        assert_eq!(post(&known, &stage.feed, &number.to_string(), body).await.unwrap(), 202);
    }
    // Who has none is told when to come again, and gets in later.
    let newcomer = async || post(&Client::new(), &stage.feed, "20", reading(20).to_string()).await.ok();
    let mut silent = vec![silent];
    eventually("a newcomer is told that there is no room", async || {
        if newcomer().await? == 503 {
            return Some(());
        }
        // Silence ends by itself after some seconds: where this took longer, others are as silent.
        silent.push(silence(&address).await);
        None
    })
    .await;
    eventually("a newcomer gets in", async || (newcomer().await? == 202).then_some(())).await;
    // A channel opens its stores as if nothing was.
    let late = stage.channel("stream", json!({})).await;
    for channel in [&api, &late] {
        stage.settled(channel, 21).await;
    }
    assert_eq!(api_records(&api).await.len(), 21);
    drop(silent);
    watch.end().await;
    assert!(stage.platform.peak_memory() < memory + MEMORY);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_files_for_more_channels_an_order_waits_and_what_runs_goes_on() {
    const FILES: u32 = 128;
    let options = Options { open_files: Some((FILES, true)), ..Options::default() };
    let mut stage = Stage::on(Platform::start_with(options).unwrap(), "events").await;
    let api = stage.channel("api", json!({})).await;
    let watch = Watch::over(&stage.consumer.api, &api);
    let mut sent = Vec::new();
    let http = Client::new();
    let mut orders = Vec::new();
    // Each keeps some files open, more than there are.
    for number in 0..40 {
        let accepted = stage.consumer.api.post("/v1/data-out-channels", &stage.order_out("stream", &json!({}))).await;
        orders.extend(accepted.ok());
        sent.push(reading(number));
        let key = number.to_string();
        eventually("the payload is taken", async || {
            let answer = post(&http, &stage.feed, &key, reading(number).to_string()).await.ok()?;
            assert!(matches!(answer.as_u16(), 202 | 429 | 503 | 507), "{answer}");
            (answer == 202).then_some(())
        })
        .await;
    }
    assert!(orders.len() > 30, "orders are taken: {}", orders.len());
    stage.settled(&api, sent.len()).await;
    Records::of(&sent).assert_equals(&Records::of(&api_records(&api).await), "api");
    watch.end().await;
    // Room is made, and what waited goes on.
    let kept = orders.split_off(orders.len() - 4);
    for order in &orders {
        let path = format!("/v1/data-out-channels/{}", order["channel"]["id"].as_str().unwrap());
        let headers = [("idempotency-key", path.as_str()), ("if-match", "*")];
        eventually("deleting is taken", async || {
            let answer = stage.consumer.api.send(Method::DELETE, &path, None, &headers).await.ok()?;
            (answer.status == 202).then_some(())
        })
        .await;
    }
    for order in &kept {
        let path = format!("/v1/orders/{}", order["order"]["id"].as_str().unwrap());
        let over = async || {
            let order = stage.consumer.api.get(&path).await.ok()?;
            (order["state"] == "SUCCEEDED").then_some(())
        };
        eventually("an order succeeds", over).await;
    }
    assert!(stage.platform.is_running());
}

/// A receiver that takes every request and answers none until it is told to.
#[derive(Clone)]
struct Mute {
    url: String,
    answers: watch::Sender<bool>,
    records: Arc<Mutex<BTreeMap<String, Value>>>,
}

impl Mute {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let mute = Self { url, answers: watch::Sender::new(false), records: Arc::default() };
        let router = Router::new().fallback(take).with_state(mute.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        mute
    }
}

async fn take(State(mute): State<Mute>, body: Bytes) -> StatusCode {
    let _ = mute.answers.subscribe().wait_for(|answers| *answers).await;
    let body: Value = serde_json::from_slice(&body).unwrap();
    let mut records = mute.records.lock().unwrap();
    for record in body["records"].as_array().unwrap() {
        records.insert(record["_id"].as_str().unwrap().to_owned(), record.clone());
    }
    StatusCode::NO_CONTENT
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_never_answers_costs_its_own_channel_time_and_nobody_anything_else() {
    let mut stage = Stage::start("events").await;
    let mute = Mute::start().await;
    let api = stage.channel("api", json!({})).await;
    let webhook = stage.channel("webhook", json!({"url": mute.url, "batch_records": 500})).await;
    let watch = Watch::over(&stage.consumer.api, &api);
    let memory = stage.platform.peak_memory();
    // More than what may be on its way at once, by far.
    let http = Client::new();
    let wide = "x".repeat(4_000);
    let mut sent = Vec::new();
    for payload in 0..40 {
        let records: Vec<Value> = (payload * 300..(payload + 1) * 300)
            .map(|number| {
                let mut record = reading(number);
                record["note"] = json!(format!("{wide}{number}"));
                record
            })
            .collect();
        let start = Instant::now();
        let answer = post(&http, &stage.feed, &payload.to_string(), lines(&records)).await.unwrap();
        assert_eq!(answer, 202);
        assert!(start.elapsed() < RESPONSIVE, "a source waited {:?}", start.elapsed());
        sent.extend(records);
    }
    stage.settled(&api, sent.len()).await;
    assert!(mute.records.lock().unwrap().is_empty());
    watch.end().await;
    let grown = stage.platform.peak_memory() - memory;
    assert!(grown < MEMORY, "{} MiB for {} records", grown >> 20, sent.len());
    mute.answers.send_replace(true);
    stage.settled(&webhook, sent.len()).await;
    let received = mute.records.lock().unwrap().values().cloned().collect::<Vec<_>>();
    Records::of(&sent).assert_equals(&Records::of(&received), "webhook");
    // Nobody waits for an answer when it is to end.
    mute.answers.send_replace(false);
    assert_eq!(post(&http, &stage.feed, "last", reading(0).to_string()).await.unwrap(), 202);
    assert!(stage.platform.stop().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_times_the_allowed_rate_is_told_to_wait_and_costs_no_neighbour_anything() {
    const PAYLOADS: usize = 64;
    let stage = Stage::start("events").await;
    let api = stage.channel("api", json!({})).await;
    let admin = stage.platform.admin().await.unwrap();
    let flood = Organisation::create(&admin, &stage.platform.control, "Flood").await.unwrap();
    let mut order = order_in("events");
    order["performance_profile"] = json!("S");
    let feed = flood.order("in", &order, |_| {}, async |_, _| {}).await.unwrap();
    let own = json!({"name": "own", "channel_profile": "api", "performance_profile": "L", "data": [{"element": feed.element()}]});
    let own = flood.order("out", &own, |_| {}, async |_, _| {}).await.unwrap();
    let watch = Watch::over(&stage.consumer.api, &api);
    let memory = stage.platform.peak_memory();

    // 2 MiB/s are allowed, and ten seconds of them at once; this is ten times what a second allows, in each of many.
    let wide = "x".repeat(100_000);
    let stop = CancellationToken::new();
    let flooding = async {
        let http = Client::new();
        let (mut taken, mut told) = (Vec::new(), 0);
        for payload in 0..PAYLOADS {
            let records: Vec<Value> = (payload * 20..(payload + 1) * 20)
                .map(|number| {
                    let mut record = reading(number);
                    record["note"] = json!(format!("{wide}{number}"));
                    record
                })
                .collect();
            let answer = post(&http, &feed, &payload.to_string(), lines(&records)).await.unwrap();
            match answer.as_u16() {
                202 => taken.extend(records),
                429 => told += 1,
                other => panic!("{other}"),
            }
        }
        stop.cancel();
        (taken, told)
    };
    let neighbour = async {
        let http = Client::new();
        let (mut sent, mut slowest) = (Vec::new(), Duration::ZERO);
        while !stop.is_cancelled() {
            let record = reading(sent.len());
            let start = Instant::now();
            let answer = post(&http, &stage.feed, &sent.len().to_string(), record.to_string()).await.unwrap();
            assert_eq!(answer, 202, "a neighbour is told nothing");
            slowest = slowest.max(start.elapsed());
            sent.push(record);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        (sent, slowest)
    };
    let ((taken, told), (sent, slowest)) = tokio::join!(flooding, neighbour);
    assert!(told > PAYLOADS / 2, "{told} of {PAYLOADS} payloads were too much");
    assert!(slowest < RESPONSIVE, "a neighbour waited {slowest:?}");
    stage.settled(&api, sent.len()).await;
    Records::of(&sent).assert_equals(&Records::of(&api_records(&api).await), "the neighbour's");
    settled(&flood, &own.path, taken.len()).await;
    Records::of(&taken).assert_equals(&Records::of(&api_records(&own).await), "the flood's");
    watch.end().await;
    let grown = stage.platform.peak_memory() - memory;
    assert!(grown < MEMORY, "{} MiB", grown >> 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_whose_disk_fails_to_sync_ends_the_process_and_nothing_answered_is_lost() {
    for (part, alone) in [("control.db", false), ("data.db", false), ("control.db", true), ("data.db", true)] {
        let directory = tempfile::Builder::new().prefix("headgate-e2e-").tempdir().unwrap();
        let disk = ShortDisk::new();
        let database = directory.path().canonicalize().unwrap().join("data").join(part);
        // Its log is synced at each commit, the file itself when the log is written back.
        let environment = if alone { disk.environment_alone(&database) } else { disk.environment(&database) };
        let options = Options { environment, ..Options::default() };
        let platform = tokio::task::block_in_place(|| Platform::start_in(directory, options)).unwrap();
        let mut stage = Stage::on(platform, "events").await;
        assert!(database.is_file(), "{}", database.display());
        disk.fail_syncs(true);
        // Whatever is asked for now is answered truly: made, or not.
        let (mut made, mut next) = (Vec::new(), 0);
        eventually(&format!("the end of a process that cannot sync {part}"), async || {
            let name = format!("endpoint-{next}");
            next += 1;
            let body = json!({"url": format!("https://example.com/{name}"), "types": ["io.headgate.channel.ready.v1"]});
            if let Ok(endpoint) = stage.consumer.api.post("/v1/event-endpoints", &body).await {
                made.push(endpoint["id"].as_str().unwrap().to_owned());
            }
            // Requests, receipts and deliveries are booked in the other database.
            stage.consumer.api.get("/v1/usage").await.ok();
            send(&stage.feed, "application/x-ndjson", reading(next).to_string()).await.ok();
            (!stage.platform.is_running()).then_some(())
        })
        .await;
        assert!(stage.platform.log().contains("could not be synced"), "{}", stage.platform.log());
        disk.fail_syncs(false);
        tokio::task::block_in_place(|| stage.platform.start_again()).unwrap();
        let there = stage.consumer.api.get("/v1/event-endpoints?page_size=1000").await.unwrap();
        for endpoint in made {
            assert!(there["items"].as_array().unwrap().iter().any(|it| it["id"] == *endpoint), "{endpoint} is lost");
        }
    }
}

/// What a channel of a profile holds.
async fn held(channel: &Channel, profile: &str, count: usize) -> Vec<Value> {
    let reader = ChannelReader::new(channel.url(), channel.secret("channel_key"));
    match profile {
        "api" => reader.api("readings").await.unwrap(),
        "file" => reader.files().await.unwrap(),
        "stream" => reader.stream().await.unwrap(),
        _ => {
            let http = Client::new();
            let mut records = Vec::new();
            while records.len() < count {
                let request = http.post(format!("{}/receive?max=1000", channel.url()));
                let answer = request.bearer_auth(channel.secret("channel_key")).send().await.unwrap();
                let answer: Value = answer.json().await.unwrap();
                let messages = answer["messages"].as_array().unwrap();
                assert!(!messages.is_empty(), "{} of {count} messages", records.len());
                records.extend(messages.iter().map(|message| message["data"].clone()));
            }
            records
        }
    }
}

/// The stores of channels sync their log now and then, and SQLite keeps to itself what fails there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_whose_disk_fails_to_sync_ends_the_process_and_nothing_is_lost_or_doubled() {
    let wide = "x".repeat(20_000);
    for profile in ["stream", "queue", "api", "file"] {
        let directory = tempfile::Builder::new().prefix("headgate-e2e-").tempdir().unwrap();
        let disk = ShortDisk::new();
        let channels = directory.path().canonicalize().unwrap().join("data/channels");
        let options = Options { environment: disk.environment(&channels), ..Options::default() };
        let platform = tokio::task::block_in_place(|| Platform::start_in(directory, options)).unwrap();
        let mut stage = Stage::on(platform, "events").await;
        let options = if profile == "file" { json!({"format": "ndjson", "roll_seconds": 1}) } else { json!({}) };
        let channel = stage.channel(profile, options).await;
        assert!(channels.is_dir());
        let http = Client::new();
        let (mut sent, mut unheard) = (Vec::new(), Vec::new());
        let payload = |number: usize| -> Vec<Value> {
            let wide = |mut record: Value| {
                record["note"] = json!(wide);
                record
            };
            (number * 20..(number + 1) * 20).map(|number| wide(reading(number))).collect()
        };
        disk.fail_syncs(true);
        let mut next = 0;
        eventually(&format!("the end of a process that cannot sync its {profile} channel"), async || {
            let records = payload(next);
            match post(&http, &stage.feed, &next.to_string(), lines(&records)).await {
                Ok(StatusCode::ACCEPTED) => sent.extend(records),
                _ => unheard.push(next),
            }
            next += 1;
            (!stage.platform.is_running()).then_some(())
        })
        .await;
        assert!(stage.platform.log().contains("could not be synced"), "{profile}: {}", stage.platform.log());
        disk.fail_syncs(false);
        tokio::task::block_in_place(|| stage.platform.start_again()).unwrap();
        for number in unheard {
            let records = payload(number);
            assert_eq!(post(&http, &stage.feed, &number.to_string(), lines(&records)).await.unwrap(), 202);
            sent.extend(records);
        }
        stage.settled(&channel, sent.len()).await;
        let held = held(&channel, profile, sent.len()).await;
        Records::of(&sent).assert_equals(&Records::of(&held), profile);
    }
}
