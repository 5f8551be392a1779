//! B6, B7 and B12: what delivery costs per record and per model, how late records arrive, and what
//! channels cost that have nothing to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt};
use serde_json::json;

use super::jetstream::{Connection, JetStream, Sync};
use super::report::{Report, say};
use super::{World, row};
use crate::cli::BenchArguments;
use crate::demo::world::Channel;

/// Deliveries in B6, of all channels together, and rows sent before them: a channel that has just been ordered opens
/// its files with the first.
const DELIVERIES: u64 = 5_000_000;
const FIRST: u64 = 1_000;
/// Rows a second in B7, and how often some are sent.
const RATE: u64 = 4_000;
const EVERY: Duration = Duration::from_millis(50);
/// In B7 each row is for this many channels, and this many channels are read.
const MATCHES: usize = 10;
/// Values of the field by which rows are told apart.
const TENANTS: usize = 100;
/// Orders under way at once: each asks twenty times a second, and a client may ask a hundred times.
const ORDERS: usize = 4;

/// B6: the same rows into the same number of channels, with ever more distinct models.
pub async fn models(arguments: &BenchArguments, report: &mut Report) -> Result<()> {
    let channels = arguments.channels;
    let (count, rows) = (channels as u64, DELIVERIES.div_ceil(channels as u64));
    let mut distinct: Vec<usize> = [1, 10, channels].into_iter().filter(|models| *models <= channels).collect();
    distinct.dedup();
    for _ in 0..arguments.rounds {
        for models in &distinct {
            let world = World::start().await?;
            open(&world, channels, *models, |_| Vec::new()).await?;
            world.send(FIRST).await?;
            world.delivered(FIRST * count).await?;
            let before = world.headgate.server.used()?;
            let start = Instant::now();
            world.send(rows).await?;
            world.delivered((FIRST + rows) * count).await?;
            let wall = start.elapsed().as_secs_f64();
            let after = world.headgate.server.used()?;
            let delivered = (rows * count) as f64;
            report.add(
                "B6",
                &format!("{models} models"),
                json!({
                    "channels": channels,
                    "delivered_rows_per_s": delivered / wall,
                    "cpu_us_per_delivered_row": (after.cpu - before.cpu) * 1e6 / delivered,
                    "resident_mb": after.resident >> 20,
                }),
            );
            world.headgate.server.stop().await?;
        }
    }
    if channels > 10 {
        report.ratio("B6", "cpu_us_per_delivered_row", "10 models", &format!("{channels} models"));
    }
    push(arguments, report).await
}

/// B6's peer: JetStream pushes the same rows to as many consumers.
async fn push(arguments: &BenchArguments, report: &mut Report) -> Result<()> {
    let channels = arguments.channels;
    let sent = DELIVERIES.div_ceil(channels as u64);
    for _ in 0..arguments.rounds {
        let Some(peer) = JetStream::start(&arguments.nats_server, Sync::Default).await? else {
            say("B6   JetStream is not here: --nats-server names the program");
            return Ok(());
        };
        let mut consumers = Vec::with_capacity(channels);
        for channel in 0..channels {
            consumers.push(peer.consumer(&format!("c{channel}"), &["rows.>".to_owned()]).await?);
        }
        let mut publisher = peer.connect().await?;
        let before = peer.server.used()?;
        let start = Instant::now();
        let readers: Vec<_> = consumers
            .into_iter()
            .map(|mut consumer| {
                tokio::spawn(async move {
                    for _ in 0..sent {
                        consumer.message().await?;
                    }
                    Ok::<_, anyhow::Error>(())
                })
            })
            .collect();
        for first in (0..sent).step_by(1_000) {
            publisher
                .tell((first..sent.min(first + 1_000)).map(|id| ("all".to_owned(), row(id, 0).into_bytes())))
                .await?;
        }
        for reader in readers {
            reader.await??;
        }
        let wall = start.elapsed().as_secs_f64();
        let after = peer.server.used()?;
        let rows = (sent * channels as u64) as f64;
        report.add(
            "B6",
            "JetStream",
            json!({
                "channels": channels,
                "delivered_rows_per_s": rows / wall,
                "cpu_us_per_delivered_row": (after.cpu - before.cpu) * 1e6 / rows,
                "resident_mb": after.resident >> 20,
            }),
        );
        peer.server.stop().await?;
    }
    report.ratio("B6", "cpu_us_per_delivered_row", "10 models", "JetStream");
    report.ratio("B6", "delivered_rows_per_s", "10 models", "JetStream");
    Ok(())
}

