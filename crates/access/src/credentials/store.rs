//! The tables of credentials and claims.

use chrono::{DateTime, Utc};
use headgate_database::{DbError, FromRow, Tx, args};
use headgate_types::{ChannelId, ClaimId, CredentialId, TenantId};
use uuid::Uuid;

use super::{Credential, CredentialKind, CredentialState};
use crate::error::AccessError;
use crate::tenants::TenantState;

#[derive(FromRow)]
pub(super) struct Row {
    pub(super) tenant_id: Uuid,
    pub(super) id: Uuid,
    pub(super) channel_id: Uuid,
    pub(super) kind: String,
    pub(super) version: i64,
    pub(super) sealed: Option<Vec<u8>>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) expires_at: Option<DateTime<Utc>>,
    pub(super) revoked_at: Option<DateTime<Utc>>,
    pub(super) key_id: Option<String>,
}

impl Row {
    pub(super) fn is_good(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }

    pub(super) fn credential(self, now: DateTime<Utc>) -> Result<Credential, AccessError> {
        let state = match (self.revoked_at, self.expires_at) {
            (Some(_), _) => CredentialState::Revoked,
            (None, None) => CredentialState::Active,
            (None, Some(end)) if now < end => CredentialState::Retiring,
            (None, Some(_)) => CredentialState::Expired,
        };
        Ok(Credential {
            id: self.id.into(),
            channel: self.channel_id.into(),
            kind: self.kind.parse()?,
            version: self.version,
            key_id: self.key_id,
            state,
            created_at: self.created_at,
            expires_at: self.expires_at,
            revoked_at: self.revoked_at,
        })
    }
}

const SELECT: &str =
    "SELECT tenant_id, id, channel_id, kind, version, sealed, created_at, expires_at, revoked_at, key_id
                      FROM credentials";

pub(super) struct NewRow<'a> {
    pub(super) tenant: TenantId,
    pub(super) id: CredentialId,
    pub(super) channel: ChannelId,
    pub(super) kind: CredentialKind,
    pub(super) version: i64,
    pub(super) hash: [u8; 32],
    pub(super) sealed: Option<Vec<u8>>,
    pub(super) key_id: Option<&'a str>,
}

pub(super) async fn insert(tx: &mut Tx, new: &NewRow<'_>, now: DateTime<Utc>) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO credentials (tenant_id, id, channel_id, kind, version, secret_hash, sealed, created_at, key_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        args![
            new.tenant,
            new.id,
            new.channel,
            new.kind.as_str(),
            new.version,
            &new.hash[..],
            new.sealed.clone(),
            now,
            new.key_id
        ],
    )
    .await?;
    Ok(())
}

pub(super) async fn last_version(
    tx: &mut Tx,
    tenant: TenantId,
    channel: ChannelId,
    kind: CredentialKind,
) -> Result<i64, DbError> {
    let (version,): (i64,) = tx
        .fetch_one(
            "SELECT COALESCE(MAX(version), 0) FROM credentials
             WHERE tenant_id = $1 AND channel_id = $2 AND kind = $3",
            args![tenant, channel, kind.as_str()],
        )
        .await?;
    Ok(version)
}

pub(super) async fn find(tx: &mut Tx, tenant: TenantId, id: CredentialId) -> Result<Option<Row>, DbError> {
    // `Tx` takes constant statements only; this one is put together from constants.
    let rows: Vec<Row> =
        tx.fetch_all_built(format!("{SELECT} WHERE tenant_id = $1 AND id = $2"), args![tenant, id]).await?;
    Ok(rows.into_iter().next())
}

pub(super) async fn list(tx: &mut Tx, tenant: TenantId, channel: ChannelId) -> Result<Vec<Row>, DbError> {
    let sql = format!("{SELECT} WHERE tenant_id = $1 AND channel_id = $2 ORDER BY created_at DESC, id DESC");
    tx.fetch_all_built(sql, args![tenant, channel]).await
}

/// Across tenants: the engine knows the channel only.
pub(super) async fn of_channel(tx: &mut Tx, channel: ChannelId, kind: CredentialKind) -> Result<Vec<Row>, DbError> {
    let sql = format!("{SELECT} WHERE channel_id = $1 AND kind = $2 ORDER BY version DESC");
    tx.fetch_all_built(sql, args![channel, kind.as_str()]).await
}

