//! Whether what was billed is what was delivered: the sum of usage against the counters that the
//! engine moves with its cursors, and the daily sums against the records.

use std::collections::BTreeMap;

use headgate_database::{Tx, args};
use headgate_types::channel::Lane;
use headgate_types::{ChannelId, ElementId, TenantId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::error::MeteringError;
use crate::usage::{Meter, ranges};

/// The most differences a report lists; all are counted.
const MAX_LISTED: usize = 100;

/// What the engine's counters say of one flow, up to its last cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Booked {
    /// Who is charged.
    pub tenant: TenantId,
    /// The channel.
    pub channel: ChannelId,
    /// The element.
    pub element: ElementId,
    /// The lane.
    pub lane: Lane,
    /// The offset after which billing began.
    pub start: u64,
    /// The last offset for which usage was cut; later records are delivered but not billed yet.
    pub cut_to: u64,
    /// Records delivered with `start < offset <= cut_to`.
    pub records: u64,
    /// Their canonical encoded size in bytes.
    pub bytes: u64,
}

/// One place where usage and counters differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "difference", rename_all = "snake_case")]
pub enum Difference {
    /// Offsets that were delivered and are in no usage record.
    Gap {
        /// The flow.
        flow: Booked,
        /// What was counted.
        meter: Meter,
        /// The offset before the first one missing.
        after: u64,
        /// The last one missing.
        to: u64,
    },
    /// Offsets that are in two usage records, or beyond the cut.
    Overlap {
        /// The flow.
        flow: Booked,
        /// What was counted.
        meter: Meter,
        /// The offset before the first one billed twice.
        after: u64,
        /// The last one billed twice.
        to: u64,
    },
    /// The ranges tile and their sum is not what the counter says.
    Quantity {
        /// The flow.
        flow: Booked,
        /// What was counted.
        meter: Meter,
        /// What the counter says.
        delivered: i64,
        /// What the usage records say.
        billed: i64,
    },
    /// Usage of a flow that the engine has no counter of.
    UnknownFlow {
        /// Who was charged.
        tenant: TenantId,
        /// The channel.
        channel: ChannelId,
        /// The element.
        element: ElementId,
        /// The lane.
        lane: Lane,
        /// What was billed, in records.
        billed: i64,
    },
    /// A daily sum is not the sum of its records.
    Rollup {
        /// Whose.
        tenant: TenantId,
        /// What was counted.
        meter: Meter,
        /// What the sums say.
        rollups: i64,
        /// What the records say.
        records: i64,
    },
}

/// What a reconciliation found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Report {
    /// Flows compared.
    pub flows: u64,
    /// Records the counters say were delivered and cut.
    pub delivered_records: i64,
    /// Records billed.
    pub billed_records: i64,
    /// Bytes the counters say were delivered and cut.
    pub delivered_bytes: i64,
    /// Bytes billed.
    pub billed_bytes: i64,
    /// How many differences there are.
    pub difference_count: u64,
    /// The first hundred of them.
    pub differences: Vec<Difference>,
}

impl Report {
    /// Whether everything agrees.
    #[must_use]
    pub const fn agrees(&self) -> bool {
        self.difference_count == 0
    }

    fn note(&mut self, difference: Difference) {
        self.difference_count += 1;
        if self.differences.len() < MAX_LISTED {
            self.differences.push(difference);
        }
    }
}

/// Compares usage with the engine's counters, for one tenant or for all. `booked` and the usage must
/// come from one snapshot: `Db::read_tenant` or `Db::read_platform` on the data part.
///
/// # Errors
/// When the database fails.
pub async fn reconcile(tx: &mut Tx, tenant: Option<TenantId>, booked: &[Booked]) -> Result<Report, MeteringError> {
    let mut report = Report::default();
    let mut flows = booked.iter().filter(|flow| tenant.is_none_or(|tenant| tenant == flow.tenant)).collect::<Vec<_>>();
    flows.sort_by_key(|flow| (flow.tenant, flow.channel, flow.element, flow.lane));
    for flow in &flows {
        report.flows += 1;
        for (meter, delivered) in [(Meter::DeliverRecords, flow.records), (Meter::DeliverBytes, flow.bytes)] {
            let delivered = i64::try_from(delivered).unwrap_or(i64::MAX);
            let billed = check_flow(tx, flow, meter, delivered, &mut report).await?;
            if meter == Meter::DeliverRecords {
                report.delivered_records += delivered;
                report.billed_records += billed;
            } else {
                report.delivered_bytes += delivered;
                report.billed_bytes += billed;
            }
        }
    }
    check_unknown(tx, tenant, &flows, &mut report).await?;
    check_rollups(tx, tenant, &mut report).await?;
    Ok(report)
}