/// B7: rows at a fixed rate, each for ten of many channels; ten readers measure how old what arrives is.
pub async fn latency(arguments: &BenchArguments, report: &mut Report) -> Result<()> {
    for _ in 0..arguments.rounds {
        let world = World::start().await?;
        let opened = open(&world, arguments.channels, 10, |channel| tenants(channel, arguments.channels)).await?;
        let stop = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = opened
            .iter()
            .step_by(opened.len().div_ceil(MATCHES))
            .map(|channel| tokio::spawn(read(channel.clone(), Arc::clone(&stop))))
            .collect();
        let before = world.headgate.server.used()?;
        let sent = feed(&world.feed, Duration::from_secs(arguments.seconds)).await?;
        world.delivered(taken(sent, arguments.channels)).await?;
        let after = world.headgate.server.used()?;
        stop.store(true, Ordering::Relaxed);
        // One more record ends the readers, which look at the flag only when something arrives.
        world.conformed().await?;
        let mut ages = Vec::new();
        for reader in readers {
            ages.extend(reader.await??);
        }
        report.add("B7", "headgate", aged(sent, ages, (after.cpu - before.cpu) / arguments.seconds as f64));
        world.headgate.server.stop().await?;
    }
    push_aged(arguments, report).await
}

/// B7's peer: JetStream at the same rate, not durable, with as many consumers of the same rows.
async fn push_aged(arguments: &BenchArguments, report: &mut Report) -> Result<()> {
    let channels = arguments.channels;
    for _ in 0..arguments.rounds {
        let Some(peer) = JetStream::start(&arguments.nats_server, Sync::Default).await? else {
            say("B7   JetStream is not here: --nats-server names the program");
            return Ok(());
        };
        let mut consumers = Vec::with_capacity(channels);
        for channel in 0..channels {
            let subjects: Vec<_> =
                tenants(channel, channels).into_iter().map(|tenant| format!("rows.{tenant}")).collect();
            consumers.push(peer.consumer(&format!("c{channel}"), &subjects).await?);
        }
        let mut publisher = peer.connect().await?;
        let before = peer.server.used()?;
        let every = channels.div_ceil(MATCHES);
        let readers: Vec<_> = consumers
            .into_iter()
            .enumerate()
            .map(|(index, consumer)| tokio::spawn(read_pushed(consumer, index % every == 0)))
            .collect();
        let mut tick = tokio::time::interval(EVERY);
        let (start, mut sent) = (Instant::now(), 0);
        while start.elapsed() < Duration::from_secs(arguments.seconds) {
            tick.tick().await;
            let (now, count) = (micros()?, RATE * EVERY.as_millis() as u64 / 1_000);
            let rows = (sent..sent + count).map(|id| ((id % TENANTS as u64).to_string(), row(id, now).into_bytes()));
            publisher.tell(rows).await?;
            sent += count;
        }
        let after = peer.server.used()?;
        // A row without a time ends the readers.
        publisher.tell((0..TENANTS as u64).map(|tenant| (tenant.to_string(), row(tenant, 0).into_bytes()))).await?;
        let mut ages = Vec::new();
        for reader in readers {
            ages.extend(reader.await??);
        }
        report.add("B7", "JetStream", aged(sent, ages, (after.cpu - before.cpu) / arguments.seconds as f64));
        peer.server.stop().await?;
    }
    report.ratio("B7", "p99_ms", "headgate", "JetStream");
    Ok(())
}

async fn read_pushed(mut consumer: Connection, measured: bool) -> Result<Vec<u64>> {
    let mut ages = Vec::new();
    loop {
        let body = consumer.message().await?;
        let now = micros()?;
        // `{"id":1,"ts":1700000000000000,...`
        let text = std::str::from_utf8(&body)?;
        let digits = text.split("\"ts\":").nth(1).and_then(|rest| rest.split(',').next()).context("no time")?;
        match digits.parse::<u64>()? {
            0 => return Ok(ages),
            sent if measured => ages.push(now.saturating_sub(sent)),
            _ => {}
        }
    }
}

fn aged(sent: u64, mut ages: Vec<u64>, cores: f64) -> serde_json::Value {
    ages.sort_unstable();
    let at = |share: f64| ages.get((ages.len() as f64 * share) as usize).copied().unwrap_or(0) as f64 / 1e3;
    json!({"rows_sent": sent, "ages_seen": ages.len(), "p50_ms": at(0.5), "p99_ms": at(0.99), "cores": cores})
}

/// The values a channel takes: each value is for ten channels, and no two channels take the same.
fn tenants(channel: usize, channels: usize) -> Vec<usize> {
    let step = (TENANTS / channels).max(1);
    (0..width(channels)).map(|index| (channel * step + index) % TENANTS).collect()
}

/// How many of the values each channel takes.
fn width(channels: usize) -> usize {
    (TENANTS * MATCHES / channels).clamp(1, TENANTS)
}

