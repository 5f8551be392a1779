//! What is known of an element's records, cached by the engine's loop.

mod store;

use chrono::{DateTime, Utc};
use headgate_database::Tx;
use headgate_types::engine::ElementStatistics;
use headgate_types::{ElementId, TenantId};

use crate::error::CatalogError;
use crate::grants;

pub(super) use store::remove_all;
pub use store::{published_without_statistics_since, put_statistics};

/// What `viewer` may know of an element's records; `None` while nothing is known, and for a grantee
/// limited to some rows: a count over all rows would tell the volume it may not see. Columns it may
/// not see are left out.
///
/// # Errors
/// `NotFound` when the element is not visible to `viewer`.
pub async fn statistics(
    tx: &mut Tx,
    viewer: TenantId,
    element: ElementId,
) -> Result<Option<(ElementStatistics, DateTime<Utc>)>, CatalogError> {
    let policy = grants::policy_for(tx, viewer, element).await?.ok_or(CatalogError::NotFound("element"))?;
    if policy.filter.is_some() {
        return Ok(None);
    }
    let mut found = store::statistics(tx, element).await?;
    if let Some((statistics, _)) = &mut found
        && !policy.columns.is_empty()
    {
        statistics.columns.retain(|column| policy.columns.contains(&column.name));
    }
    Ok(found)
}
