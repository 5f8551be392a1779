//! The client-credentials grant (RFC 6749 section 4.4).

use std::fmt;
use std::net::IpAddr;

use headgate_types::ClientId;
use jsonwebtoken::{Algorithm, Header};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use utoipa::ToSchema;
use uuid::Uuid;

use super::limits::Counters;
use crate::access::Access;
use crate::audit::{Entry, Outcome};
use crate::clients::{LoginRow, find_for_login};
use crate::error::AccessError;
use crate::scopes::{Scope, Scopes};
use crate::tenants::{PLATFORM, TenantState};
use crate::text::secret_hash;

/// The type of our tokens (RFC 9068 section 2.1).
pub(crate) const TOKEN_TYPE: &str = "at+jwt";

/// A successful answer of the token endpoint (RFC 6749 section 5.1).
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct TokenResponse {
    /// The token.
    pub access_token: String,
    /// Always `Bearer`.
    pub token_type: String,
    /// Seconds until it expires.
    pub expires_in: i64,
    /// What it grants.
    pub scope: String,
}

impl fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenResponse")
            .field("expires_in", &self.expires_in)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// The claims of our tokens (RFC 9068 section 2.2). The tenant is there for people who look into
/// one; on the way in it is ignored.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: String,
    client_id: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: String,
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
}

impl Access {
    /// Logs a client in. `scopes` is the `scope` parameter; without it the token has all scopes of
    /// the client.
    ///
    /// # Errors
    /// [`AccessError::InvalidClient`], [`AccessError::InvalidScope`],
    /// [`AccessError::TenantSuspended`], [`AccessError::TooManyLogins`].
    pub async fn issue_token(
        &self,
        client_id: &str,
        secret: &SecretString,
        scopes: Option<&str>,
        remote: Option<IpAddr>,
    ) -> Result<TokenResponse, AccessError> {
        let now = self.0.clock.now();
        let client_id: Option<ClientId> = client_id.parse().ok();
        let counters = Counters::of(client_id, remote);
        let mut tx = self.0.db.read_platform().await?;
        counters.check(&mut tx, now).await?;
        let failed_before = counters.any(&mut tx, now).await?;
        // Never from the cache: a rotated secret must not work, nor a revoked client.
        let row = match client_id {
            Some(id) => find_for_login(&mut tx, id).await?,
            None => None,
        };
        drop(tx);
        let hash = secret_hash(secret);
        let known = row.filter(|row| secret_fits(row, &hash, now) && !row.revoked);
        let Some((client, row)) = client_id.zip(known) else {
            self.count_failure(&counters, client_id, now).await?;
            return Err(AccessError::InvalidClient);
        };
        match row.tenant_state {
            Some(TenantState::Suspended) => return Err(AccessError::TenantSuspended),
            Some(TenantState::Offboarded) => return Err(AccessError::InvalidClient),
            Some(TenantState::Active) | None => {}
        }
        if failed_before {
            let mut tx = self.0.db.platform().await?;
            counters.forgive(&mut tx).await?;
            tx.commit().await?;
        }
        self.sign(client, &row, granted(&row.scopes, scopes)?, now).await
    }

    async fn sign(
        &self,
        client: ClientId,
        row: &LoginRow,
        scopes: Scopes,
        now: chrono::DateTime<chrono::Utc>,
    ) -> Result<TokenResponse, AccessError> {
        let key = self.signing_key(now).await?;
        let lifetime = self.0.config.token_lifetime.num_seconds();
        let scope = scopes.to_string();
        let claims = Claims {
            iss: self.0.config.issuer_url.as_str(),
            aud: &self.0.config.audience,
            sub: client.to_string(),
            client_id: client.to_string(),
            iat: now.timestamp(),
            nbf: now.timestamp(),
            exp: now.timestamp() + lifetime,
            jti: Uuid::now_v7().to_string(),
            scope: scope.clone(),
            tenant: row.tenant.map(|tenant| tenant.to_string()),
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TOKEN_TYPE.to_owned());
        header.kid = Some(key.jwk.kid.clone());
        let access_token =
            jsonwebtoken::encode(&header, &claims, &key.encoding).map_err(|_| AccessError::Key("it cannot sign"))?;
        Ok(TokenResponse { access_token, token_type: "Bearer".to_owned(), expires_in: lifetime, scope })
    }

    async fn count_failure(
        &self,
        counters: &Counters,
        client: Option<ClientId>,
        now: chrono::DateTime<chrono::Utc>,
    ) -> Result<(), AccessError> {
        let mut tx = self.0.db.platform().await?;
        counters.count(&mut tx, now).await?;
        tx.commit().await?;
        // In the platform's chain, because nobody was recognised. The limits above bound how many
        // such rows a stranger can cause.
        let mut entry = Entry::by_platform(PLATFORM, "token.issue", "").outcome(Outcome::Denied);
        if let Some(client) = client {
            entry.resource = client.to_string();
        }
        self.audit(entry).await
    }
}

fn secret_fits(row: &LoginRow, hash: &[u8; 32], now: chrono::DateTime<chrono::Utc>) -> bool {
    let current = row.secret_hash.ct_eq(&hash[..]);
    let previous = row.previous.as_ref().filter(|(_, until)| now < *until);
    let previous = previous.is_some_and(|(previous, _)| bool::from(previous.ct_eq(&hash[..])));
    bool::from(current) || previous
}

fn granted(allowed: &Scopes, asked: Option<&str>) -> Result<Scopes, AccessError> {
    let Some(asked) = asked.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(allowed.clone()) };
    let asked: Scopes = asked.parse().map_err(AccessError::InvalidScope)?;
    let missing: Option<Scope> = asked.iter().find(|scope| !allowed.contains(*scope));
    match missing {
        Some(scope) => Err(AccessError::InvalidScope(scope.to_string())),
        None => Ok(asked),
    }
}
