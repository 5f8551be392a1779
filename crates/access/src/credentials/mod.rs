//! Credentials of channels, and the claims that reveal each of them once.
//!
//! Of a channel key only a hash is kept; a signing secret is kept sealed, because the platform
//! signs with it. Between issuing and revealing, the claim holds the secret sealed; revealing
//! erases it there. A claim is an identifier, not a secret: only its tenant can redeem it.

mod access_keys;
mod reveal;
mod store;
mod verify;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use headgate_database::Tx;
use headgate_types::{ChannelId, ClaimId, CredentialId, TenantId};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::Access;
use crate::error::AccessError;
use crate::text::{new_secret, random, secret_hash};

pub use access_keys::AccessKeys;
pub use reveal::Revealed;
pub(crate) use store::KeyRow;
pub use verify::VerifiedKey;

/// What a credential is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// Presented by clients of the channel: `hgk_<credential>_<secret>`.
    ChannelKey,
    /// Signs what the platform sends: `whsec_<base64>` (Standard Webhooks 1.0).
    SigningSecret,
    /// Made by the cloud that holds the channel's resource; the client presents it there.
    AccessKey,
}

impl CredentialKind {
    /// The word in tables and documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ChannelKey => "channel_key",
            Self::SigningSecret => "signing_secret",
            Self::AccessKey => "access_key",
        }
    }
}

impl fmt::Display for CredentialKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CredentialKind {
    type Err = AccessError;

    fn from_str(text: &str) -> Result<Self, AccessError> {
        match text {
            "channel_key" => Ok(Self::ChannelKey),
            "signing_secret" => Ok(Self::SigningSecret),
            "access_key" => Ok(Self::AccessKey),
            _ => Err(AccessError::Sealed("its kind is unknown to this version")),
        }
    }
}

/// Where a credential is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CredentialState {
    /// Good.
    Active,
    /// Good until `expires_at`: a newer one took over.
    Retiring,
    /// Its grace period is over.
    Expired,
    /// Withdrawn.
    Revoked,
}

/// A credential, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Credential {
    /// Its id.
    pub id: CredentialId,
    /// The channel it is for.
    pub channel: ChannelId,
    /// What it is for.
    pub kind: CredentialKind,
    /// Counts rotations, from 1.
    pub version: i64,
    /// The public name that a cloud gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// Where it is in its life.
    pub state: CredentialState,
    /// When it was issued.
    pub created_at: DateTime<Utc>,
    /// The end of its grace period, once a newer one took over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was withdrawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<DateTime<Utc>>,
}

/// A secret that is used for signing, opened.
pub(crate) struct SigningSecret {
    secret: SecretString,
    expires_at: Option<DateTime<Utc>>,
}

/// A new credential, and the claim that reveals its secret once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Issued {
    /// The credential.
    pub credential: CredentialId,
    /// Redeemed at `POST /v1/credential-claims/{claim}/reveal`.
    pub claim: ClaimId,
    /// What it is for.
    pub kind: CredentialKind,
    /// Until when the claim can be redeemed.
    pub claim_expires_at: DateTime<Utc>,
}

/// The credentials of a channel, newest first.
///
/// # Errors
/// When the database fails.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    channel: ChannelId,
    now: DateTime<Utc>,
) -> Result<Vec<Credential>, AccessError> {
    let rows = store::list(tx, tenant, channel).await?;
    rows.into_iter().map(|row| row.credential(now)).collect()
}

