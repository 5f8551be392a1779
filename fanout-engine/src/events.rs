//! What the engine tells tenants.

use headgate_types::{ChannelId, DeadLetterId, ElementId, ReceiptId};
use serde::Serialize;
use utoipa::ToSchema;

headgate_events::payloads! {
    /// Records were refused because they do not fit.
    pub(crate) SchemaMismatch {
        /// The data-in channel.
        channel: ChannelId,
        /// The feed of the newest of them.
        feed: String,
        /// The element of the newest of them.
        element: ElementId,
        /// How many since the last event of this type.
        refused: u64,
        /// The newest of them.
        newest: RefusedRecord,
    }
    /// The model or filter of a channel no longer fits.
    pub(crate) SchemaIncompatible {
        /// The data-out channel.
        channel: ChannelId,
        /// What does not fit, and where.
        reason: String,
    }
    /// A channel's target refuses, or holds something else than what was booked.
    pub(crate) DeliveryDegraded {
        /// The data-out channel.
        channel: ChannelId,
        /// What is the matter.
        reason: String,
    }
    /// Usage has passed a threshold of a quota.
    pub(crate) UsageThreshold {
        /// Which quota, as in the tenant's quotas.
        quota: String,
        /// The month, `YYYY-MM`.
        month: String,
        /// The threshold.
        percent: u64,
        /// What was used so far.
        used_bytes: u64,
        /// The quota.
        limit_bytes: u64,
    }
    /// Records of an element were lost.
    pub(crate) ElementFenced {
        /// The element.
        element: ElementId,
        /// Its name.
        name: String,
        /// The newest offset that is left.
        head: u64,
        /// The newest offset that may have been given out; new records follow it.
        seen: u64,
        /// The epoch of new records.
        epoch: u32,
    }
}

/// A record that was refused; the dead letter holds it whole.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RefusedRecord {
    /// The dead letter.
    pub dead_letter: DeadLetterId,
    /// Its payload.
    pub receipt: ReceiptId,
    /// Its place in the payload, from 1; 0 for the payload as a whole.
    pub ordinal: u64,
    /// Stable code of the reason.
    pub code: String,
    /// The reason, for a person.
    pub reason: String,
    /// The field at fault, where one is.
    pub field_path: Option<String>,
}
