//! The tables of the audit log.

use chrono::{DateTime, Utc};
use headgate_database::{DbError, FromRow, Tx, args};
use headgate_types::TenantId;
use uuid::Uuid;

#[derive(Debug, FromRow)]
pub(super) struct Stored {
    pub(super) sequence: i64,
    pub(super) id: Uuid,
    pub(super) at: DateTime<Utc>,
    pub(super) actor: String,
    pub(super) action: String,
    pub(super) resource: String,
    pub(super) outcome: String,
    pub(super) request_id: Option<String>,
    pub(super) detail: String,
    pub(super) previous_hash: Vec<u8>,
    pub(super) hash: Vec<u8>,
}

/// The last row's sequence and hash.
pub(super) async fn head(tx: &mut Tx, tenant: TenantId) -> Result<(i64, Vec<u8>), DbError> {
    let head: Option<(i64, Vec<u8>)> =
        tx.fetch_optional("SELECT sequence, hash FROM audit_heads WHERE tenant_id = $1", args![tenant]).await?;
    Ok(head.unwrap_or_else(|| (0, super::GENESIS.to_vec())))
}

pub(super) async fn append(tx: &mut Tx, tenant: TenantId, row: &Stored) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO audit (tenant_id, sequence, id, at, actor, action, resource, outcome, request_id, detail,
                            previous_hash, hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        args![
            tenant,
            row.sequence,
            row.id,
            row.at,
            &row.actor,
            &row.action,
            &row.resource,
            &row.outcome,
            row.request_id.clone(),
            &row.detail,
            row.previous_hash.clone(),
            row.hash.clone()
        ],
    )
    .await?;
    tx.execute(
        "INSERT INTO audit_heads (tenant_id, sequence, hash) VALUES ($1, $2, $3)
         ON CONFLICT (tenant_id) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash",
        args![tenant, row.sequence, row.hash.clone()],
    )
    .await?;
    Ok(())
}

const COLUMNS: &str =
    "SELECT sequence, id, at, actor, action, resource, outcome, request_id, detail, previous_hash, hash FROM audit";

pub(super) async fn before(tx: &mut Tx, tenant: TenantId, before: i64, limit: u32) -> Result<Vec<Stored>, DbError> {
    let sql = format!("{COLUMNS} WHERE tenant_id = $1 AND sequence < $2 ORDER BY sequence DESC LIMIT $3");
    tx.fetch_all_built(sql, args![tenant, before, limit]).await
}

pub(super) async fn after(tx: &mut Tx, tenant: TenantId, after: i64, limit: u32) -> Result<Vec<Stored>, DbError> {
    let sql = format!("{COLUMNS} WHERE tenant_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3");
    tx.fetch_all_built(sql, args![tenant, after, limit]).await
}

pub(super) async fn tenants(tx: &mut Tx) -> Result<Vec<TenantId>, DbError> {
    let rows: Vec<(Uuid,)> = tx.fetch_all("SELECT tenant_id FROM audit_heads ORDER BY tenant_id", args![]).await?;
    Ok(rows.into_iter().map(|row| row.0.into()).collect())
}
