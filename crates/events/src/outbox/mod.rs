//! The log of events.

pub(crate) mod store;

use headgate_access::tenants;
use headgate_database::Tx;
use headgate_types::{EventId, SharedClock, TenantId};

use crate::error::EventsError;
use crate::event::{Event, EventType, NewEvent};

/// The largest payload, in bytes of JSON.
const MAX_DATA: usize = 64 * 1024;

/// Writes an event in the transaction of what happened. The transaction acts for the tenant; other
/// transactions of the tenant that emit wait for its end, so call it late. That wait is what makes
/// the sequence gap-free and commit-ordered: a reader that has seen 2 has seen 1.
///
/// Returns the id of the event, new or written before under the same id.
///
/// # Errors
/// When the payload exceeds 64 KiB or the database fails.
pub async fn emit(tx: &mut Tx, clock: &SharedClock, new: NewEvent) -> Result<EventId, EventsError> {
    if new.data.to_string().len() > MAX_DATA {
        let field = headgate_types::FieldError::new("/data", "too_large", "an event has at most 64 KiB of data");
        return Err(EventsError::Invalid(vec![field]));
    }
    tenants::lock(tx, new.tenant).await?;
    let id = new.id.unwrap_or_default();
    if new.id.is_some() && store::find(tx, new.tenant, id).await?.is_some() {
        return Ok(id);
    }
    let sequence = store::head(tx, new.tenant).await?.sequence + 1;
    let event = Event {
        tenant: new.tenant,
        sequence,
        id,
        event_type: new.event_type.as_str().to_owned(),
        subject: new.subject,
        data: new.data,
        created_at: clock.now(),
    };
    store::insert(tx, &event).await?;
    store::set_head(tx, new.tenant, sequence).await?;
    Ok(id)
}

/// Events after the sequence `after` (0: from the beginning), oldest first; only of `types`, unless
/// that is empty.
///
/// # Errors
/// [`EventsError::TooOld`] when events after `after` have been removed.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    after: u64,
    limit: u32,
    types: &[EventType],
) -> Result<Vec<Event>, EventsError> {
    let removed_to = store::head(tx, tenant).await?.removed_to;
    if after < removed_to && after > 0 {
        return Err(EventsError::TooOld { removed_to });
    }
    Ok(store::after(tx, tenant, after, limit, types).await?)
}

/// One event.
///
/// # Errors
/// [`EventsError::NotFound`].
pub async fn get(tx: &mut Tx, tenant: TenantId, id: EventId) -> Result<Event, EventsError> {
    store::find(tx, tenant, id).await?.ok_or(EventsError::NotFound("event"))
}

/// The sequence of a tenant's last event; 0 when there is none.
///
/// # Errors
/// When the database fails.
pub async fn head(tx: &mut Tx, tenant: TenantId) -> Result<u64, EventsError> {
    Ok(store::head(tx, tenant).await?.sequence)
}
