//! B8: signed requests to webhooks, beside a bare loop that signs and posts the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt};
use hmac::{Hmac, Mac};
use serde_json::json;
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::load::{Connection, Target};
use super::report::Report;
use super::server::{Server, own};
use super::{World, row};
use crate::cli::BenchArguments;

/// Deliveries of a measurement, at least.
const DELIVERIES: u64 = 10_000;
/// Rows in a request of the last measurement.
const BATCH: u64 = 100;
/// Orders placed at once.
const ORDERS: usize = 8;

/// B8: rows to 1, 10, … webhooks, a request each; and 100 rows in a request.
pub async fn deliveries(arguments: &BenchArguments, report: &mut Report) -> Result<()> {
    let endpoints = [1, 10, 100, 1_000].into_iter().filter(|endpoints| *endpoints <= arguments.channels as u64);
    let cases: Vec<(u64, u64)> = endpoints.map(|endpoints| (endpoints, 1)).chain([(1, BATCH)]).collect();
    for _ in 0..arguments.rounds {
        for (endpoints, batch) in &cases {
            headgate(*endpoints, *batch, report).await?;
            if *batch == 1 {
                bare(*endpoints, report).await?;
            }
        }
    }
    for (endpoints, _) in cases.iter().filter(|(_, batch)| *batch == 1) {
        let (ours, bare) = (format!("headgate, {endpoints}"), format!("bare loop, {endpoints}"));
        report.ratio("B8", "rows_per_s", &ours, &bare);
        report.ratio("B8", "cpu_us_per_row", &bare, &ours);
    }
    report.ratio("B8", "rows_per_s", &format!("headgate, 1, {BATCH} a request"), "headgate, 1");
    Ok(())
}

async fn headgate(endpoints: u64, batch: u64, report: &mut Report) -> Result<()> {
    let receiver = Receiver::start().await?;
    let world = World::start().await?;
    let (element, address) = (world.feed.element(), &receiver.address);
    let orders = (0..endpoints).map(|endpoint| {
        let options = json!({"url": format!("http://{address}/{endpoint}"), "batch_records": batch, "lanes": 1});
        let order = json!({"name": format!("webhook {endpoint}"), "channel_profile": "webhook",
                           "performance_profile": "XL", "data": [{"element": element}],
                           "output_data_model": {"options": options}});
        let consumer = &world.consumer;
        async move { consumer.order("out", &order, |_| {}, async |_, _| {}).await }
    });
    let _channels: Vec<_> = futures::stream::iter(orders).buffer_unordered(ORDERS).try_collect().await?;
    let rows = (DELIVERIES * batch / endpoints).max(1);
    let requests = receiver.requests.load(Ordering::Relaxed);
    let (before, begun) = (world.headgate.server.used()?, Instant::now());
    world.send(rows).await?;
    let expected = rows * endpoints;
    receiver.received(expected).await?;
    let (wall, after) = (begun.elapsed().as_secs_f64(), world.headgate.server.used()?);
    let requests = receiver.requests.load(Ordering::Relaxed) - requests;
    let name =
        if batch == 1 { format!("headgate, {endpoints}") } else { format!("headgate, {endpoints}, {batch} a request") };
    let figures = json!({
        "rows_per_s": expected as f64 / wall,
        "requests_per_s": requests as f64 / wall,
        "cpu_us_per_row": (after.cpu - before.cpu) * 1e6 / expected as f64,
    });
    report.add("B8", &name, figures);
    world.headgate.server.stop().await
}

async fn bare(endpoints: u64, report: &mut Report) -> Result<()> {
    let receiver = Receiver::start().await?;
    let messages = DELIVERIES / endpoints;
    let load = format!("{},{endpoints},{messages}", receiver.address);
    let (server, mut lines) = Server::start(&["bench", "--posts", &load])?;
    let answer = lines.next_line().await?.context("the peer says what it took")?;
    let (cpu, wall) = answer.split_once(' ').context("two numbers")?;
    let (cpu, wall): (f64, f64) = (cpu.parse()?, wall.parse()?);
    receiver.received(endpoints * messages).await?;
    let posts = (endpoints * messages) as f64;
    report.add(
        "B8",
        &format!("bare loop, {endpoints}"),
        json!({"rows_per_s": posts / wall, "requests_per_s": posts / wall, "cpu_us_per_row": cpu * 1e6 / posts}),
    );
    server.stop().await
}

/// The peer: signs and posts, one request at a time to each endpoint, and says what it took.
#[expect(clippy::print_stdout, reason = "the answer to whoever started it")]
pub async fn post(load: &str) -> Result<()> {
    let [address, endpoints, messages] = load.split(',').collect::<Vec<_>>()[..] else { bail!("ADDRESS,N,N: {load}") };
    let (endpoints, messages): (u64, u64) = (endpoints.parse()?, messages.parse()?);
    let (before, begun) = (own()?.cpu, Instant::now());
    let mut tasks = tokio::task::JoinSet::new();
    for endpoint in 0..endpoints {
        let target = Target::new(&format!("http://{address}/{endpoint}"), "", "application/json")?;
        tasks.spawn(async move {
            let mut connection = Connection::open(&target).await?;
            for message in 0..messages {
                let body = row(message, 0);
                let mut mac = Hmac::<Sha256>::new_from_slice(&[7; 32])?;
                mac.update(format!("{message}.1700000000.{body}").as_bytes());
                let signature: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
                let signed = [("webhook-id", &*message.to_string()), ("webhook-signature", &*signature)];
                connection.exchange(&target.request(body.as_bytes(), &signed)).await?;
            }
            Ok::<_, anyhow::Error>(())
        });
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    println!("{} {}", own()?.cpu - before, begun.elapsed().as_secs_f64());
    // Its figures are read before it ends.
    std::future::pending().await
}

/// Answers 200 to everything, at once, and counts records.
struct Receiver {
    address: String,
    requests: Arc<AtomicU64>,
    records: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Receiver {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let (requests, records) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let counted = (Arc::clone(&requests), Arc::clone(&records));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (requests, records) = counted.clone();
                tokio::spawn(serve(stream, requests, records));
            }
        });
        Ok(Self { address, requests, records, task })
    }

    async fn received(&self, records: u64) -> Result<()> {
        let (mut seen, mut since) = (0, Instant::now());
        loop {
            let now = self.records.load(Ordering::Relaxed);
            if now >= records {
                return Ok(());
            }
            if now > seen {
                (seen, since) = (now, Instant::now());
            } else if since.elapsed() > Duration::from_secs(60) {
                bail!("{now} of {records} records came");
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, requests: Arc<AtomicU64>, records: Arc<AtomicU64>) {
    let mut received = Vec::new();
    // A connection that fails is the sender's to open anew.
    while let Ok(more) = stream.read_buf(&mut received).await
        && more > 0
    {
        while let Some((length, rows)) = request(&received) {
            received.drain(..length);
            requests.fetch_add(1, Ordering::Relaxed);
            records.fetch_add(rows, Ordering::Relaxed);
            if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.is_err() {
                return;
            }
        }
    }
}

/// Length of the first request and the records in it, once all of it is here.
fn request(received: &[u8]) -> Option<(usize, u64)> {
    let head = received.windows(4).position(|window| window == b"\r\n\r\n")?;
    let text = String::from_utf8_lossy(&received[..head]).to_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"))?.trim().parse::<usize>().ok()?;
    let body = received.get(head + 4..head + 4 + length)?;
    let name = b"\"device\":";
    Some((head + 4 + length, body.windows(name.len()).filter(|window| window == name).count() as u64))
}
