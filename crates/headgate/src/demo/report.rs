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

    /// The usage as people read it, a line per meter.
    pub fn usage_lines(&self) -> impl Iterator<Item = String> {
        let items = self.usage["items"].as_array().into_iter().flatten();
        items.map(|item| format!("  {:<16} {:>12}", text(&item["meter"]), item["quantity"].to_string()))
    }

    /// The price as people read it: a line per item, and the sum.
    pub fn price_lines(&self) -> impl Iterator<Item = String> {
        let currency = text(&self.price["currency"]);
        let lines = self.price["lines"].as_array().into_iter().flatten().map(move |line| {
            let (meter, of) = (text(&line["meter"]), text(&line["dims"]["channel_profile"]));
            let unit = text(&line["price"]["unit"]);
            let rate = line["price"]["amount"].as_str().map(|amount| format!("at {amount} {currency} per {unit}"));
            let rate = rate.unwrap_or_else(|| format!("by tiers per {unit}"));
            let (quantity, amount) = (line["quantity"].to_string(), text(&line["amount"]));
            format!("  {meter:<16} {of:<8} {quantity:>12} {rate:<34} {amount:>8} {currency}")
        });
        lines.chain([format!("  {:<73} {:>8} {currency}", "total", text(&self.price["total"]))])
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
