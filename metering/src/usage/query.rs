//! Reading usage.

use chrono::{DateTime, Utc};
use headgate_database::{Argument, Tx, args};
use headgate_types::channel::Lane;
use headgate_types::{ChannelId, ElementId, FieldError, TenantId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::store::{self, SumRow};
use super::{Meter, OffsetRange, UsageRecord, UsageTotal};
use crate::error::MeteringError;

/// What sums are taken by, beside the meter, which is always one of them: units differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// The tenant.
    Tenant,
    /// The day, UTC.
    Day,
    /// The channel.
    Channel,
    /// The element.
    Element,
}

/// Which usage to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageFilter {
    /// One channel's.
    pub channel: Option<ChannelId>,
    /// One element's.
    pub element: Option<ElementId>,
    /// One meter's.
    pub meter: Option<Meter>,
}

/// Which sums to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageQuery {
    /// Whose; every tenant's, for the platform.
    pub tenant: Option<TenantId>,
    /// The first day.
    pub from: DateTime<Utc>,
    /// The day after the last; both at midnight UTC.
    pub to: DateTime<Utc>,
    /// Of what.
    pub filter: UsageFilter,
    /// By what.
    pub group_by: Vec<GroupBy>,
    /// Only those ordered after this one.
    pub after: Option<UsageSum>,
    /// The most rows.
    pub limit: u32,
}

/// A sum of usage; what it was not grouped by is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageSum {
    /// The tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// The day, at midnight UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<DateTime<Utc>>,
    /// What was counted.
    pub meter: Meter,
    /// The channel; also absent for usage that belongs to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<ChannelId>,
    /// The element; also absent for usage that belongs to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub element: Option<ElementId>,
    /// How much, in the meter's base unit.
    pub quantity: i64,
    /// How many usage records it is the sum of.
    pub records: u64,
}

/// Sums of usage by tenant, day, meter, channel and element, in that order.
///
/// # Errors
/// `Refused` when the period does not begin and end at midnight UTC, or is empty.
pub async fn list_usage(tx: &mut Tx, query: &UsageQuery) -> Result<Vec<UsageSum>, MeteringError> {
    let mut errors = Vec::new();
    for (name, at) in [("from", query.from), ("to", query.to)] {
        if store::day(at) != at {
            errors.push(FieldError::new(name, "not_midnight", "sums are kept by day, from midnight to midnight UTC"));
        }
    }
    if query.from >= query.to {
        errors.push(FieldError::new("to", "empty_period", "the period ends after it begins"));
    }
    MeteringError::unless_empty("period", errors)?;

    // What is not grouped by is a constant, so that one order of keys serves every grouping.
    let mut arguments = args![query.from, query.to, DateTime::<Utc>::UNIX_EPOCH, Uuid::nil()];
    let by = |group: GroupBy| query.group_by.contains(&group);
    let tenant = if by(GroupBy::Tenant) { "tenant_id" } else { "$4" };
    let day = if by(GroupBy::Day) { "day" } else { "$3" };
    let channel = if by(GroupBy::Channel) { "channel_id" } else { "$4" };
    let element = if by(GroupBy::Element) { "element_id" } else { "$4" };
    let grouped: Vec<_> =
        [tenant, day, "meter", channel, element].into_iter().filter(|column| !column.starts_with('$')).collect();
    let mut conditions = vec!["day >= $1 AND day < $2".to_owned()];
    let whose = query.tenant.map(|tenant| ("tenant_id", tenant.into()));
    for (column, value) in whose.into_iter().chain(filter_values(&query.filter)) {
        arguments.push(value);
        conditions.push(format!("{column} = ${}", arguments.len()));
    }
    let mut after = String::new();
    if let Some(key) = &query.after {
        let first = arguments.len() + 1;
        arguments.extend(args![
            key.tenant.map_or_else(Uuid::nil, Into::into),
            key.day.unwrap_or(DateTime::<Utc>::UNIX_EPOCH),
            key.meter.as_str(),
            key.channel.map_or_else(Uuid::nil, Into::into),
            key.element.map_or_else(Uuid::nil, Into::into)
        ]);
        after = format!(
            "WHERE (tenant_id, day, meter, channel_id, element_id) > (${first}, ${}, ${}, ${}, ${})",
            first + 1,
            first + 2,
            first + 3,
            first + 4
        );
    }
    arguments.push(query.limit.into());
    let sql = format!(
        "SELECT tenant_id, day, meter, channel_id, element_id, quantity, records FROM (
           SELECT {} AS tenant_id, {} AS day, meter, {} AS channel_id, {} AS element_id,
                  CAST(SUM(quantity) AS BIGINT) AS quantity, CAST(SUM(records) AS BIGINT) AS records
           FROM usage_rollups WHERE {} GROUP BY {}
         ) AS sums {after} ORDER BY tenant_id, day, meter, channel_id, element_id LIMIT ${}",
        tenant,
        day,
        channel,
        element,
        conditions.join(" AND "),
        grouped.iter().map(|column| format!("usage_rollups.{column}")).collect::<Vec<_>>().join(", "),
        arguments.len()
    );
    let rows: Vec<SumRow> = tx.fetch_all_built(sql, arguments).await?;
    rows.into_iter()
        .map(|row| {
            Ok(UsageSum {
                tenant: Some(row.tenant_id).filter(|id| !id.is_nil()).map(Into::into),
                day: by(GroupBy::Day).then_some(row.day),
                meter: row.meter.parse().map_err(|error| MeteringError::corrupt("usage_rollups", error))?,
                channel: Some(row.channel_id).filter(|id| !id.is_nil()).map(Into::into),
                element: Some(row.element_id).filter(|id| !id.is_nil()).map(Into::into),
                quantity: row.quantity,
                records: row.records.unsigned_abs(),
            })
        })
        .collect()
}

