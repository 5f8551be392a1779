//! `headgate demo`: the whole product on a temporary data directory, used over its own APIs as
//! its users would, and checked.

pub mod client;
mod input;
mod plan;
mod read;
mod receiver;
mod report;
mod verify;
pub mod world;

use anyhow::{Context, Result, anyhow, bail};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::cli::DemoArguments;
use crate::config::Settings;
use crate::serve::{self, Running, StopSignals};
use client::ApiClient;
use input::Input;
use plan::ChannelPlan;
use receiver::Receiver;
use report::Report;
use world::{Channel, Organisation};

/// Payloads that the history is sent in.
const HISTORY_PAYLOADS: usize = 4;
/// The most that is sent to infer a schema from.
const MAX_SAMPLE_BYTES: usize = 16 << 20;
/// Payloads that arrive while channels are open.
const LIVE_PAYLOADS: usize = 5;

/// Runs the demo; an error when a channel does not agree.
pub async fn run(arguments: DemoArguments) -> Result<()> {
    let directory = tempfile::Builder::new().prefix("headgate-demo-").tempdir()?;
    let port = |offset: u16| ([127, 0, 0, 1], arguments.port.map_or(0, |port| port + offset)).into();
    let settings = Settings {
        data_dir: Some(directory.path().to_owned()),
        database_url: arguments.database_url.clone(),
        control_listen: Some(port(0)),
        data_listen: Some(port(1)),
        internal_listen: Some(port(2)),
        outbound_allow: Some(vec!["127.0.0.0/8".parse()?]),
        ..Settings::default()
    };
    let running = serve::start(settings.resolve()?).await?;
    let mut stop = StopSignals::listen()?;
    for (name, url) in [("control API", &running.control_url), ("data", &running.data_url)] {
        say(&format!("Headgate is running: {name} at {}", url.as_deref().unwrap_or_default()));
    }
    let played = tokio::select! {
        played = play(&arguments, &running) => played,
        () = stop.first() => Err(anyhow!("interrupted")),
    };
    if played.is_ok() && !arguments.exit {
        say("Still serving; Ctrl-C ends it and removes the demo's data.");
        stop.first().await;
    }
    running.stop().await?;
    let report = played?;
    if !report.verified() {
        bail!("at least one channel does not agree with what was delivered");
    }
    Ok(())
}

async fn play(arguments: &DemoArguments, running: &Running) -> Result<Report> {
    let input = match (&arguments.input, arguments.format) {
        (Some(file), Some(format)) => Input::from_file(file, format)?,
        // Fixed readings: a run can be compared with the next.
        _ => Input::generated(arguments.rows, DateTime::<Utc>::UNIX_EPOCH + chrono::TimeDelta::days(19_723)),
    };
    let rows = input.lines.len();
    let (client_id, client_secret) =
        running.admin.as_ref().context("a fresh data directory prints an admin credential")?;
    let control = running.control_url.as_deref().context("a demo runs every role")?;
    let admin = ApiClient::sign_in(control, client_id, client_secret).await?;
    let provider = Organisation::create(&admin, control, "Riverside Sensors").await?;
    let consumer = Organisation::create(&admin, control, "Harbour Analytics").await?;
    say("Two tenants: Riverside Sensors provides, Harbour Analytics consumes.");

    let (feed, schema) = open_feed(&provider, &input).await?;
    let grant = json!({"tenant": consumer.tenant});
    provider.api.post(&format!("/v1/elements/{}/grants", feed.element()), &grant).await?;
    let live = rows / 5;
    let history = rows - live;
    say(&format!("Sending {history} records of history …"));
    for range in pieces(0..history, HISTORY_PAYLOADS) {
        world::send(&feed, input.content_type, input.payload(range)).await?;
    }

    let receiver = Receiver::start().await?;
    let records = records(&input)?;
    let plans = plan::channels(feed.element(), &schema, &records, &receiver.url);
    let channels = order_channels(&consumer, &receiver, &plans).await?;

    say(&format!("Sending {live} live records …"));
    for range in pieces(history..rows, LIVE_PAYLOADS) {
        world::send(&feed, input.content_type, input.payload(range)).await?;
    }
    let verified = verify::all(&consumer, &channels, &plans, &receiver).await?;
    running.cut_usage().await;
    let report = price(&consumer, rows, verified).await?;
    print_report(&report, &channels, &plans, running);
    if let Some(file) = &arguments.json {
        std::fs::write(file, serde_json::to_vec_pretty(&report)?)
            .with_context(|| format!("failed to write {}", file.display()))?;
    }
    Ok(report)
}

