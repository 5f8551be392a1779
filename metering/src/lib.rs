//! What was used and what it costs: usage records, their sums, rate cards, rating, exports and the
//! check that they agree with what was delivered.
//!
//! Usage is written by whoever knows the fact (the engine in the transaction of its cursor, the
//! control API for its requests), rated and exported for the control API and the command line.
//! Emits no events itself: its callers do, with what [`Recorded`] and [`Report`] say.
//!
//! It never knows what a channel is set to: profile, size and timing come with the record. Every
//! function takes an open transaction on the data part and never commits.

mod error;
mod export;
mod hours;
mod rates;
mod reconcile;
#[cfg(test)]
mod tests;
mod usage;

pub use error::MeteringError;
pub use export::{Export, Manifest, Payer, export_csv};
pub use hours::{Occupied, Span, book_hours, seconds_in_hour};
pub use rates::{
    Line, NewRateCard, Price, Quote, QuoteRequest, QuotedElement, QuotedPrice, RateCard, Rated, Scheme, Tier,
    current_rate_card, ensure_standard, list_rate_cards, put_rate_card, quote, rate, rate_card, standard,
};
pub use reconcile::{Booked, Difference, Report, reconcile};
pub use usage::{
    Dims, GroupBy, Meter, OffsetRange, RecordCursor, RecordKind, Recorded, UsageFilter, UsageQuery, UsageRecord,
    UsageSum, UsageTotal, ids, list_records, list_usage, ranges, record, record_once, totals,
};