fn filter_values(filter: &UsageFilter) -> Vec<(&'static str, Argument)> {
    let mut values = Vec::new();
    values.extend(filter.channel.map(|channel| ("channel_id", channel.into())));
    values.extend(filter.element.map(|element| ("element_id", element.into())));
    values.extend(filter.meter.map(|meter| ("meter", meter.as_str().into())));
    values
}

/// Where a list of records goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordCursor {
    /// `event_time` of the last record seen.
    pub event_time: DateTime<Utc>,
    /// Its source.
    pub source: String,
    /// Its id.
    pub id: String,
}

/// Usage records of a period, by time.
///
/// # Errors
/// When the database fails.
pub async fn list_records(
    tx: &mut Tx,
    tenant: TenantId,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    filter: &UsageFilter,
    after: Option<&RecordCursor>,
    limit: u32,
) -> Result<Vec<UsageRecord>, MeteringError> {
    let mut arguments = args![tenant, from, to, limit];
    let mut conditions = vec!["tenant_id = $1 AND event_time >= $2 AND event_time < $3".to_owned()];
    for (column, value) in filter_values(filter) {
        arguments.push(value);
        conditions.push(format!("{column} = ${}", arguments.len()));
    }
    if let Some(after) = after {
        let first = arguments.len() + 1;
        arguments.extend(args![after.event_time, after.source.as_str(), after.id.as_str()]);
        conditions.push(format!("(event_time, source, id) > (${first}, ${}, ${})", first + 1, first + 2));
    }
    let rest = format!("WHERE {} ORDER BY event_time, source, id LIMIT $4", conditions.join(" AND "));
    store::select(tx, rest, arguments).await
}

/// The booked ranges of one flow, in the order of their offsets.
///
/// # Errors
/// When the database fails.
pub async fn ranges(
    tx: &mut Tx,
    tenant: TenantId,
    channel: ChannelId,
    element: ElementId,
    lane: Lane,
    meter: Meter,
) -> Result<Vec<(OffsetRange, i64)>, MeteringError> {
    let rest = "WHERE tenant_id = $1 AND channel_id = $2 AND element_id = $3 AND lane = $4 AND meter = $5
        AND kind = 'usage' AND after_offset IS NOT NULL ORDER BY after_offset, to_offset";
    let arguments = args![tenant, channel, element, lane.as_str(), meter.as_str()];
    let records = store::select(tx, rest.to_owned(), arguments).await?;
    Ok(records.into_iter().filter_map(|record| record.range.map(|range| (range, record.quantity))).collect())
}

/// What there is to rate in a period `from <= event_time < to`. With a cut-off only what was stored
/// before it, so that an invoice can be made again and come out the same.
///
/// # Errors
/// When the database fails.
pub async fn totals(
    tx: &mut Tx,
    tenant: TenantId,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    cutoff: Option<DateTime<Utc>>,
) -> Result<Vec<UsageTotal>, MeteringError> {
    let rows = store::totals(tx, tenant, from, to, cutoff).await?;
    rows.into_iter()
        .map(|row| {
            Ok(UsageTotal {
                meter: row.meter.parse().map_err(|error| MeteringError::corrupt("usage_records", error))?,
                channel: row.channel_id.map(Into::into),
                element: row.element_id.map(Into::into),
                dims: store::read_dims(&row.dims)?,
                quantity: row.quantity,
            })
        })
        .collect()
}