/// Deliveries of `sent` rows into that many channels; the values take turns.
fn taken(sent: u64, channels: usize) -> u64 {
    sent / TENANTS as u64 * (width(channels) * channels) as u64
}

/// How long channels may take to come to rest.
const REST: Duration = Duration::from_secs(300);

/// B12: memory and CPU of channels that get nothing.
pub async fn idle(arguments: &BenchArguments, report: &mut Report) -> Result<()> {
    let time = Duration::from_secs(arguments.seconds);
    let world = World::start().await?;
    let measure = async |world: &World| -> Result<(f64, u64)> {
        let before = world.headgate.server.used()?;
        tokio::time::sleep(time).await;
        let after = world.headgate.server.used()?;
        Ok(((after.cpu - before.cpu) / time.as_secs_f64(), after.resident))
    };
    let (cores, resident) = measure(&world).await?;
    report.add("B12", "no channels", json!({"cores": cores, "resident_mb": resident >> 20}));
    open(&world, arguments.channels, 1, |_| Vec::new()).await?;
    // A channel of which nothing was heard for a minute rests: that is what most channels do most of the time.
    let begun = Instant::now();
    while world.headgate.metric("headgate_channels_resting").await? < arguments.channels as f64 {
        anyhow::ensure!(begun.elapsed() < REST, "the channels do not come to rest");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let (busy, more) = measure(&world).await?;
    report.add(
        "B12",
        &format!("{} channels", arguments.channels),
        json!({
            "cores": busy,
            "resident_mb": more >> 20,
            "bytes_per_channel": more.saturating_sub(resident) as f64 / arguments.channels as f64,
            "cpu_us_per_channel_and_s": (busy - cores) * 1e6 / arguments.channels as f64,
        }),
    );
    world.headgate.server.stop().await
}

/// Orders stream channels whose models take turns, of the rows with these tenants; none: all rows.
async fn open(
    world: &World,
    channels: usize,
    models: usize,
    tenants: impl Fn(usize) -> Vec<usize>,
) -> Result<Vec<Channel>> {
    let element = world.feed.element();
    let orders = (0..channels).map(|index| {
        let names: Vec<_> = tenants(index).into_iter().map(|tenant| format!("'tenant-{tenant:03}'")).collect();
        let data = if names.is_empty() {
            json!({"element": element})
        } else {
            json!({"element": element, "filter": format!("tenant IN ({})", names.join(", "))})
        };
        let model = json!({"fields": [
            {"name": "id"}, {"name": "ts"}, {"name": "device"}, {"name": "site"},
            {"name": format!("value_{}", index % models), "from": "value"},
        ]});
        async move { world.stream(&format!("channel {index}"), data, model).await }
    });
    futures::stream::iter(orders).buffer_unordered(ORDERS).try_collect().await
}

/// Sends rows stamped with the time at a fixed rate; returns how many.
async fn feed(feed: &Channel, time: Duration) -> Result<u64> {
    let http = reqwest::Client::new();
    let url = format!("{}/{}", feed.url(), feed.stream());
    let per_send = RATE * EVERY.as_millis() as u64 / 1_000;
    let mut tick = tokio::time::interval(EVERY);
    let (start, mut sent) = (Instant::now(), 0);
    while start.elapsed() < time {
        tick.tick().await;
        let now = micros()?;
        let rows: String = (sent..sent + per_send).map(|id| row(id, now) + "\n").collect();
        let request = http.post(&url).bearer_auth(feed.secret("channel_key"));
        request.header("content-type", "application/x-ndjson").body(rows).send().await?.error_for_status()?;
        sent += per_send;
    }
    Ok(sent)
}

/// Follows a stream channel and returns the age in microseconds of every record at its arrival.
async fn read(channel: Channel, stop: Arc<AtomicBool>) -> Result<Vec<u64>> {
    let http = reqwest::Client::new();
    let (key, mut after, mut ages) = (channel.secret("channel_key").to_owned(), "latest".to_owned(), Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let url = format!("{}/records?after={after}&limit=1000&wait=1", channel.url());
        let response = http.get(url).bearer_auth(&key).send().await?.error_for_status()?;
        let position = response.headers().get("headgate-next-position").context("no next position")?;
        position.to_str()?.clone_into(&mut after);
        let (body, now) = (response.text().await?, micros()?);
        for line in body.lines() {
            let record: serde_json::Value = serde_json::from_str(line)?;
            ages.extend(record["data"]["ts"].as_u64().filter(|ts| *ts > 0).map(|ts| now.saturating_sub(ts)));
        }
    }
    Ok(ages)
}

fn micros() -> Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?)
}
