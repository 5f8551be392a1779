//! Recognising a channel key.

use headgate_types::{ChannelId, CredentialId, TenantId};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::store;
use crate::access::Access;
use crate::error::AccessError;
use crate::tenants::TenantState;

/// Whose key was presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedKey {
    /// The channel's tenant.
    pub tenant: TenantId,
    /// The channel.
    pub channel: ChannelId,
    /// The credential.
    pub credential: CredentialId,
}

impl Access {
    /// Recognises a channel key presented for `channel`.
    ///
    /// # Errors
    /// [`AccessError::InvalidChannelKey`] whatever is wrong with it;
    /// [`AccessError::TenantSuspended`] for a good key of a suspended tenant.
    pub async fn verify_channel_key(&self, channel: ChannelId, presented: &str) -> Result<VerifiedKey, AccessError> {
        let now = self.0.clock.now();
        let credential = credential_of(presented).ok_or(AccessError::InvalidChannelKey)?;
        let row = match self.0.channel_keys.get(&credential, now) {
            Ok(row) => row,
            Err(ticket) => {
                let mut tx = self.0.db.read_platform().await?;
                let row = store::key(&mut tx, credential).await?;
                self.0.channel_keys.put(credential, row.clone(), now, ticket);
                row
            }
        };
        let row = row.ok_or(AccessError::InvalidChannelKey)?;
        let hash: [u8; 32] = Sha256::digest(presented).into();
        let known = bool::from(hash[..].ct_eq(&row.secret_hash));
        let good = !row.revoked && row.expires_at.is_none_or(|end| now < end);
        if !known || !good || row.channel != channel {
            return Err(AccessError::InvalidChannelKey);
        }
        match row.tenant_state {
            TenantState::Active => Ok(VerifiedKey { tenant: row.tenant, channel, credential }),
            TenantState::Suspended => Err(AccessError::TenantSuspended),
            TenantState::Offboarded => Err(AccessError::InvalidChannelKey),
        }
    }
}

/// The credential id inside `hgk_<32 hex digits>_<secret>`.
fn credential_of(presented: &str) -> Option<CredentialId> {
    let (id, _) = presented.strip_prefix("hgk_")?.split_once('_')?;
    (id.len() == 32).then(|| Uuid::parse_str(id).ok()).flatten().map(CredentialId::from)
}