async fn check_flow(
    tx: &mut Tx,
    flow: &Booked,
    meter: Meter,
    delivered: i64,
    report: &mut Report,
) -> Result<i64, MeteringError> {
    let mut at = flow.start;
    let mut billed = 0;
    let mut tiled = true;
    for (range, quantity) in ranges(tx, flow.tenant, flow.channel, flow.element, flow.lane, meter).await? {
        billed += quantity;
        if range.after > at {
            report.note(Difference::Gap { flow: *flow, meter, after: at, to: range.after });
            tiled = false;
        }
        if range.after < at {
            report.note(Difference::Overlap { flow: *flow, meter, after: range.after, to: at.min(range.to) });
            tiled = false;
        }
        at = at.max(range.to);
    }
    if at < flow.cut_to {
        report.note(Difference::Gap { flow: *flow, meter, after: at, to: flow.cut_to });
        tiled = false;
    }
    if at > flow.cut_to {
        report.note(Difference::Overlap { flow: *flow, meter, after: flow.cut_to, to: at });
        tiled = false;
    }
    // Where ranges are missing or doubled the sums differ anyway; naming the place says more.
    if tiled && billed != delivered {
        report.note(Difference::Quantity { flow: *flow, meter, delivered, billed });
    }
    Ok(billed)
}

async fn check_unknown(
    tx: &mut Tx,
    tenant: Option<TenantId>,
    flows: &[&Booked],
    report: &mut Report,
) -> Result<(), MeteringError> {
    let rows: Vec<(Uuid, Uuid, Uuid, String, i64)> = tx
        .fetch_all(
            "SELECT tenant_id, channel_id, element_id, lane, CAST(SUM(quantity) AS BIGINT) FROM usage_records
             WHERE meter = $1 AND after_offset IS NOT NULL AND channel_id IS NOT NULL AND element_id IS NOT NULL
               AND tenant_id = COALESCE($2, tenant_id)
             GROUP BY tenant_id, channel_id, element_id, lane ORDER BY tenant_id, channel_id, element_id, lane",
            args![Meter::DeliverRecords.as_str(), tenant],
        )
        .await?;
    for (tenant, channel, element, lane, billed) in rows {
        let (tenant, channel, element) = (TenantId::from(tenant), ChannelId::from(channel), ElementId::from(element));
        let lane: Lane = lane.parse().map_err(|error| MeteringError::corrupt("usage_records", error))?;
        let known = flows.binary_search_by_key(&(tenant, channel, element, lane), |flow| {
            (flow.tenant, flow.channel, flow.element, flow.lane)
        });
        if known.is_err() {
            report.billed_records += billed;
            report.note(Difference::UnknownFlow { tenant, channel, element, lane, billed });
        }
    }
    Ok(())
}

async fn check_rollups(tx: &mut Tx, tenant: Option<TenantId>, report: &mut Report) -> Result<(), MeteringError> {
    let mut sums = BTreeMap::<(TenantId, Meter), (i64, i64)>::new();
    for (index, table) in ["usage_rollups", "usage_records"].into_iter().enumerate() {
        let rows: Vec<(Uuid, String, i64)> = tx
            .fetch_all_built(
                format!(
                    "SELECT tenant_id, meter, CAST(SUM(quantity) AS BIGINT) FROM {table}
                     WHERE tenant_id = COALESCE($1, tenant_id) GROUP BY tenant_id, meter"
                ),
                args![tenant],
            )
            .await?;
        for (tenant, meter, quantity) in rows {
            let meter = meter.parse().map_err(|error| MeteringError::corrupt("usage_records", error))?;
            let sum = sums.entry((tenant.into(), meter)).or_default();
            *(if index == 0 { &mut sum.0 } else { &mut sum.1 }) = quantity;
        }
    }
    for ((tenant, meter), (rollups, records)) in sums {
        if rollups != records {
            report.note(Difference::Rollup { tenant, meter, rollups, records });
        }
    }
    Ok(())
}
