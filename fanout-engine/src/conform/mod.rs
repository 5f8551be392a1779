//! Payloads become records: decode by format, apply the input model, refuse what does not fit.
//!
//! A record is decided by itself: it becomes a [`Row`] or a [`Refused`] with code, reason and field
//! path. A payload whose envelope is broken (not gzip, not JSON, too large once unpacked) is
//! refused as a whole under ordinal 0, and nothing of it becomes a record.
//!
//! Nothing is converted that the model does not name (DATA-PLANE rule 29): text that holds a number
//! is refused where a number is wanted unless `cast` says otherwise, 1.5 never becomes 1, and of two
//! members with one name neither is picked. Knows neither lake nor tables.

mod arrow;
mod body;
mod csv;
#[cfg(test)]
mod fuzzed;
mod infer;
mod json;
mod model;
mod payload;
mod plan;
mod repeated;
mod scalar;
mod time;
mod value;

#[cfg(test)]
mod tests;

pub use self::arrow::{declared_batch, rows_of};
pub use body::{BodyError, Unpacked, unpack};
pub use infer::infer;
pub use model::check;
pub use payload::{Chunk, Conformer, Source};
pub use plan::InputPlan;
pub use scalar::{Scalar, decode_row, encode_row};

/// The most bytes of one record as it is in the payload.
pub const MAX_RECORD_BYTES: usize = 4 << 20;
/// The most bytes of a refused record that are kept.
pub const MAX_RAW_BYTES: usize = 4 << 20;
/// The most bytes kept of something that is no record, or larger than one may be.
pub const MAX_EXCERPT_BYTES: usize = 64 << 10;
/// The most bytes of a refusal's reason: it may quote what was sent.
const MAX_REASON_BYTES: usize = 1 << 10;
/// The most bytes of a refusal's path: names of members are whatever was sent.
const MAX_PATH_BYTES: usize = 256;

/// A line that nobody can decide, for tests: stands for what Headgate has not foreseen.
#[cfg(test)]
pub(crate) const POISON: &[u8] = b"poison";
/// A line that nobody can even pass over, for tests.
#[cfg(test)]
pub(crate) const OUTRAGE: &[u8] = b"outrage";

/// What a record does to its element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Adds the fact, or inserts or replaces the row.
    Write,
    /// Removes the row.
    Delete,
}

/// A conformed record.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its place in the payload, from 1.
    pub ordinal: u64,
    /// What it does.
    pub operation: Operation,
    /// One value per field of the schema, in order; of a delete only the key.
    pub values: Vec<Scalar>,
    /// Its bytes as it was in the payload, unpacked.
    pub bytes: u64,
}

/// Why a record does not fit. Its texts quote what was sent, so they are cut and hold nothing that a database refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Stable code.
    pub code: &'static str,
    /// For a person.
    pub reason: String,
    /// The payload field at fault, as a dotted path.
    pub field_path: Option<String>,
}

impl Refusal {
    pub(crate) fn new(code: &'static str, reason: impl AsRef<str>) -> Self {
        Self { code, reason: excerpt(reason.as_ref().as_bytes(), MAX_REASON_BYTES), field_path: None }
    }

    /// Headgate failed on `what`.
    pub(crate) fn crash(what: &str) -> Self {
        Self::new("processing_crash", format!("{what} could not be processed; this is a fault of Headgate"))
    }

    pub(crate) fn at(mut self, path: &str) -> Self {
        self.field_path.get_or_insert_with(|| excerpt(path.as_bytes(), MAX_PATH_BYTES));
        self
    }
}

/// A refused record, kept whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its place in the payload, from 1; 0 for the payload as a whole.
    pub ordinal: u64,
    /// Why.
    pub refusal: Refusal,
    /// The record as it was received; an excerpt when it is larger than a record may be.
    pub raw: String,
}

/// At most about `limit` bytes of `raw` as text.
pub(crate) fn excerpt(raw: &[u8], limit: usize) -> String {
    let mut text = String::from_utf8_lossy(&raw[..raw.len().min(limit)]).into_owned();
    // No database keeps U+0000 in text.
    if text.contains('\0') {
        text = text.replace('\0', "\u{fffd}");
    }
    text
}