/// Orders the provider's data-in channel with one feed whose schema is inferred from the input.
async fn open_feed(provider: &Organisation, input: &Input) -> Result<(Channel, Value)> {
    let mut size = 0;
    let fitting = input.lines.iter().take_while(|line| {
        size += line.len() + 1;
        size < MAX_SAMPLE_BYTES
    });
    let sample = input.payload(0..fitting.count().max(1));
    let request = json!({"format": input.format(), "text": sample, "keys": []});
    let inferred = provider.api.post("/v1/schemas/infer", &request).await?;
    let mut schema = inferred["schema"].clone();
    let mut element = json!({"name": "readings", "kind": "events", "metadata": input.metadata});
    for field in schema["fields"].as_array_mut().into_iter().flatten() {
        // What a person would add to an inferred schema: the units.
        let unit = match field["name"].as_str() {
            Some("temperature") => "[degF]",
            Some("wind_speed") => "[mi_i]/h",
            Some("pressure") => "hPa",
            _ => continue,
        };
        field["unit"] = json!(unit);
    }
    element["schema"] = schema.clone();
    let order = json!({
        "name": "readings", "channel_profile": "http", "performance_profile": "L",
        "feeds": [{"name": "readings", "new_element": element, "input_model": inferred["input_model"]}],
    });
    let channel = provider.order("in", &order, |_| {}, async |_, _| {}).await?;
    say(&format!("Feed ready: {}/{}", channel.url(), channel.stream()));
    Ok((channel, schema))
}

/// Orders all channels at once and shows how far they are.
async fn order_channels(consumer: &Organisation, receiver: &Receiver, plans: &[ChannelPlan]) -> Result<Vec<Channel>> {
    let orders = plans.iter().map(|plan| async move {
        let mut step = String::new();
        let steps = |order: &Value| {
            let now = order["step"].as_str().unwrap_or_default();
            if now != step && !now.is_empty() {
                say(&format!("  {:<8} {now}", plan.profile));
                now.clone_into(&mut step);
            }
        };
        let secrets = async |kind: &str, secret: &str| {
            if kind == "signing_secret" {
                receiver.with(|received| received.secrets.push(secret.to_owned())).await;
            }
        };
        let ordered = consumer.order("out", &plan.order, steps, secrets).await;
        let channel = ordered.with_context(|| format!("the {} channel", plan.profile))?;
        say(&format!("  {:<8} ready: {}", plan.profile, plan.shows));
        Ok::<_, anyhow::Error>(channel)
    });
    futures::future::try_join_all(orders).await
}

async fn price(consumer: &Organisation, rows: usize, channels: Vec<report::ChannelReport>) -> Result<Report> {
    let usage = consumer.api.get("/v1/usage").await?;
    let price = consumer.api.get("/v1/usage/invoice-preview").await?;
    Ok(Report { input_rows: rows, channels, usage, price })
}

fn print_report(report: &Report, channels: &[Channel], plans: &[ChannelPlan], running: &Running) {
    say("\nRead back as a client would:");
    for (found, plan) in report.channels.iter().zip(plans) {
        let verdict = if found.verified { "agrees" } else { "DIFFERS" };
        say(&format!(
            "  {:<8} {:>8} records  checksum {}  {verdict}  ({})",
            found.channel_profile, found.rows, found.checksum, plan.shows
        ));
    }
    say("\nTry it:");
    for (channel, plan) in channels.iter().zip(plans) {
        let (url, key) = (channel.url(), channel.secret("channel_key"));
        match plan.profile {
            "api" => say(&format!("  curl -H 'Authorization: Bearer {key}' '{url}/{}?page_size=2'", channel.stream())),
            "file" => say(&format!("  curl -H 'Authorization: Bearer {key}' '{url}/'")),
            "stream" => say(&format!("  curl -N -H 'Authorization: Bearer {key}' '{url}/sse'")),
            _ => {}
        }
    }
    say(&format!("  open {}/docs", running.control_url.as_deref().unwrap_or_default()));
    if let Some((client_id, client_secret)) = &running.admin {
        say(&format!("    and authorize as the administrator {client_id} with {client_secret}"));
    }
    say("\nMetered for the consumer:");
    report.usage_lines().for_each(|line| say(&line));
    say("\nPriced by the standard rate card:");
    report.price_lines().for_each(|line| say(&line));
}

/// The input's records as JSON objects, to count what a filter lets through.
fn records(input: &Input) -> Result<Vec<Map<String, Value>>> {
    let Some(header) = &input.header else {
        return input.lines.iter().map(|line| serde_json::from_str(line).context("a line is no JSON object")).collect();
    };
    let text = format!("{header}\n{}", input.lines.join("\n"));
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names = reader.headers()?.clone();
    let record = |record: csv::Result<csv::StringRecord>| {
        let record = record?;
        Ok(names.iter().map(str::to_owned).zip(record.iter().map(|text| json!(text))).collect())
    };
    reader.records().map(record).collect()
}

/// Cuts a range into at most `count` pieces of about one size.
fn pieces(range: std::ops::Range<usize>, count: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let step = range.len().div_ceil(count).max(1);
    let end = range.end;
    range.step_by(step).map(move |start| start..(start + step).min(end))
}

#[expect(clippy::print_stdout, reason = "the demo talks to the person who started it")]
fn say(text: &str) {
    println!("{text}");
}
