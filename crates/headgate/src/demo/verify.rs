//! Reads every channel back and compares count and checksum with what the platform says it
//! delivered, and the count with the input.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::Value;

use super::plan::ChannelPlan;
use super::read::{ChannelReader, checksum};
use super::receiver::Receiver;
use super::report::ChannelReport;
use super::world::{Channel, Organisation};

/// How long the demo waits for deliveries that should take a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until every channel has delivered what is in its scope, then reads it back.
pub async fn all(
    consumer: &Organisation,
    channels: &[Channel],
    plans: &[ChannelPlan],
    receiver: &Receiver,
) -> Result<Vec<ChannelReport>> {
    let mut reports = Vec::new();
    for (channel, plan) in channels.iter().zip(plans) {
        let (records, sum) = delivered(consumer, channel, plan.expected).await?;
        let reader = ChannelReader::new(channel.url(), channel.secret("channel_key"));
        let read = match plan.profile {
            "api" => reader.api(channel.stream()).await?,
            "file" => reader.files().await?,
            "stream" => reader.stream().await?,
            _ => received(receiver, plan.expected).await,
        };
        let own = checksum(&read)?;
        let verified = read.len() == plan.expected && records == plan.expected && own == sum;
        reports.push(ChannelReport {
            id: channel.id.clone(),
            channel_profile: plan.profile.to_owned(),
            rows: read.len(),
            checksum: own,
            verified,
        });
    }
    Ok(reports)
}

/// What the platform says it delivered, once nothing is behind: records and checksum of all lanes.
async fn delivered(consumer: &Organisation, channel: &Channel, expected: usize) -> Result<(usize, String)> {
    use headgate_types::checksum::Checksum;
    let started = Instant::now();
    loop {
        let statistics = consumer.api.get(&format!("{}/statistics", channel.path)).await?;
        let flows = statistics["flows"].as_array().cloned().unwrap_or_default();
        let records: u64 = flows.iter().filter_map(|flow| flow["records"].as_u64()).sum();
        let behind = flows.iter().any(|flow| flow["caught_up"] != true);
        if !flows.is_empty() && !behind && records >= expected as u64 {
            let sums = flows.iter().filter_map(|flow| flow["checksum"].as_str()?.parse::<Checksum>().ok());
            let sum = sums.fold(Checksum::EMPTY, Checksum::plus);
            return Ok((usize::try_from(records)?, sum.to_string()));
        }
        if started.elapsed() > PATIENCE {
            bail!("{} records of {expected} arrived in {} within {PATIENCE:?}: {statistics}", records, channel.id);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The records of all webhook bodies.
async fn received(receiver: &Receiver, expected: usize) -> Vec<Value> {
    loop {
        let records = receiver.with(|received| received.records()).await;
        if records.len() >= expected {
            return records;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
