//! Hours of channels: how long their resources existed, booked hour by hour.

use chrono::{DateTime, TimeDelta, Utc};
use headgate_database::{Tx, args};
use headgate_types::{ChannelId, TenantId};

use crate::error::MeteringError;
use crate::usage::Recorded;
use crate::usage::{Dims, Meter, RecordKind, UsageRecord, ids, record_once};

/// How far back an hour is booked after an outage of the metering loop.
const LOOK_BACK: TimeDelta = TimeDelta::days(62);

/// A channel and how long it has had resources of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupied {
    /// Who is charged.
    pub tenant: TenantId,
    /// The channel.
    pub channel: ChannelId,
    /// From when it was first ACTIVE to when it was DELETED, in their order and without gaps.
    pub spans: Vec<Span>,
}

/// A time in which a channel was charged for in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// What the price depends on.
    pub dims: Dims,
    /// When it began.
    pub from: DateTime<Utc>,
    /// When it ended, if it did.
    pub until: Option<DateTime<Utc>>,
}

impl Span {
    /// What is booked of it within an hour; none where there is nothing.
    fn within(
        &self,
        channel: &Occupied,
        hour: DateTime<Utc>,
        is_first: bool,
        now: DateTime<Utc>,
    ) -> Option<UsageRecord> {
        let quantity = seconds_in_hour(self.from, self.until, hour);
        let start = if is_first { hour } else { hour.max(self.from) };
        (quantity > 0).then(|| UsageRecord {
            tenant: channel.tenant,
            source: "metering".to_owned(),
            id: ids::of_hour(channel.channel, start, Meter::ChannelHours),
            meter: Meter::ChannelHours,
            channel: Some(channel.channel),
            element: None,
            range: None,
            quantity,
            event_time: start,
            stored_at: now,
            dims: self.dims.clone(),
            kind: RecordKind::Usage,
            corrects_id: None,
        })
    }
}

/// The whole seconds of the hour starting at `hour` that are between two times: from the second of the first to that
/// of the other.
#[must_use]
pub fn seconds_in_hour(from: DateTime<Utc>, until: Option<DateTime<Utc>>, hour: DateTime<Utc>) -> i64 {
    let end = hour + TimeDelta::hours(1);
    let first = from.timestamp().max(hour.timestamp());
    let last = until.map_or(end, |until| until.min(end)).timestamp();
    (last - first).max(0)
}

/// Books every hour of these channels that is over and not booked yet, each part of it with the dimensions the channel
/// had in it; returns how many records that made. Runs in a transaction of the platform (`Db::platform`).
///
/// # Errors
/// When the database fails.
pub async fn book_hours(tx: &mut Tx, occupied: &[Occupied], now: DateTime<Utc>) -> Result<u64, MeteringError> {
    let mut booked = 0;
    let current = hour_of(now);
    for channel in occupied {
        tx.act_for(channel.tenant).await?;
        let (last,): (Option<DateTime<Utc>>,) = tx
            .fetch_one(
                "SELECT MAX(event_time) FROM usage_records WHERE tenant_id = $1 AND channel_id = $2 AND meter = $3",
                args![channel.tenant, channel.channel, Meter::ChannelHours.as_str()],
            )
            .await?;
        let (Some(begin), Some(end)) = (channel.spans.first(), channel.spans.last()) else { continue };
        let first = last.map_or(hour_of(begin.from), |last| hour_of(last) + TimeDelta::hours(1));
        let mut hour = first.max(current - LOOK_BACK);
        while hour < current && end.until.is_none_or(|until| hour < until) {
            let parts = channel.spans.iter().enumerate();
            for usage in parts.filter_map(|(index, span)| span.within(channel, hour, index == 0, now)) {
                booked += u64::from(record_once(tx, &usage).await? == Recorded::New);
            }
            hour += TimeDelta::hours(1);
        }
    }
    Ok(booked)
}

fn hour_of(at: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp(at.timestamp().div_euclid(3_600) * 3_600, 0).unwrap_or(at)
}
