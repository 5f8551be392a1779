//! Sending again.

use chrono::{DateTime, Utc};
use headgate_database::Tx;
use headgate_types::{EndpointId, EventId, FieldError, SharedClock, TenantId};

use super::store;
use crate::error::EventsError;
use crate::outbox;

const PAGE: u32 = 500;

/// Puts one event on its way to an endpoint again, whatever became of it before.
///
/// # Errors
/// [`EventsError::NotFound`] for endpoint or event; refused while the endpoint is disabled.
pub async fn resend(
    tx: &mut Tx,
    tenant: TenantId,
    id: EndpointId,
    event: EventId,
    clock: &SharedClock,
) -> Result<(), EventsError> {
    active(tx, tenant, id).await?;
    let event = outbox::get(tx, tenant, event).await?;
    store::put_on_its_way(tx, tenant, id, &event, true, clock.now()).await?;
    Ok(())
}

/// Puts every event since `since` that the endpoint wants and has not taken on its way to it;
/// returns how many.
///
/// # Errors
/// [`EventsError::NotFound`]; refused while the endpoint is disabled.
pub async fn recover(
    tx: &mut Tx,
    tenant: TenantId,
    id: EndpointId,
    since: DateTime<Utc>,
    clock: &SharedClock,
) -> Result<u64, EventsError> {
    let endpoint = active(tx, tenant, id).await?;
    let (mut after, mut count) = (0, 0);
    loop {
        let page = outbox::store::since(tx, tenant, since, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(count) };
        after = last.sequence;
        for event in page.iter().filter(|event| endpoint.wants(event)) {
            count += store::put_on_its_way(tx, tenant, id, event, false, clock.now()).await?;
        }
    }
}

async fn active(tx: &mut Tx, tenant: TenantId, id: EndpointId) -> Result<store::EndpointRow, EventsError> {
    let row = store::find(tx, tenant, id).await?.ok_or(EventsError::NotFound("endpoint"))?;
    if !row.is_active() {
        let detail = "the endpoint is disabled; enable it first";
        return Err(EventsError::Invalid(vec![FieldError::new("", "endpoint_disabled", detail)]));
    }
    Ok(row)
}