pub(super) async fn retire(
    tx: &mut Tx,
    tenant: TenantId,
    channel: ChannelId,
    kind: CredentialKind,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<(), DbError> {
    for sql in [
        "UPDATE credentials SET revoked_at = $4
         WHERE tenant_id = $1 AND channel_id = $2 AND kind = $3 AND revoked_at IS NULL AND expires_at IS NOT NULL",
        "UPDATE credentials SET expires_at = $4
         WHERE tenant_id = $1 AND channel_id = $2 AND kind = $3 AND revoked_at IS NULL AND expires_at IS NULL",
    ] {
        let at = if sql.contains("SET revoked_at") { now } else { until };
        tx.execute(sql, args![tenant, channel, kind.as_str(), at]).await?;
    }
    // What nobody has fetched by now would reveal a credential that is going away.
    tx.execute(
        "UPDATE claims SET sealed = NULL WHERE tenant_id = $1 AND sealed IS NOT NULL AND credential_id IN
           (SELECT id FROM credentials WHERE tenant_id = $1 AND channel_id = $2 AND kind = $3)",
        args![tenant, channel, kind.as_str()],
    )
    .await?;
    Ok(())
}

pub(super) async fn revoke_all(
    tx: &mut Tx,
    tenant: TenantId,
    channel: ChannelId,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    tx.execute(
        "UPDATE credentials SET revoked_at = $3, sealed = NULL
         WHERE tenant_id = $1 AND channel_id = $2 AND revoked_at IS NULL",
        args![tenant, channel, now],
    )
    .await?;
    tx.execute(
        "UPDATE claims SET sealed = NULL WHERE tenant_id = $1 AND sealed IS NOT NULL AND credential_id IN
           (SELECT id FROM credentials WHERE tenant_id = $1 AND channel_id = $2)",
        args![tenant, channel],
    )
    .await?;
    Ok(())
}

/// What recognising a channel key looks at.
#[derive(Clone)]
pub(crate) struct KeyRow {
    pub(crate) tenant: TenantId,
    pub(crate) tenant_state: TenantState,
    pub(crate) channel: ChannelId,
    pub(crate) secret_hash: Vec<u8>,
    pub(crate) expires_at: Option<DateTime<Utc>>,
    pub(crate) revoked: bool,
}

#[derive(FromRow)]
struct KeyColumns {
    tenant_id: Uuid,
    state: String,
    channel_id: Uuid,
    secret_hash: Vec<u8>,
    expires_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
}

/// A channel key by its id, across tenants: only for recognising it.
pub(super) async fn key(tx: &mut Tx, id: CredentialId) -> Result<Option<KeyRow>, DbError> {
    let row: Option<KeyColumns> = tx
        .fetch_optional(
            "SELECT c.tenant_id, t.state, c.channel_id, c.secret_hash, c.expires_at, c.revoked_at
             FROM credentials c JOIN tenants t ON t.id = c.tenant_id WHERE c.id = $1 AND c.kind = 'channel_key'",
            args![id],
        )
        .await?;
    Ok(row.map(|row| KeyRow {
        tenant: row.tenant_id.into(),
        tenant_state: TenantState::from_word(&row.state),
        channel: row.channel_id.into(),
        secret_hash: row.secret_hash,
        expires_at: row.expires_at,
        revoked: row.revoked_at.is_some(),
    }))
}

pub(super) async fn insert_claim(
    tx: &mut Tx,
    tenant: TenantId,
    claim: ClaimId,
    credential: CredentialId,
    sealed: &[u8],
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO claims (tenant_id, id, credential_id, sealed, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
        args![tenant, claim, credential, sealed, now, expires_at],
    )
    .await?;
    Ok(())
}

#[derive(FromRow)]
pub(super) struct ClaimRow {
    pub(super) credential_id: Uuid,
    pub(super) sealed: Option<Vec<u8>>,
    pub(super) expires_at: DateTime<Utc>,
}

pub(super) async fn find_claim(tx: &mut Tx, tenant: TenantId, id: ClaimId) -> Result<Option<ClaimRow>, DbError> {
    tx.fetch_optional(
        "SELECT credential_id, sealed, expires_at FROM claims WHERE tenant_id = $1 AND id = $2",
        args![tenant, id],
    )
    .await
}

/// `false` when somebody else was first.
pub(super) async fn use_claim(
    tx: &mut Tx,
    tenant: TenantId,
    id: ClaimId,
    by: &str,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let used = tx
        .execute(
            "UPDATE claims SET sealed = NULL, used_at = $3, used_by = $4
             WHERE tenant_id = $1 AND id = $2 AND sealed IS NOT NULL",
            args![tenant, id, now, by],
        )
        .await?;
    Ok(used == 1)
}

pub(super) async fn expire_claim(tx: &mut Tx, tenant: TenantId, id: ClaimId) -> Result<(), DbError> {
    tx.execute("UPDATE claims SET sealed = NULL WHERE tenant_id = $1 AND id = $2", args![tenant, id]).await?;
    Ok(())
}

/// Access keys of a channel that nobody withdrew, also those whose grace period is over: the cloud
/// knows nothing of that until it is told.
pub(super) async fn access_keys(tx: &mut Tx, tenant: TenantId, channel: ChannelId) -> Result<Vec<Row>, DbError> {
    let sql = format!(
        "{SELECT} WHERE tenant_id = $1 AND channel_id = $2 AND kind = 'access_key' AND revoked_at IS NULL
         ORDER BY version DESC"
    );
    tx.fetch_all_built(sql, args![tenant, channel]).await
}

/// Channels with access keys whose grace period is over, across tenants.
pub(super) async fn overdue(tx: &mut Tx, now: DateTime<Utc>, limit: u32) -> Result<Vec<(Uuid, Uuid)>, DbError> {
    tx.fetch_all(
        "SELECT DISTINCT tenant_id, channel_id FROM credentials
         WHERE kind = 'access_key' AND revoked_at IS NULL AND expires_at <= $1 LIMIT $2",
        args![now, limit],
    )
    .await
}

/// Marks access keys as withdrawn whose grace period was over at a time.
pub(super) async fn ended(tx: &mut Tx, tenant: TenantId, channel: ChannelId, at: DateTime<Utc>) -> Result<(), DbError> {
    tx.execute(
        "UPDATE credentials SET revoked_at = $3 WHERE tenant_id = $1 AND channel_id = $2 AND kind = 'access_key'
         AND revoked_at IS NULL AND expires_at <= $3",
        args![tenant, channel, at],
    )
    .await?;
    Ok(())
}
