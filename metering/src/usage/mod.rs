//! Usage records: immutable metered facts, identified by what happened, never by when it was
//! written.

pub mod ids;
mod meter;
mod query;
mod record;
mod store;

use chrono::{DateTime, Utc};
use headgate_types::channel::Lane;
use headgate_types::{ChannelId, ElementId, TenantId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use meter::Meter;
pub use query::{GroupBy, RecordCursor, UsageFilter, UsageQuery, UsageSum, list_records, list_usage, ranges, totals};
pub use record::{Recorded, record, record_once};

/// What a price may depend on beside the meter. Written with the record, so that a later change of
/// the channel does not change what was used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Dims {
    /// The channel profile, for example `webhook`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_profile: Option<String>,
    /// The performance profile, for example `M`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub performance_profile: Option<String>,
    /// `immediate`, `interval` or `cron`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timing: Option<String>,
    /// The element's price tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_key: Option<String>,
}

/// A range of an element's log on one lane: the records with `after < offset <= to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct OffsetRange {
    /// The lane.
    pub lane: Lane,
    /// The offset before the first.
    pub after: u64,
    /// The last offset.
    pub to: u64,
}

/// Whether a record is a fact or puts one right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordKind {
    /// A fact.
    Usage,
    /// A correction of another record; its quantity is added and may be negative.
    Correction,
}

impl RecordKind {
    /// The word in tables and documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Correction => "correction",
        }
    }
}

/// One immutable metered fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageRecord {
    /// Who is charged.
    pub tenant: TenantId,
    /// Who counted: `engine`, `control-api`.
    pub source: String,
    /// Derived from the fact (see [`ids`]), so that a repeat writes nothing. Unique with tenant and
    /// source for ever.
    pub id: String,
    /// What was counted.
    pub meter: Meter,
    /// The channel it happened on.
    pub channel: Option<ChannelId>,
    /// The element whose records they were.
    pub element: Option<ElementId>,
    /// The part of the element's log it stands for. Ranges of one channel, element, lane and meter
    /// tile: no overlap, no gap.
    pub range: Option<OffsetRange>,
    /// How much, in the meter's base unit.
    pub quantity: i64,
    /// When it happened; picks the period.
    pub event_time: DateTime<Utc>,
    /// When it was written; an invoice sees what was stored before its cut-off.
    pub stored_at: DateTime<Utc>,
    /// What its price depends on.
    pub dims: Dims,
    /// Fact or correction.
    pub kind: RecordKind,
    /// The id of the record it corrects.
    pub corrects_id: Option<String>,
}

/// A sum to be rated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageTotal {
    /// What was counted.
    pub meter: Meter,
    /// The channel it happened on.
    pub channel: Option<ChannelId>,
    /// The element whose records they were.
    pub element: Option<ElementId>,
    /// What the price depends on.
    pub dims: Dims,
    /// How much, in the meter's base unit.
    pub quantity: i64,
}
