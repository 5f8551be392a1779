//! Versions of an element's schema.

mod store;

use chrono::{DateTime, Utc};
use headgate_database::Tx;
use headgate_types::schema::Schema;
use headgate_types::{ElementId, SchemaId, TenantId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::visible;
use crate::error::CatalogError;

pub(super) use store::insert_first;
pub use store::schema;

/// One version of an element's schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SchemaVersion {
    /// Its id, as in every commit.
    pub id: SchemaId,
    /// The element.
    pub element: ElementId,
    /// Counts from 1.
    pub version: u32,
    /// The fields.
    pub schema: Schema,
    /// When it was added.
    pub created_at: DateTime<Utc>,
}

/// The current schema of an element as `viewer` sees it: columns that its grant leaves out are not
/// even named.
///
/// # Errors
/// `NotFound` when the element is not visible to `viewer`.
pub async fn visible_schema(tx: &mut Tx, viewer: TenantId, element: ElementId) -> Result<SchemaVersion, CatalogError> {
    let seen = visible(tx, viewer, element).await?;
    let mut version = schema(tx, element).await?;
    if !seen.policy.columns.is_empty() {
        version.schema.fields.retain(|field| seen.policy.columns.contains(&field.name));
    }
    Ok(version)
}
