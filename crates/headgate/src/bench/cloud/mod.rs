//! B13: what an order and a record cost on their way into an account of AWS: requests, and CPU of the client.

mod aws;

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use self::aws::{Asked, NullAws};
use super::World;
use super::report::Report;
use crate::cli::BenchArguments;
use crate::demo::world::Channel;

/// Rows sent to each channel.
const ROWS: u64 = 50_000;
/// Orders whose requests are counted.
const ORDERS: u64 = 10;
/// What the channels are: name, channel profile, options of the output model.
const CHANNELS: [(&str, &str, &str); 4] = [
    ("bucket", "file", "{}"),
    ("stream", "stream", "{}"),
    ("queue", "queue", "{}"),
    ("FIFO queue", "queue", r#"{"ordered": true}"#),
];
/// CPU of a second in which Headgate is taken to have nothing left to do.
const QUIET: f64 = 0.03;

/// B13.
pub async fn channels(arguments: &BenchArguments, report: &mut Report) -> Result<()> {
    for _ in 0..arguments.rounds {
        let without = rows(None, report).await?;
        for channel in CHANNELS {
            let with = rows(Some(channel), report).await?;
            report.add("B13", channel.0, json!({"cpu_us_per_record_of_the_channel": with - without}));
        }
    }
    for (name, profile, options) in CHANNELS {
        orders(name, profile, options, report).await?;
    }
    Ok(())
}

async fn start(account: &NullAws) -> Result<World> {
    let role = "arn:aws:iam::123456789012:role/headgate";
    World::start_with(&[
        "--aws-profiles",
        "file,stream,queue",
        "--aws-platform-role",
        role,
        "--aws-region",
        "us-east-1",
        "--aws-endpoint-url",
        &account.url,
    ])
    .await
}

/// Sends rows, with a channel that takes them all or with none; returns the CPU in µs for each.
async fn rows(channel: Option<(&str, &str, &str)>, report: &mut Report) -> Result<f64> {
    let account = NullAws::start().await?;
    let world = start(&account).await?;
    let data = json!({"element": world.feed.element()});
    if let Some((name, profile, options)) = channel {
        order(&world, name, profile, options, data).await?;
    }
    quiet(&world).await?;
    let (before, asked, begun) = (world.headgate.server.used()?, account.asked(), Instant::now());
    world.send(ROWS).await?;
    if channel.is_some() {
        world.delivered(ROWS).await?;
    }
    let wall = begun.elapsed().as_secs_f64();
    quiet(&world).await?;
    let cpu = (world.headgate.server.used()?.cpu - before.cpu) * 1e6 / ROWS as f64;
    let requests = since(&asked, &account.asked());
    let name = channel.map_or_else(|| "no channel".to_owned(), |(name, ..)| format!("with a {name}"));
    let figures = json!({
        "cpu_us_per_row": cpu,
        "rows_per_s": ROWS as f64 / wall,
        "requests_per_1000_rows": requests.values().sum::<u64>() as f64 * 1e3 / ROWS as f64,
        "requests": of_each(&requests, 1),
    });
    report.add("B13", &name, figures);
    world.headgate.server.stop().await?;
    Ok(cpu)
}

/// Orders channels one after the other and counts what each asked of AWS until it was ready.
async fn orders(name: &str, profile: &str, options: &str, report: &mut Report) -> Result<()> {
    let account = NullAws::start().await?;
    let world = start(&account).await?;
    let asked = account.asked();
    for number in 0..ORDERS {
        let data = json!({"element": world.feed.element()});
        order(&world, &format!("{name} {number}"), profile, options, data).await?;
    }
    quiet(&world).await?;
    let requests = since(&asked, &account.asked());
    report.add("B13", &format!("an order of a {name}"), of_each(&requests, ORDERS));
    world.headgate.server.stop().await
}

async fn order(world: &World, name: &str, profile: &str, options: &str, data: Value) -> Result<Channel> {
    let options: Value = serde_json::from_str(options)?;
    let order = json!({"name": name, "channel_profile": profile, "performance_profile": "XL",
                       "data": [data], "output_data_model": {"options": options}});
    world.consumer.order("out", &order, |_| {}, async |_, _| {}).await
}

/// Waits for a second in which Headgate does next to nothing: what the last rows left behind is done.
async fn quiet(world: &World) -> Result<()> {
    loop {
        let before = world.headgate.server.used()?.cpu;
        tokio::time::sleep(Duration::from_secs(1)).await;
        if world.headgate.server.used()?.cpu - before < QUIET {
            return Ok(());
        }
    }
}

fn since(before: &Asked, after: &Asked) -> Asked {
    let new = after.iter().map(|(name, count)| (name.clone(), count - before.get(name).unwrap_or(&0)));
    new.filter(|(_, count)| *count > 0).collect()
}

fn of_each(requests: &Asked, among: u64) -> Value {
    requests.iter().map(|(name, count)| (name.clone(), json!(*count as f64 / among as f64))).collect()
}
