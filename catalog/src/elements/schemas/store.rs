//! The rows of schema versions.

use chrono::{DateTime, Utc};
use headgate_database::{Json, Tx, args};
use headgate_types::schema::Schema;
use headgate_types::{ElementId, SchemaId, TenantId};
use uuid::Uuid;

use super::SchemaVersion;
use crate::error::CatalogError;
use crate::row::{document, small};

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    element_id: Uuid,
    version: i64,
    document: Json<Schema>,
    created_at: DateTime<Utc>,
}

impl From<Row> for SchemaVersion {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            element: row.element_id.into(),
            version: small(row.version),
            schema: row.document.0,
            created_at: row.created_at,
        }
    }
}

/// The current schema of an element, whole. Only for whoever knows that it may be seen: the engine,
/// the owner, provisioning; everybody else reads [`visible_schema`].
///
/// # Errors
/// `NotFound` when there is none.
pub async fn schema(tx: &mut Tx, element: ElementId) -> Result<SchemaVersion, CatalogError> {
    let row: Option<Row> = tx
        .fetch_optional(
            "SELECT id, element_id, version, document, created_at FROM schema_versions
             WHERE element_id = $1 ORDER BY version DESC LIMIT 1",
            args![element],
        )
        .await?;
    row.map(SchemaVersion::from).ok_or(CatalogError::NotFound("element"))
}

pub(in crate::elements) async fn insert_first(
    tx: &mut Tx,
    owner: TenantId,
    element: ElementId,
    schema: &Schema,
    now: DateTime<Utc>,
) -> Result<(), CatalogError> {
    tx.execute(
        "INSERT INTO schema_versions (tenant_id, id, element_id, version, document, created_at)
         VALUES ($1, $2, $3, 1, $4, $5)",
        args![owner, SchemaId::new(), element, document("schema_versions", schema)?, now],
    )
    .await?;
    Ok(())
}
