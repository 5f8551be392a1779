//! Writing usage.

use headgate_database::Tx;
use headgate_types::FieldError;
use serde_json::json;

use super::{RecordKind, UsageRecord, store};
use crate::error::MeteringError;

const MAX_ID: usize = 512;

/// What became of a record that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It is booked.
    New,
    /// It was booked already; nothing was written.
    Repeat,
    /// Another content is booked under its id. That one stands; the conflict is kept and counted,
    /// and the caller raises it. It does not fail the transaction: a delivery must not stop because
    /// its bill is disputed.
    Conflict,
}

/// Books a record, once for ever, and moves the sums of its day in the same transaction.
///
/// # Errors
/// `Refused` when the record does not make sense.
pub async fn record(tx: &mut Tx, record: &UsageRecord) -> Result<Recorded, MeteringError> {
    check(record)?;
    if store::insert(tx, record).await? {
        store::add_to_rollup(tx, record).await?;
        return Ok(Recorded::New);
    }
    let booked = store::get(tx, record).await?.ok_or(MeteringError::NotFound("usage record"))?;
    if (UsageRecord { stored_at: record.stored_at, ..booked.clone() }) == *record {
        return Ok(Recorded::Repeat);
    }
    store::insert_conflict(tx, record, json!(booked), json!(record)).await?;
    metrics::counter!("headgate_usage_conflicts_total", "meter" => record.meter.as_str()).increment(1);
    tracing::error!(tenant = %record.tenant, id = record.id, "usage with another content is booked under this id");
    Ok(Recorded::Conflict)
}

/// Books a record unless one of its id is booked, whatever that says: for samples, where the first
/// look at an hour counts and a later look may differ.
///
/// # Errors
/// `Refused` when the record does not make sense.
pub async fn record_once(tx: &mut Tx, record: &UsageRecord) -> Result<Recorded, MeteringError> {
    check(record)?;
    if !store::insert(tx, record).await? {
        return Ok(Recorded::Repeat);
    }
    store::add_to_rollup(tx, record).await?;
    Ok(Recorded::New)
}

fn check(record: &UsageRecord) -> Result<(), MeteringError> {
    let mut errors = Vec::new();
    if record.id.is_empty() || record.id.len() > MAX_ID {
        errors.push(FieldError::new("/id", "invalid_length", format!("an id has between 1 and {MAX_ID} bytes")));
    }
    if record.source.is_empty() {
        errors.push(FieldError::new("/source", "required", "a record says who counted"));
    }
    if let Some(range) = record.range
        && range.after >= range.to
    {
        errors.push(FieldError::new("/range", "empty", "a range holds at least one offset"));
    }
    match record.kind {
        RecordKind::Usage if record.quantity < 0 => {
            errors.push(FieldError::new("/quantity", "negative", "only a correction is negative"));
        }
        RecordKind::Usage if record.corrects_id.is_some() => {
            errors.push(FieldError::new("/corrects_id", "unexpected", "only a correction corrects"));
        }
        RecordKind::Correction if record.corrects_id.is_none() => {
            errors.push(FieldError::new("/corrects_id", "required", "a correction says what it corrects"));
        }
        _ => {}
    }
    MeteringError::unless_empty("usage", errors)
}
