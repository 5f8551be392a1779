//! Redeeming a claim: once, by its tenant, and on the record.

use headgate_types::{ChannelId, ClaimId, CredentialId};
use secrecy::SecretString;

use super::{CredentialKind, claim_place, store, text};
use crate::access::Access;
use crate::audit::{self, Entry, Outcome};
use crate::caller::TenantCaller;
use crate::error::AccessError;
use crate::scopes::Scope;

/// A revealed credential. The secret is absent from Debug; the answer that carries it is marked
/// `Cache-Control: no-store` and kept nowhere, not under an idempotency key either.
#[derive(Debug, Clone)]
pub struct Revealed {
    /// The credential.
    pub credential: CredentialId,
    /// The channel it is for.
    pub channel: ChannelId,
    /// What it is for.
    pub kind: CredentialKind,
    /// The public name of an access key.
    pub key_id: Option<String>,
    /// The channel key, the signing secret or the secret of the access key.
    pub secret: SecretString,
}

impl Access {
    /// Reveals a credential once. In a transaction of its own, because a refusal is recorded too.
    ///
    /// # Errors
    /// [`AccessError::InsufficientScope`]; [`AccessError::NotFound`] also for another tenant's
    /// claim; [`AccessError::ClaimUsed`] from the second time on; [`AccessError::ClaimExpired`].
    pub async fn reveal(&self, caller: &TenantCaller, claim: ClaimId) -> Result<Revealed, AccessError> {
        let mut tx = self.0.db.tenant(caller.tenant).await?;
        let result = match caller.require(Scope::CredentialsReveal) {
            Ok(()) => self.redeem(&mut tx, caller, claim).await,
            Err(error) => Err(error),
        };
        if let Err(AccessError::Database(_) | AccessError::Sealed(_)) = result {
            return result;
        }
        let outcome = if result.is_ok() { Outcome::Allowed } else { Outcome::Denied };
        let mut entry = Entry::by(caller, "credential.reveal", claim).outcome(outcome);
        match &result {
            Ok(revealed) => entry = entry.detail(serde_json::json!({ "credential": revealed.credential })),
            Err(error) => entry = entry.detail(serde_json::json!({ "code": headgate_types::Coded::code(error) })),
        }
        audit::record(&mut tx, entry, &self.0.clock).await?;
        tx.commit().await?;
        result
    }

    async fn redeem(
        &self,
        tx: &mut headgate_database::Tx,
        caller: &TenantCaller,
        claim: ClaimId,
    ) -> Result<Revealed, AccessError> {
        let now = self.0.clock.now();
        let row = store::find_claim(tx, caller.tenant, claim).await?.ok_or(AccessError::NotFound("claim"))?;
        let sealed = row.sealed.ok_or(AccessError::ClaimUsed)?;
        if now >= row.expires_at {
            store::expire_claim(tx, caller.tenant, claim).await?;
            return Err(AccessError::ClaimExpired);
        }
        let credential = CredentialId::from(row.credential_id);
        let kept = store::find(tx, caller.tenant, credential).await?.ok_or(AccessError::NotFound("claim"))?;
        let plain = self.0.envelope.open(&claim_place(caller.tenant, claim, credential), &sealed)?;
        if !store::use_claim(tx, caller.tenant, claim, &caller.actor(), now).await? {
            return Err(AccessError::ClaimUsed);
        }
        let (channel, kind) = (kept.channel_id.into(), kept.kind.parse()?);
        Ok(Revealed { credential, channel, kind, key_id: kept.key_id, secret: text(&plain)? })
    }
}
