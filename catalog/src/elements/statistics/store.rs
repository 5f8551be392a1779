//! The rows of statistics.

use chrono::{DateTime, Utc};
use headgate_database::{Json, Tx, args};
use headgate_types::engine::ElementStatistics;
use headgate_types::{ElementId, TenantId};
use uuid::Uuid;

use crate::error::CatalogError;
use crate::row::document;

/// Published elements whose statistics are older than `before`, or absent, with their owners: the
/// work of the engine's statistics loop.
///
/// # Errors
/// When the database fails.
pub async fn published_without_statistics_since(
    tx: &mut Tx,
    before: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<(TenantId, ElementId)>, CatalogError> {
    let rows: Vec<(Uuid, Uuid)> = tx
        .fetch_all(
            "SELECT e.tenant_id, e.id FROM elements e
             LEFT JOIN element_statistics s ON s.tenant_id = e.tenant_id AND s.element_id = e.id
             WHERE e.state = 'PUBLISHED' AND (s.updated_at IS NULL OR s.updated_at < $1)
             ORDER BY CASE WHEN s.updated_at IS NULL THEN 0 ELSE 1 END, s.updated_at, e.id LIMIT $2",
            args![before, limit],
        )
        .await?;
    Ok(rows.into_iter().map(|(owner, element)| (owner.into(), element.into())).collect())
}

/// Writes what is known of an element's records.
///
/// # Errors
/// When the database fails.
pub async fn put_statistics(
    tx: &mut Tx,
    owner: TenantId,
    element: ElementId,
    statistics: &ElementStatistics,
    now: DateTime<Utc>,
) -> Result<(), CatalogError> {
    tx.execute(
        "INSERT INTO element_statistics (tenant_id, element_id, document, updated_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (tenant_id, element_id) DO UPDATE SET document = excluded.document,
            updated_at = excluded.updated_at",
        args![owner, element, document("element_statistics", statistics)?, now],
    )
    .await?;
    Ok(())
}

pub(super) async fn statistics(
    tx: &mut Tx,
    element: ElementId,
) -> Result<Option<(ElementStatistics, DateTime<Utc>)>, CatalogError> {
    let row: Option<(Json<ElementStatistics>, DateTime<Utc>)> = tx
        .fetch_optional("SELECT document, updated_at FROM element_statistics WHERE element_id = $1", args![element])
        .await?;
    Ok(row.map(|(statistics, at)| (statistics.0, at)))
}

/// Forgets what was counted of an owner's elements.
pub(crate) async fn remove_all(tx: &mut Tx, owner: TenantId) -> Result<(), CatalogError> {
    tx.execute("DELETE FROM element_statistics WHERE tenant_id = $1", args![owner]).await?;
    Ok(())
}
