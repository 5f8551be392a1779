//! Ids of usage records, derived from the fact, so that writing it again writes nothing.

use chrono::{DateTime, Utc};
use headgate_types::{ChannelId, ClientId, ElementId};

use super::{Meter, OffsetRange};

/// Records of an element moved through a channel: `{channel}:{lane}:{element}:{first}-{last}:{meter}`.
#[must_use]
pub fn of_range(channel: ChannelId, element: ElementId, range: OffsetRange, meter: Meter) -> String {
    format!("{channel}:{}:{element}:{}-{}:{meter}", range.lane, range.after + 1, range.to)
}

/// A channel during one hour: `{channel}:{hour}:{meter}`, the hour as `2026-01-31T05Z`.
#[must_use]
pub fn of_hour(channel: ChannelId, hour: DateTime<Utc>, meter: Meter) -> String {
    format!("{channel}:{}:{meter}", hour.format("%Y-%m-%dT%HZ"))
}

/// Requests of a client: `{process run}:{window}:{client}`. `run` is made anew by each process, or a
/// restart within a window would be taken for a repeat.
#[must_use]
pub fn of_requests(run: &str, window: u64, client: ClientId) -> String {
    format!("{run}:{window}:{client}")
}
