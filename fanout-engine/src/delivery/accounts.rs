//! Writing the books: cursor, usage, quota and dead letter in one transaction (rule 31).

use headgate_database::Tx;
use headgate_metering::{Meter, UsageRecord};
use headgate_types::channel::Lane;

use super::books::{self, Cut, Settled};
use super::quota::Spent;
use super::store::{self, FlowRow};
use super::{Context, DeliveryError};
use crate::technology::FlowKey;

/// A record that the receiver refused.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The flow it was on.
    pub flow: FlowKey,
    /// Its place.
    pub offset: u64,
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
    settled: &Settled,
    refusal: Option<&Refusal>,
    spent: Option<Spent>,
) -> Result<FlowRow, DeliveryError> {
    let now = context.clock.now();
    let (next, cut) = books::book(row, settled, now, context.usage_span);
    let mut tx = context.data.platform().await?;
    tx.act_for(row.tenant).await?;
    if !store::move_books(&mut tx, row, &next).await? {
        return Err(DeliveryError::Elsewhere);
    }
    if let Some(cut) = cut {
        record(context, &mut tx, row, &cut).await?;
    }
    if let Some(refusal) = refusal {
        put_dead_letter(context, &mut tx, row, refusal).await?;
    }
    if let Some(spent) = spent {
        store::put_spent(&mut tx, row.tenant, row.channel, spent).await?;
    }
    tx.commit().await?;
    Ok(next)
}

/// Cuts what is open, whatever the hour.
pub async fn cut(context: &Context, row: &FlowRow) -> Result<FlowRow, DeliveryError> {
    let since = books::span_start(context.clock.now(), context.usage_span);
    let (next, cut) = books::close(row, since);
    let Some(cut) = cut else { return Ok(row.clone()) };
    let mut tx = context.data.platform().await?;
    tx.act_for(row.tenant).await?;
    if !store::move_books(&mut tx, row, &next).await? {
        return Err(DeliveryError::Elsewhere);
    }
    record(context, &mut tx, row, &cut).await?;
    tx.commit().await?;
    Ok(next)
}
