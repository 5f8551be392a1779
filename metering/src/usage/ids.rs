//! Ids of usage records, derived from the fact, so that writing it again writes nothing.

use chrono::{DateTime, Utc};
use headgate_types::{ChannelId, ClientId, ElementId};

use super::{Meter, OffsetRange};

/// Records of an element moved through a channel: `{channel}:{lane}:{element}:{first}-{last}:{meter}`.
#[must_use]
pub fn of_range(channel: ChannelId, element: ElementId, range: OffsetRange, meter: Meter) -> String {
    format!("{channel}:{}:{element}:{}-{}:{meter}", range.lane, range.after + 1, range.to)
}

/// A channel during one hour: `{channel}:{hour}:{meter}`, the hour as `2026-01-31T05Z`. Where it is charged for
/// otherwise since a moment within the hour, the rest has that second: `2026-01-31T05:12:30Z`.
#[must_use]
pub fn of_hour(channel: ChannelId, start: DateTime<Utc>, meter: Meter) -> String {
    let is_whole = start.timestamp() % 3_600 == 0;
    format!("{channel}:{}:{meter}", start.format(if is_whole { "%Y-%m-%dT%HZ" } else { "%Y-%m-%dT%H:%M:%SZ" }))
}

/// Requests of a client: `{process run}:{window}:{client}`. `run` is made anew by each process, or a
/// restart within a window would be taken for a repeat.
#[must_use]
pub fn of_requests(run: &str, window: u64, client: ClientId) -> String {
    format!("{run}:{window}:{client}")
}
