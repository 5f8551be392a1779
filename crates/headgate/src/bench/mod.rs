//! `headgate bench`: the product measured from outside, each figure beside a peer or beside itself
//! in the same run. It prints what it measured and asserts nothing about time.

mod cloud;
mod fanout;
mod ingest;
mod jetstream;
mod lake;
mod load;
mod matching;
pub mod peer;
mod python;
mod report;
mod server;
pub mod webhooks;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::cli::BenchArguments;
use crate::demo::client::ApiClient;
use crate::demo::world::{self, Channel, Organisation};
use report::Report;
use server::Headgate;

/// Runs the benchmarks that were asked for.
pub async fn run(arguments: BenchArguments) -> Result<()> {
    let mut report = Report::new(&arguments);
    let wanted = |name: &str| arguments.only.as_ref().is_none_or(|only| only.split(',').any(|one| one == name));
    if wanted("B1") {
        ingest::single(&arguments, &mut report).await.context("B1")?;
    }
    if wanted("B2") {
        ingest::batches(&arguments, &mut report).await.context("B2")?;
    }
    if wanted("B3") {
        lake::conform(&arguments, &mut report).await.context("B3")?;
    }
    if wanted("B4") {
        lake::commits(&arguments, &mut report).await.context("B4")?;
    }
    if wanted("B5") {
        matching::subscriptions(&arguments, &mut report).context("B5")?;
    }
    if wanted("B6") {
        fanout::models(&arguments, &mut report).await.context("B6")?;
    }
    if wanted("B7") {
        fanout::latency(&arguments, &mut report).await.context("B7")?;
    }
    if wanted("B8") {
        webhooks::deliveries(&arguments, &mut report).await.context("B8")?;
    }
    if wanted("B12") {
        fanout::idle(&arguments, &mut report).await.context("B12")?;
    }
    if wanted("B13") {
        cloud::channels(&arguments, &mut report).await.context("B13")?;
    }
    report.finish()
}

/// A Headgate whose sizes do not limit, with a provider, a consumer and one feed of events.
struct World {
    headgate: Headgate,
    consumer: Organisation,
    feed: Channel,
    _directory: tempfile::TempDir,
}

impl World {
    async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// The same with further flags of `serve`.
    async fn start_with(further: &[&str]) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("headgate-bench-").tempdir()?;
        let profiles = unlimited(directory.path())?;
        let headgate = Headgate::start(directory.path(), &profiles, further).await?;
        let (id, secret) = &headgate.admin;
        let admin = ApiClient::sign_in(&headgate.control, id, secret).await?;
        let provider = Organisation::create(&admin, &headgate.control, "Provider").await?;
        let consumer = Organisation::create(&admin, &headgate.control, "Consumer").await?;
        let order = json!({
            "name": "rows", "channel_profile": "http", "performance_profile": "XL",
            "feeds": [{"name": "rows", "new_element": {
                "name": "rows", "kind": "events",
                "metadata": {"context": "benchmark", "source": "headgate bench", "format": "ndjson",
                             "what": "made-up metrics", "identified_by": "id"},
                "schema": {"fields": [
                    {"name": "id", "type": "int64"}, {"name": "ts", "type": "int64"},
                    {"name": "tenant", "type": "string"}, {"name": "device", "type": "string"},
                    {"name": "site", "type": "string"}, {"name": "metric", "type": "string"},
                    {"name": "value", "type": "float64"}, {"name": "note", "type": "string"},
                ]},
            }}],
        });
        let feed = provider.order("in", &order, |_| {}, async |_, _| {}).await?;
        let grants = format!("/v1/elements/{}/grants", feed.element());
        provider.api.post(&grants, &json!({"tenant": consumer.tenant})).await?;
        Ok(Self { headgate, consumer, feed, _directory: directory })
    }

    /// Orders a stream channel over the feed's element.
    async fn stream(&self, name: &str, data: Value, model: Value) -> Result<Channel> {
        let order = json!({"name": name, "channel_profile": "stream", "performance_profile": "XL",
                           "data": [data], "output_data_model": model});
        self.consumer.order("out", &order, |_| {}, async |_, _| {}).await
    }

    /// Sends `rows` rows without a time in payloads of 5,000, each once the one before is conformed.
    async fn send(&self, rows: u64) -> Result<()> {
        for first in (0..rows).step_by(5_000) {
            let payload: String = (first..rows.min(first + 5_000)).map(|id| row(id, 0) + "\n").collect();
            world::send(&self.feed, "application/x-ndjson", payload).await?;
        }
        Ok(())
    }

    /// Waits until the channels have got this many records, all together and since Headgate started.
    async fn delivered(&self, records: u64) -> Result<()> {
        while self.headgate.metric("headgate_delivered_records_total").await? < records as f64 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Waits until every payload sent so far is conformed.
    async fn conformed(&self) -> Result<()> {
        // Payloads of one feed are conformed in the order they landed, so the last one is enough.
        world::send(&self.feed, "application/x-ndjson", format!("{}\n", row(u64::MAX >> 1, 0))).await?;
        Ok(())
    }
}

/// Writes the built-in profiles with every rate out of the way: a benchmark of the limits would
/// show the limits.
fn unlimited(directory: &Path) -> Result<PathBuf> {
    let mut profiles: Value = serde_yaml_ng::from_str(include_str!("../../../../templates/profiles.yaml"))?;
    for direction in ["data_in", "data_out"] {
        for profile in profiles[direction].as_object_mut().into_iter().flat_map(|profiles| profiles.values_mut()) {
            for size in profile["sizes"].as_object_mut().into_iter().flat_map(|sizes| sizes.values_mut()) {
                size["limits"]["records_per_second"] = json!(1_000_000_000);
                size["limits"]["bytes_per_second"] = json!("1000GiB");
                size["limits"]["connections"] = json!(10_000);
            }
        }
    }
    let file = directory.join("profiles.yaml");
    std::fs::write(&file, serde_yaml_ng::to_string(&profiles)?)?;
    Ok(file)
}

/// A row of 300 bytes and eight columns, stamped with `ts`.
fn row(id: u64, ts: u64) -> String {
    let mut row = format!(
        r#"{{"id":{id},"ts":{ts},"tenant":"tenant-{:03}","device":"device-{:05}","site":"site-{:02}","metric":"metric-{}","value":{}.25,"note":""#,
        id % 100,
        id % 10_000,
        id % 40,
        id % 7,
        id % 1_000,
    );
    while row.len() < 298 {
        row.push(char::from(b'a' + (id.wrapping_add(row.len() as u64 * 7) % 26) as u8));
    }
    row.push_str("\"}");
    row
}
