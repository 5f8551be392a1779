//! The table of identities. The platform's stand under the nil tenant.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use headgate_database::{DbError, FromRow, Tx, args};
use headgate_types::{ClientId, IdentityId, TenantId};
use uuid::Uuid;

use super::{AppClient, Identity, IdentityKind};
use crate::clients::{owner, scopes};
use crate::foreign::Bearer;
use crate::scopes::Scopes;
use crate::tenants::TenantState;

#[derive(FromRow)]
struct IdentityRow {
    tenant_id: Uuid,
    id: Uuid,
    issuer: String,
    kind: String,
    name: String,
    scopes: String,
    created_at: DateTime<Utc>,
}

/// A row that a token leads to.
#[derive(Debug, Clone)]
pub(crate) struct Bound {
    /// None for the platform.
    pub(crate) tenant: Option<TenantId>,
    /// None for the platform.
    pub(crate) state: Option<TenantState>,
    pub(crate) kind: IdentityKind,
    /// Those of the client of ours, if it is one.
    pub(crate) scopes: Scopes,
    pub(crate) client: Option<ClientId>,
    revoked: bool,
    expires_at: Option<DateTime<Utc>>,
}

impl Bound {
    /// Whether the row still binds.
    pub(crate) fn stands(&self, now: DateTime<Utc>) -> bool {
        !self.revoked && self.expires_at.is_none_or(|end| now < end)
    }
}

#[derive(FromRow)]
struct BoundRow {
    tenant_id: Uuid,
    kind: String,
    scopes: String,
    client_id: Option<Uuid>,
    expires_at: Option<DateTime<Utc>>,
    client_scopes: Option<String>,
    revoked_at: Option<DateTime<Utc>>,
    state: Option<String>,
}

/// What binds a bearer, across tenants: only for recognising it.
pub(crate) async fn find_bound(tx: &mut Tx, issuer: &str, bearer: &Bearer) -> Result<Vec<Bound>, DbError> {
    let mut arguments = args![issuer];
    let condition = match bearer {
        Bearer::Machine { client_id } => {
            arguments.extend(args![client_id]);
            "i.kind = 'client' AND i.name = $2".to_owned()
        }
        Bearer::Person { sub, groups } => {
            arguments.extend(args![sub]);
            let mut condition = "(i.kind = 'subject' AND i.name = $2)".to_owned();
            for (position, group) in groups.iter().enumerate() {
                arguments.extend(args![group]);
                // Writing to a text cannot fail.
                let _ = write!(condition, " OR (i.kind = 'group' AND i.name = ${})", position + 3);
            }
            condition
        }
    };
    let sql = format!(
        "SELECT i.tenant_id, i.kind, i.scopes, i.client_id, i.expires_at, c.scopes AS client_scopes, c.revoked_at, t.state
         FROM identities i
         LEFT JOIN clients c ON c.tenant_id = i.tenant_id AND c.id = i.client_id
         LEFT JOIN tenants t ON t.id = i.tenant_id
         WHERE i.issuer = $1 AND ({condition})"
    );
    let rows: Vec<BoundRow> = tx.fetch_all_built(sql, arguments).await?;
    Ok(rows.into_iter().filter_map(bound).collect())
}

fn bound(row: BoundRow) -> Option<Bound> {
    let (granted, revoked) = match (row.client_id, &row.client_scopes) {
        (None, _) => (scopes(&row.scopes), false),
        (Some(_), Some(of_client)) => (scopes(of_client), row.revoked_at.is_some()),
        // A client that is not there grants nothing.
        (Some(_), None) => (Scopes::default(), true),
    };
    Some(Bound {
        tenant: owner(row.tenant_id),
        state: row.state.as_deref().map(TenantState::from_word),
        kind: IdentityKind::from_word(&row.kind)?,
        scopes: granted,
        client: row.client_id.map(ClientId::from),
        revoked,
        expires_at: row.expires_at,
    })
}

/// False when the issuer's name is bound already.
pub(super) async fn insert(
    tx: &mut Tx,
    owner: TenantId,
    identity: &Identity,
    client: Option<ClientId>,
) -> Result<bool, DbError> {
    let inserted = tx
        .execute(
            "INSERT INTO identities (tenant_id, id, issuer, kind, name, scopes, client_id, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
            args![
                owner,
                identity.id,
                &identity.issuer,
                identity.kind.as_str(),
                &identity.name,
                identity.scopes.to_string(),
                client,
                identity.created_at
            ],
        )
        .await?;
    Ok(inserted == 1)
}

