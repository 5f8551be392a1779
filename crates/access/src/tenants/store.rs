//! The table of tenants.

use chrono::{DateTime, Utc};
use headgate_database::{DbError, Dialect, FilterColumn, FilterType, FromRow, Json, Tx, args, filter_condition};
use headgate_types::TenantId;
use headgate_types::filter::Filter;
use serde_json::Value;
use uuid::Uuid;

use super::{Quotas, Tenant, TenantState};
use crate::error::AccessError;

const COLUMNS: &[FilterColumn] = &[
    FilterColumn::new("id", FilterType::Id(TenantId::PREFIX)),
    FilterColumn::new("name", FilterType::Text),
    FilterColumn::new("state", FilterType::Text),
    FilterColumn::new("created_at", FilterType::Time),
];

#[derive(FromRow)]
struct TenantRow {
    id: Uuid,
    name: String,
    state: String,
    quotas: Json<Quotas>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<TenantRow> for Tenant {
    fn from(row: TenantRow) -> Self {
        Self {
            id: row.id.into(),
            name: row.name,
            state: TenantState::from_word(&row.state),
            quotas: row.quotas.0,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

fn document(quotas: &Quotas) -> Value {
    serde_json::to_value(quotas).unwrap_or_default()
}

pub(super) async fn insert(tx: &mut Tx, tenant: &Tenant) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO tenants (id, name, state, quotas, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6)",
        args![
            tenant.id,
            &tenant.name,
            tenant.state.as_str(),
            document(&tenant.quotas),
            tenant.created_at,
            tenant.updated_at
        ],
    )
    .await?;
    Ok(())
}

pub(super) async fn find(tx: &mut Tx, id: TenantId) -> Result<Option<Tenant>, DbError> {
    let row: Option<TenantRow> = tx.fetch_optional("SELECT * FROM tenants WHERE id = $1", args![id]).await?;
    Ok(row.map(Tenant::from))
}

/// Whether the row is ours to read to the end of the transaction; or there is none. SQLite has one
/// writer at a time.
pub(super) async fn share(tx: &mut Tx, id: TenantId) -> Result<bool, DbError> {
    if tx.dialect() == Dialect::Sqlite {
        return Ok(true);
    }
    let sql = "SELECT 1 FROM tenants WHERE id = $1 FOR SHARE SKIP LOCKED";
    let held = tx.fetch_optional::<(i32,)>(sql, args![id]).await?.is_some();
    Ok(held || find(tx, id).await?.is_none())
}

pub(super) async fn list(
    tx: &mut Tx,
    filter: Option<&Filter>,
    after: Option<TenantId>,
    limit: u32,
) -> Result<Vec<Tenant>, AccessError> {
    let mut arguments = args![after.unwrap_or(super::PLATFORM), limit];
    let condition = match filter {
        Some(filter) => filter_condition(filter, COLUMNS, &mut arguments).map_err(|e| AccessError::Invalid(vec![e]))?,
        None => "TRUE".to_owned(),
    };
    let sql = format!("SELECT * FROM tenants WHERE id > $1 AND {condition} ORDER BY id LIMIT $2");
    let rows: Vec<TenantRow> = tx.fetch_all_built(sql, arguments).await?;
    Ok(rows.into_iter().map(Tenant::from).collect())
}

pub(super) async fn with_monthly_quota(tx: &mut Tx) -> Result<Vec<Tenant>, DbError> {
    // Nobody else's name stands in a document of quotas.
    let sql = "SELECT * FROM tenants WHERE state = 'ACTIVE' AND CAST(quotas AS TEXT) LIKE '%bytes_per_month%'";
    let rows: Vec<TenantRow> = tx.fetch_all(sql, args![]).await?;
    Ok(rows.into_iter().map(Tenant::from).collect())
}

pub(super) async fn offboarded(tx: &mut Tx) -> Result<Vec<TenantId>, DbError> {
    let rows: Vec<(Uuid,)> = tx.fetch_all("SELECT id FROM tenants WHERE state = 'OFFBOARDED'", args![]).await?;
    Ok(rows.into_iter().map(|(id,)| id.into()).collect())
}

pub(super) async fn set_quotas(tx: &mut Tx, id: TenantId, quotas: &Quotas, now: DateTime<Utc>) -> Result<u64, DbError> {
    tx.execute(
        "UPDATE tenants SET quotas = $2, updated_at = $3 WHERE id = $1 AND state <> 'OFFBOARDED'",
        args![id, document(quotas), now],
    )
    .await
}

pub(super) async fn set_state(
    tx: &mut Tx,
    id: TenantId,
    state: TenantState,
    now: DateTime<Utc>,
) -> Result<u64, DbError> {
    tx.execute(
        "UPDATE tenants SET state = $2, updated_at = $3 WHERE id = $1 AND state <> 'OFFBOARDED'",
        args![id, state.as_str(), now],
    )
    .await
}
