//! B1 and B2: durable acknowledgements over HTTP, beside a bare server and JetStream in the same run.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::jetstream::{JetStream, Sync};
use super::load::{self, Target};
use super::report::{Report, say};
use super::server::{Server, Used};
use super::{World, row};
use crate::cli::BenchArguments;

/// Rows in a request of B2.
const BATCH: u64 = 500;

/// Messages on their way per sender to JetStream in B2.
const WINDOW: usize = 200;

/// B1: 64 senders, one row of 300 bytes each at a time.
pub async fn single(arguments: &BenchArguments, report: &mut Report) -> Result<()> {
    let body = |sender: u64, nth: u64| row((sender << 32) | nth, 0).into_bytes();
    compare(arguments, report, "B1", 64, 1, "application/json", body).await?;
    jetstream(arguments, report, "B1", 64, 1, body).await
}

/// B2: 16 senders, 500 rows of NDJSON in a request.
pub async fn batches(arguments: &BenchArguments, report: &mut Report) -> Result<()> {
    let body = |sender: u64, nth: u64| {
        let rows = (0..BATCH).map(|index| row((sender << 32) | (nth * BATCH + index), 0));
        rows.fold(String::with_capacity(301 * BATCH as usize), |body, row| body + &row + "\n").into_bytes()
    };
    compare(arguments, report, "B2", 16, BATCH, "application/x-ndjson", body).await?;
    let one = |sender: u64, nth: u64| row((sender << 32) | nth, 0).into_bytes();
    jetstream(arguments, report, "B2", 16, WINDOW, one).await
}

/// JetStream, one row in a message; it syncs before it acknowledges, or when its default has it.
async fn jetstream(
    arguments: &BenchArguments,
    report: &mut Report,
    benchmark: &str,
    senders: u64,
    window: usize,
    body: impl Fn(u64, u64) -> Vec<u8> + Clone + Send + 'static,
) -> Result<()> {
    let time = Duration::from_secs(arguments.seconds);
    for _ in 0..arguments.rounds {
        for (sync, name) in [(Sync::Always, "JetStream, durable"), (Sync::Default, "JetStream, default")] {
            let Some(peer) = JetStream::start(&arguments.nats_server, sync).await? else {
                say(&format!("{benchmark:<4} JetStream is not here: --nats-server names the program"));
                return Ok(());
            };
            let before = peer.server.used()?;
            let sent = peer.publish(senders, window, time, body.clone()).await?;
            report.add(benchmark, name, figures(&sent, 1, before, peer.server.used()?));
            peer.server.stop().await?;
        }
    }
    report.ratio(benchmark, "rows_per_s", "headgate", "JetStream, durable");
    report.ratio(benchmark, "rows_per_s", "headgate", "JetStream, default");
    Ok(())
}

async fn compare(
    arguments: &BenchArguments,
    report: &mut Report,
    benchmark: &str,
    senders: u64,
    rows: u64,
    content_type: &'static str,
    body: impl Fn(u64, u64) -> Vec<u8> + Clone + Send + 'static,
) -> Result<()> {
    let time = Duration::from_secs(arguments.seconds);
    for _ in 0..arguments.rounds {
        let world = World::start().await?;
        let url = format!("{}/{}", world.feed.url(), world.feed.stream());
        let target = Target::new(&url, world.feed.secret("channel_key"), content_type)?;
        let server = &world.headgate.server;
        let before = server.used()?;
        let sent = load::send(&target, senders, time, body.clone()).await?;
        let acknowledged = server.used()?;
        world.conformed().await?;
        let mut measured = figures(&sent, rows, before, acknowledged);
        let through = server.used()?;
        measured["cpu_us_per_row_conformed"] = json!((through.cpu - before.cpu) * 1e6 / (sent.requests * rows) as f64);
        measured["resident_mb"] = json!(through.resident >> 20);
        report.add(benchmark, "headgate", measured);
        world.headgate.server.stop().await?;

        let directory = tempfile::tempdir()?;
        let file = directory.path().join("log");
        let (server, mut lines) = Server::start(&["bench", "--peer", &file.to_string_lossy()])?;
        let url = lines.next_line().await?.context("the peer says where it is")?;
        let target = Target::new(&url, "", content_type)?;
        let before = server.used()?;
        let sent = load::send(&target, senders, time, body.clone()).await?;
        report.add(benchmark, "bare group commit", figures(&sent, rows, before, server.used()?));
        server.stop().await?;
    }
    report.ratio(benchmark, "rows_per_s", "headgate", "bare group commit");
    report.ratio(benchmark, "cpu_us_per_row", "headgate", "bare group commit");
    Ok(())
}

fn figures(sent: &load::Sent, rows: u64, before: Used, after: Used) -> serde_json::Value {
    json!({
        "rows_per_s": sent.rate() * rows as f64,
        "p50_ms": sent.percentile(0.5).as_secs_f64() * 1e3,
        "p99_ms": sent.percentile(0.99).as_secs_f64() * 1e3,
        "cpu_us_per_row": (after.cpu - before.cpu) * 1e6 / (sent.requests * rows).max(1) as f64,
    })
}
