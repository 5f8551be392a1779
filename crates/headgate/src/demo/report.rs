//! What the demo found, for people and for machines.

use serde::Serialize;
use serde_json::Value;

/// The result of a run; `--json` writes it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Records fed.
    pub input_rows: usize,
    /// One entry per channel.
    pub channels: Vec<ChannelReport>,
    /// Usage of the consumer, summed per meter.
    pub usage: Value,
    /// What it costs, with the lines of the invoice.
    pub price: Value,
}

/// One channel, read back as a client would.
#[derive(Debug, Clone, Serialize)]
pub struct ChannelReport {
    /// The channel's id.
    pub id: String,
    /// Its channel profile.
    pub channel_profile: String,
    /// Records the client read.
    pub rows: usize,
    /// The delivery checksum, computed by the client from what it read.
    pub checksum: String,
    /// Whether count and checksum agree with what the platform says it delivered, and the count
    /// with the input.
    pub verified: bool,
}

impl Report {
    /// Whether every channel agrees.
    pub fn verified(&self) -> bool {
        self.channels.iter().all(|channel| channel.verified)
    }
}