pub(super) async fn list(tx: &mut Tx, owner: TenantId) -> Result<Vec<Identity>, DbError> {
    let rows: Vec<IdentityRow> = tx
        .fetch_all(
            "SELECT tenant_id, id, issuer, kind, name, scopes, created_at FROM identities
             WHERE tenant_id = $1 AND client_id IS NULL ORDER BY id",
            args![owner],
        )
        .await?;
    Ok(rows.into_iter().filter_map(identity).collect())
}

fn identity(row: IdentityRow) -> Option<Identity> {
    Some(Identity {
        id: row.id.into(),
        tenant: owner(row.tenant_id),
        issuer: row.issuer,
        kind: IdentityKind::from_word(&row.kind)?,
        name: row.name,
        scopes: scopes(&row.scopes),
        created_at: row.created_at,
    })
}

pub(super) async fn remove(tx: &mut Tx, owner: TenantId, id: IdentityId) -> Result<(), DbError> {
    tx.execute("DELETE FROM identities WHERE tenant_id = $1 AND id = $2", args![owner, id]).await?;
    Ok(())
}

/// Unbinds everybody; app clients stay until they are gone from their pool.
pub(crate) async fn remove_all(tx: &mut Tx, owner: TenantId) -> Result<(), DbError> {
    tx.execute("DELETE FROM identities WHERE tenant_id = $1 AND client_id IS NULL", args![owner]).await?;
    Ok(())
}

/// Ends what a client logs in by: the last one in its time, any before it at once, as with secrets.
pub(super) async fn retire(
    tx: &mut Tx,
    owner: TenantId,
    client: ClientId,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    tx.execute(
        "UPDATE identities SET expires_at = CASE WHEN expires_at IS NULL THEN $3 ELSE $4 END
         WHERE tenant_id = $1 AND client_id = $2 AND (expires_at IS NULL OR expires_at > $4)",
        args![owner, client, until, now],
    )
    .await?;
    Ok(())
}

#[derive(FromRow)]
struct AppClientRow {
    tenant_id: Uuid,
    id: Uuid,
    issuer: String,
    name: String,
    client_id: Uuid,
    expires_at: Option<DateTime<Utc>>,
    /// Unless the client is revoked.
    standing: Option<Uuid>,
}

impl From<AppClientRow> for AppClient {
    fn from(row: AppClientRow) -> Self {
        Self {
            id: row.id.into(),
            tenant: row.tenant_id.into(),
            client: row.client_id.into(),
            issuer: row.issuer,
            client_id: row.name,
        }
    }
}

const APP_CLIENTS: &str = "SELECT i.tenant_id, i.id, i.issuer, i.name, i.client_id, i.expires_at, c.id AS standing
     FROM identities i LEFT JOIN clients c
       ON c.tenant_id = i.tenant_id AND c.id = i.client_id AND c.revoked_at IS NULL
     WHERE i.client_id IS NOT NULL";

/// Across tenants, each with whether it is still good.
pub(super) async fn app_clients(
    tx: &mut Tx,
    issuer: &str,
    now: DateTime<Utc>,
) -> Result<Vec<(AppClient, bool)>, DbError> {
    let sql = format!("{APP_CLIENTS} AND i.issuer = $1 ORDER BY i.id");
    let rows: Vec<AppClientRow> = tx.fetch_all_built(sql, args![issuer]).await?;
    let good = |row: &AppClientRow| row.standing.is_some() && row.expires_at.is_none_or(|end| now < end);
    Ok(rows.into_iter().map(|row| (good(&row), row)).map(|(good, row)| (row.into(), good)).collect())
}

pub(super) async fn app_clients_of(tx: &mut Tx, owner: TenantId, client: ClientId) -> Result<Vec<AppClient>, DbError> {
    let sql = format!("{APP_CLIENTS} AND i.tenant_id = $1 AND i.client_id = $2 ORDER BY i.id");
    let rows: Vec<AppClientRow> = tx.fetch_all_built(sql, args![owner, client]).await?;
    Ok(rows.into_iter().map(AppClient::from).collect())
}
