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
    /// What the price depends on.
    pub dims: Dims,
    /// When it was first ACTIVE.
    pub from: DateTime<Utc>,
    /// When it was DELETED, if it was.
    pub until: Option<DateTime<Utc>>,
}

/// The whole seconds of the hour starting at `hour` during which the channel had resources: from the
/// second it got them to the second it lost them.
#[must_use]
pub fn seconds_in_hour(from: DateTime<Utc>, until: Option<DateTime<Utc>>, hour: DateTime<Utc>) -> i64 {
    let end = hour + TimeDelta::hours(1);
    let first = from.timestamp().max(hour.timestamp());
    let last = until.map_or(end, |until| until.min(end)).timestamp();
    (last - first).max(0)
}

/// Books every hour of these channels that is over and not booked yet; returns how many it booked.
/// An hour is booked with the dimensions the channel has at that moment. Runs in a transaction of
/// the platform (`Db::platform`).
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
        let first = last.map_or(hour_of(channel.from), |last| hour_of(last) + TimeDelta::hours(1));
        let mut hour = first.max(current - LOOK_BACK);
        while hour < current && channel.until.is_none_or(|until| hour < until) {
            let quantity = seconds_in_hour(channel.from, channel.until, hour);
            if quantity > 0 {
                let usage = UsageRecord {
                    tenant: channel.tenant,
                    source: "metering".to_owned(),
                    id: ids::of_hour(channel.channel, hour, Meter::ChannelHours),
                    meter: Meter::ChannelHours,
                    channel: Some(channel.channel),
                    element: None,
                    range: None,
                    quantity,
                    event_time: hour,
                    stored_at: now,
                    dims: channel.dims.clone(),
                    kind: RecordKind::Usage,
                    corrects_id: None,
                };
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
