//! What is written of a flow: cursor, usage, quota and dead letter, all or nothing (rule 31).

use chrono::{DateTime, Utc};
use headgate_metering::{Dims, Meter, OffsetRange, RecordKind, UsageRecord, ids};
use headgate_types::channel::Lane;

use super::books::{self, Cut, Settled};
use super::ledger::Entry;
use super::quota::Spent;
use super::store::FlowRow;
use super::{Context, DeliveryError};

/// Who counted, in usage records.
const SOURCE: &str = "engine";

/// A record that the receiver refused.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Its place.
    pub offset: u64,
    /// When it was refused.
    pub at: DateTime<Utc>,
    /// What the receiver said.
    pub reason: String,
    /// Revision of the output model.
    pub model_version: u32,
    /// The record as it would have been sent.
    pub raw: String,
}

/// Books a settled range. Returns the books as they stand now.
pub async fn settle(
    context: &Context,
    row: &FlowRow,
    dims: &Dims,
    settled: &Settled,
    refusal: Option<Refusal>,
    spent: Option<Spent>,
) -> Result<FlowRow, DeliveryError> {
    let now = context.clock.now();
    let (next, cut) = books::book(row, settled, now, context.usage_span);
    let mut facts = cut.map_or_else(Vec::new, |cut| usage(context, row, dims, &cut));
    if let Some(refusal) = &refusal {
        let at = OffsetRange { lane: row.key.lane, after: refusal.offset.saturating_sub(1), to: refusal.offset };
        let id = ids::of_range(row.channel, row.key.element, at, Meter::DeadletterRecords);
        facts.push(fact(context, row, dims, Meter::DeadletterRecords, id, 1, next.open.since));
    }
    let entry = Entry { before: row.clone(), after: next.clone(), usage: facts, refusal, spent };
    context.ledger.write(entry).await?;
    headgate_types::reach(headgate_types::Failpoint::BooksMoved);
    Ok(next)
}

/// Cuts what is open, although its span is not over.
pub async fn cut(context: &Context, row: &FlowRow, dims: &Dims) -> Result<FlowRow, DeliveryError> {
    let since = books::span_start(context.clock.now(), context.usage_span);
    let (next, cut) = books::close(row, since);
    let Some(cut) = cut else { return Ok(row.clone()) };
    let usage = usage(context, row, dims, &cut);
    let entry = Entry { before: row.clone(), after: next.clone(), usage, refusal: None, spent: None };
    context.ledger.write(entry).await?;
    headgate_types::reach(headgate_types::Failpoint::UsageCut);
    Ok(next)
}

/// The usage records of a cut range.
pub(super) fn usage(context: &Context, row: &FlowRow, dims: &Dims, cut: &Cut) -> Vec<UsageRecord> {
    let range = OffsetRange { lane: row.key.lane, after: cut.after, to: cut.to };
    let meters: &[(Meter, u64)] = match row.key.lane {
        Lane::Live | Lane::Backfill => &[(Meter::DeliverRecords, cut.records), (Meter::DeliverBytes, cut.bytes)],
        Lane::Replay => &[(Meter::ReplayRecords, cut.records)],
    };
    let of = |(meter, quantity): &(Meter, u64)| {
        let id = ids::of_range(row.channel, row.key.element, range, *meter);
        let quantity = i64::try_from(*quantity).unwrap_or(i64::MAX);
        UsageRecord { range: Some(range), ..fact(context, row, dims, *meter, id, quantity, cut.event_time) }
    };
    meters.iter().map(of).collect()
}

fn fact(
    context: &Context,
    row: &FlowRow,
    dims: &Dims,
    meter: Meter,
    id: String,
    quantity: i64,
    event_time: DateTime<Utc>,
) -> UsageRecord {
    UsageRecord {
        tenant: row.tenant,
        source: SOURCE.to_owned(),
        id,
        meter,
        channel: Some(row.channel),
        element: Some(row.key.element),
        range: None,
        quantity,
        event_time,
        stored_at: context.clock.now(),
        dims: dims.clone(),
        kind: RecordKind::Usage,
        corrects_id: None,
    }
}