impl Access {
    /// Issues a credential for a channel, in the transaction of what needs it. Those issued before
    /// stay as they are: see [`Access::rotate_credential`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn issue_credential(
        &self,
        tx: &mut Tx,
        tenant: TenantId,
        channel: ChannelId,
        kind: CredentialKind,
    ) -> Result<Issued, AccessError> {
        let id = CredentialId::new();
        let secret = match kind {
            CredentialKind::ChannelKey => new_secret(&format!("hgk_{}_", id.uuid().simple())),
            CredentialKind::SigningSecret => new_signing_secret(),
            CredentialKind::AccessKey => return Err(AccessError::Sealed("a cloud makes its own keys")),
        };
        self.keep_credential(tx, (tenant, channel, id), kind, None, &secret).await
    }

    /// Keeps what has to be kept of a secret, and the claim that reveals it.
    async fn keep_credential(
        &self,
        tx: &mut Tx,
        (tenant, channel, id): (TenantId, ChannelId, CredentialId),
        kind: CredentialKind,
        key_id: Option<&str>,
        secret: &SecretString,
    ) -> Result<Issued, AccessError> {
        let now = self.0.clock.now();
        let version = store::last_version(tx, tenant, channel, kind).await? + 1;
        let plain = secret.expose_secret().as_bytes();
        let sealed = match kind {
            CredentialKind::ChannelKey | CredentialKind::AccessKey => None,
            CredentialKind::SigningSecret => {
                Some(self.0.envelope.seal(&credential_place(tenant, channel, id, version), plain)?)
            }
        };
        let new = store::NewRow { tenant, id, channel, kind, version, hash: secret_hash(secret), sealed, key_id };
        store::insert(tx, &new, now).await?;
        let claim = ClaimId::new();
        let claim_expires_at = now + self.0.config.claim_lifetime;
        let sealed = self.0.envelope.seal(&claim_place(tenant, claim, id), plain)?;
        store::insert_claim(tx, tenant, claim, id, &sealed, now, claim_expires_at).await?;
        Ok(Issued { credential: id, claim, kind, claim_expires_at })
    }

    /// Issues a credential in place of the active one, which stays good for `grace` (none: as
    /// configured). One that was retiring already is revoked: two are good at once, never three.
    /// After the commit, call [`Access::forget`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rotate_credential(
        &self,
        tx: &mut Tx,
        tenant: TenantId,
        channel: ChannelId,
        kind: CredentialKind,
        grace: Option<TimeDelta>,
    ) -> Result<Issued, AccessError> {
        let now = self.0.clock.now();
        let until = now + grace.unwrap_or(self.0.config.channel_key_grace);
        store::retire(tx, tenant, channel, kind, now, until).await?;
        let issued = self.issue_credential(tx, tenant, channel, kind).await?;
        // Early, for callers that forget to; a key read again before their commit stays five seconds.
        self.forget();
        Ok(issued)
    }

    /// Withdraws every credential and claim of a channel. Repeatable. After the commit, call
    /// [`Access::forget`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revoke_credentials(
        &self,
        tx: &mut Tx,
        tenant: TenantId,
        channel: ChannelId,
    ) -> Result<(), AccessError> {
        store::revoke_all(tx, tenant, channel, self.0.clock.now()).await?;
        self.forget();
        Ok(())
    }

    /// The signing secrets of a channel that are good now, newest first; during a rotation two. A change by
    /// another process is seen five seconds later at most.
    ///
    /// # Errors
    /// When the database fails or a secret cannot be opened.
    pub async fn signing_secrets(&self, channel: ChannelId) -> Result<Vec<SecretString>, AccessError> {
        let now = self.0.clock.now();
        let secrets = match self.0.signing_secrets.get(&channel, now) {
            Ok(secrets) => secrets,
            Err(ticket) => {
                let mut tx = self.0.db.read_platform().await?;
                let rows = store::of_channel(&mut tx, channel, CredentialKind::SigningSecret).await?;
                let good = rows.iter().filter(|row| row.is_good(now));
                let secrets =
                    good.map(|row| Ok(SigningSecret { secret: self.open_row(row)?, expires_at: row.expires_at }));
                let secrets: Arc<[SigningSecret]> = secrets.collect::<Result<_, AccessError>>()?;
                // Nothing tells of the first one when it is issued.
                if !secrets.is_empty() {
                    self.0.signing_secrets.put(channel, Arc::clone(&secrets), now, ticket);
                }
                secrets
            }
        };
        let good = secrets.iter().filter(|one| one.expires_at.is_none_or(|end| now < end));
        Ok(good.map(|one| one.secret.clone()).collect())
    }

    fn open_row(&self, row: &store::Row) -> Result<SecretString, AccessError> {
        let sealed = row.sealed.as_deref().ok_or(AccessError::NotFound("readable secret"))?;
        let (tenant, channel) = (row.tenant_id.into(), row.channel_id.into());
        let plain = self.0.envelope.open(&credential_place(tenant, channel, row.id.into(), row.version), sealed)?;
        text(&plain)
    }
}

fn text(plain: &[u8]) -> Result<SecretString, AccessError> {
    std::str::from_utf8(plain).map(SecretString::from).map_err(|_| AccessError::Sealed("it is not text"))
}

/// A new secret for signing what is sent. Standard Webhooks 1.0: `whsec_` and 24 to 64 bytes in
/// standard Base64.
#[must_use]
pub fn new_signing_secret() -> SecretString {
    use base64::Engine as _;
    let bytes = random::<32>();
    SecretString::from(format!("whsec_{}", base64::prelude::BASE64_STANDARD.encode(*bytes)))
}

fn credential_place(tenant: TenantId, channel: ChannelId, id: CredentialId, version: i64) -> Vec<u8> {
    format!("{tenant}|{channel}|{id}|{version}").into_bytes()
}

fn claim_place(tenant: TenantId, claim: ClaimId, credential: CredentialId) -> Vec<u8> {
    format!("{tenant}|{claim}|{credential}").into_bytes()
}
