//! Keys that a cloud makes. The cloud decides who gets in, so what is written here follows what was
//! done there; the secret is kept for its claim only.

use chrono::{DateTime, TimeDelta, Utc};
use headgate_database::Tx;
use headgate_types::{ChannelId, CredentialId, TenantId};
use secrecy::SecretString;

use super::{CredentialKind, Issued, store};
use crate::access::Access;
use crate::error::AccessError;

/// The public names of a channel's access keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessKeys {
    /// The newest, which has no end; None before the first and after the last.
    pub active: Option<String>,
    /// Those that a newer one took over from, within their grace period.
    pub retiring: Vec<String>,
}

impl AccessKeys {
    /// Everything that still opens the channel.
    #[must_use]
    pub fn good(&self) -> Vec<String> {
        self.active.iter().chain(&self.retiring).cloned().collect()
    }
}

impl Access {
    /// The access keys of a channel that are good now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn access_keys(
        &self,
        tx: &mut Tx,
        tenant: TenantId,
        channel: ChannelId,
    ) -> Result<AccessKeys, AccessError> {
        let (now, mut keys) = (self.0.clock.now(), AccessKeys::default());
        for row in store::access_keys(tx, tenant, channel).await? {
            let Some(id) = row.key_id.clone().filter(|_| row.is_good(now)) else { continue };
            match row.expires_at {
                None => keys.active = Some(id),
                Some(_) => keys.retiring.push(id),
            }
        }
        Ok(keys)
    }

    /// Takes in a key that a cloud made, in place of the active one, which stays good for `grace`.
    /// One that was retiring already is marked as revoked: whoever made the new one ended it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn issue_access_key(
        &self,
        tx: &mut Tx,
        (tenant, channel): (TenantId, ChannelId),
        (key_id, secret): (&str, &SecretString),
        grace: TimeDelta,
    ) -> Result<Issued, AccessError> {
        let (now, kind) = (self.0.clock.now(), CredentialKind::AccessKey);
        store::retire(tx, tenant, channel, kind, now, now + grace).await?;
        store::ended(tx, tenant, channel, now).await?;
        self.keep_credential(tx, (tenant, channel, CredentialId::new()), kind, Some(key_id), secret).await
    }

    /// Channels with access keys whose grace period is over and that the cloud still takes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn overdue_access_keys(
        &self,
        tx: &mut Tx,
        limit: u32,
    ) -> Result<Vec<(TenantId, ChannelId)>, AccessError> {
        let rows = store::overdue(tx, self.0.clock.now(), limit).await?;
        Ok(rows.into_iter().map(|(tenant, channel)| (tenant.into(), channel.into())).collect())
    }

    /// Writes down that the cloud no longer takes the keys whose grace period was over at `at`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn access_keys_ended(
        &self,
        tx: &mut Tx,
        tenant: TenantId,
        channel: ChannelId,
        at: DateTime<Utc>,
    ) -> Result<(), AccessError> {
        Ok(store::ended(tx, tenant, channel, at).await?)
    }
}
