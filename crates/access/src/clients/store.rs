//! The table of clients. The platform's clients stand under the nil tenant.

use chrono::{DateTime, Utc};
use headgate_database::{DbError, FromRow, Tx, args};
use headgate_types::{ClientId, TenantId};
use uuid::Uuid;

use super::{Client, Login};
use crate::scopes::{Scope, Scopes};
use crate::tenants::{PLATFORM, TenantState};

#[derive(FromRow)]
struct ClientRow {
    tenant_id: Uuid,
    id: Uuid,
    name: String,
    scopes: String,
    created_at: DateTime<Utc>,
    revoked_at: Option<DateTime<Utc>>,
    issuer: Option<String>,
    login: Option<String>,
}

/// A client with the app client it logs in by: one that was replaced has an end.
const SELECT: &str = "SELECT c.tenant_id, c.id, c.name, c.scopes, c.created_at, c.revoked_at, i.issuer, i.name AS login
     FROM clients c LEFT JOIN identities i
       ON i.tenant_id = c.tenant_id AND i.client_id = c.id AND i.expires_at IS NULL";

impl From<ClientRow> for Client {
    fn from(row: ClientRow) -> Self {
        Self {
            id: row.id.into(),
            tenant: owner(row.tenant_id),
            name: row.name,
            scopes: scopes(&row.scopes),
            created_at: row.created_at,
            revoked_at: row.revoked_at,
            login: row.issuer.zip(row.login).map(|(issuer, client_id)| Login { issuer, client_id }),
        }
    }
}

pub(crate) fn owner(tenant: Uuid) -> Option<TenantId> {
    let tenant = TenantId::from(tenant);
    (tenant != PLATFORM).then_some(tenant)
}

/// A word this version does not know grants nothing.
pub(crate) fn scopes(text: &str) -> Scopes {
    text.split(' ').filter_map(|word| word.parse::<Scope>().ok()).collect()
}

/// What logging in and verifying look at.
#[derive(Clone)]
pub(crate) struct LoginRow {
    pub(crate) tenant: Option<TenantId>,
    /// None for the platform's own clients.
    pub(crate) tenant_state: Option<TenantState>,
    pub(crate) scopes: Scopes,
    pub(crate) secret_hash: Vec<u8>,
    pub(crate) previous: Option<(Vec<u8>, DateTime<Utc>)>,
    pub(crate) revoked: bool,
}

#[derive(FromRow)]
struct FullRow {
    tenant_id: Uuid,
    scopes: String,
    secret_hash: Vec<u8>,
    previous_secret_hash: Option<Vec<u8>>,
    previous_secret_valid_until: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    state: Option<String>,
}

/// A client by id alone, across tenants: only for recognising it.
pub(crate) async fn find_for_login(tx: &mut Tx, id: ClientId) -> Result<Option<LoginRow>, DbError> {
    let row: Option<FullRow> = tx
        .fetch_optional(
            "SELECT c.tenant_id, c.scopes, c.secret_hash, c.previous_secret_hash, c.previous_secret_valid_until,
                    c.revoked_at, t.state
             FROM clients c LEFT JOIN tenants t ON t.id = c.tenant_id WHERE c.id = $1",
            args![id],
        )
        .await?;
    Ok(row.map(|row| LoginRow {
        tenant: owner(row.tenant_id),
        tenant_state: row.state.as_deref().map(TenantState::from_word),
        scopes: scopes(&row.scopes),
        secret_hash: row.secret_hash,
        previous: row.previous_secret_hash.zip(row.previous_secret_valid_until),
        revoked: row.revoked_at.is_some(),
    }))
}

pub(super) async fn insert(tx: &mut Tx, owner: TenantId, client: &Client, hash: &[u8]) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO clients (tenant_id, id, name, scopes, secret_hash, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
        args![owner, client.id, &client.name, client.scopes.to_string(), hash, client.created_at],
    )
    .await?;
    Ok(())
}

pub(super) async fn list(tx: &mut Tx, owner: TenantId) -> Result<Vec<Client>, DbError> {
    let sql = format!("{SELECT} WHERE c.tenant_id = $1 ORDER BY c.id");
    let rows: Vec<ClientRow> = tx.fetch_all_built(sql, args![owner]).await?;
    Ok(rows.into_iter().map(Client::from).collect())
}

pub(super) async fn find(tx: &mut Tx, owner: TenantId, id: ClientId) -> Result<Option<Client>, DbError> {
    let sql = format!("{SELECT} WHERE c.tenant_id = $1 AND c.id = $2");
    let rows: Vec<ClientRow> = tx.fetch_all_built(sql, args![owner, id]).await?;
    Ok(rows.into_iter().next().map(Client::from))
}

pub(super) async fn revoke(tx: &mut Tx, owner: TenantId, id: ClientId, now: DateTime<Utc>) -> Result<u64, DbError> {
    tx.execute(
        "UPDATE clients SET revoked_at = $3 WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL",
        args![owner, id, now],
    )
    .await
}

pub(super) async fn revoke_all(tx: &mut Tx, owner: TenantId, now: DateTime<Utc>) -> Result<(), DbError> {
    tx.execute("UPDATE clients SET revoked_at = $2 WHERE tenant_id = $1 AND revoked_at IS NULL", args![owner, now])
        .await?;
    Ok(())
}

pub(super) async fn rotate(
    tx: &mut Tx,
    owner: TenantId,
    id: ClientId,
    hash: &[u8],
    previous_until: DateTime<Utc>,
) -> Result<u64, DbError> {
    tx.execute(
        "UPDATE clients SET previous_secret_hash = secret_hash, previous_secret_valid_until = $4, secret_hash = $3
         WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL",
        args![owner, id, hash, previous_until],
    )
    .await
}
