//! Verifying access tokens (RFC 9068 section 4).
//!
//! The library checks the signature and little else that is asked for here: it looks at issuer and
//! audience only where present, ignores `nbf`, and never enforces `typ` or `crit`. So the header is
//! read strictly before it, and the claims are required by their type.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use headgate_types::ClientId;
use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;

use super::token::TOKEN_TYPE;
use crate::access::Access;
use crate::caller::Principal;
use crate::clients::{LoginRow, find_for_login};
use crate::error::AccessError;
use crate::scopes::Scope;
use crate::tenants::TenantState;

/// Seconds by which the clocks of two machines may differ.
pub(crate) const LEEWAY: i64 = 30;
pub(crate) const MAX_TOKEN_BYTES: usize = 8_192;

/// Everything a header may hold. Any other member (`crit`, `jku`, `x5u`, `x5c`, `jwk` …) would ask
/// us to trust what the token brings along, so it is refused, and so is one given twice.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StrictHeader {
    typ: String,
    alg: String,
    kid: String,
}

/// What a token must hold; other claims are ignored, the tenant above all.
#[derive(Deserialize)]
struct RequiredClaims {
    iss: String,
    aud: Audience,
    sub: String,
    client_id: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: String,
    scope: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    pub(crate) fn contains(&self, wanted: &str) -> bool {
        match self {
            Self::One(one) => one == wanted,
            Self::Many(many) => many.iter().any(|one| one == wanted),
        }
    }
}

impl Access {
    /// Recognises the bearer of an access token: of another issuer, where it names one that is configured,
    /// or else of the built-in one.
    ///
    /// # Errors
    /// [`AccessError::InvalidToken`], [`AccessError::TokenExpired`],
    /// [`AccessError::TenantSuspended`], [`AccessError::IssuerUnavailable`].
    pub async fn verify(&self, token: &str) -> Result<Principal, AccessError> {
        if let Some(recognised) = self.verify_foreign(token).await {
            return recognised;
        }
        let now = self.0.clock.now();
        let kid = key_id(token)?;
        let key = self.verifying_key(&kid, now).await?.ok_or(AccessError::InvalidToken("its key is unknown"))?;
        let claims = jsonwebtoken::decode::<RequiredClaims>(token, &key.decoding, &self.signature_only())
            .map_err(|error| AccessError::InvalidToken(reason(&error)))?
            .claims;
        self.check(&claims, now.timestamp())?;
        let client: ClientId =
            claims.client_id.parse().map_err(|_| AccessError::InvalidToken("its client is unknown"))?;
        let row = self.client(client, now).await?.filter(|row| !row.revoked);
        let row = row.ok_or(AccessError::InvalidToken("its client is unknown or revoked"))?;
        match row.tenant_state {
            Some(TenantState::Suspended) => return Err(AccessError::TenantSuspended),
            Some(TenantState::Offboarded) => return Err(AccessError::InvalidToken("its tenant is gone")),
            // A tenant's client always has a row of its tenant; the platform's has none.
            None if row.tenant.is_some() => return Err(AccessError::InvalidToken("its tenant is unknown")),
            Some(TenantState::Active) | None => {}
        }
        // Scopes taken from a client count at once, not when its tokens have expired.
        let asked = claims.scope.split(' ').filter_map(|word| word.parse::<Scope>().ok()).collect();
        let scopes = row.scopes.intersection(&asked);
        Ok(Principal { client, tenant: row.tenant, scopes, subject: claims.sub, issuer: None })
    }

    /// Times are left to us, because the library asks the machine's clock.
    fn signature_only(&self) -> Validation {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_required_spec_claims(&["iss", "aud", "exp", "nbf", "sub"]);
        validation.set_audience(&[&self.0.config.audience]);
        validation.set_issuer(&[self.0.config.issuer_url.as_str()]);
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation
    }

    fn check(&self, claims: &RequiredClaims, now: i64) -> Result<(), AccessError> {
        let refuse = |reason| Err(AccessError::InvalidToken(reason));
        if claims.iss != self.0.config.issuer_url.as_str() {
            return refuse("its issuer is another");
        }
        if !claims.aud.contains(&self.0.config.audience) {
            return refuse("it is for another audience");
        }
        if claims.jti.is_empty() || claims.sub.is_empty() {
            return refuse("a claim is empty");
        }
        // RFC 9068 section 5: without a person, the subject is the client.
        if claims.sub != claims.client_id {
            return refuse("its subject is not its client");
        }
        if claims.nbf > now.saturating_add(LEEWAY) || claims.iat > now.saturating_add(LEEWAY) {
            return refuse("it is not good yet");
        }
        if claims.exp <= now {
            return Err(AccessError::TokenExpired);
        }
        let longest = self.0.config.token_lifetime.num_seconds();
        if claims.exp.saturating_sub(claims.iat) > longest.saturating_add(LEEWAY) {
            return refuse("it is good for longer than any token of ours");
        }
        Ok(())
    }

    async fn client(
        &self,
        client: ClientId,
        now: chrono::DateTime<chrono::Utc>,
    ) -> Result<Option<LoginRow>, AccessError> {
        let ticket = match self.0.clients.get(&client, now) {
            Ok(row) => return Ok(row),
            Err(ticket) => ticket,
        };
        let mut tx = self.0.db.read_platform().await?;
        let row = find_for_login(&mut tx, client).await?;
        self.0.clients.put(client, row.clone(), now, ticket);
        Ok(row)
    }
}

/// Reads the header and names the key. The algorithm is not chosen by it: our keys have one.
fn key_id(token: &str) -> Result<String, AccessError> {
    let malformed = || AccessError::InvalidToken("it is not a JWT");
    if token.len() > MAX_TOKEN_BYTES || token.bytes().filter(|byte| *byte == b'.').count() != 2 {
        return Err(malformed());
    }
    let header = token.split('.').next().ok_or_else(malformed)?;
    let header = BASE64_URL_SAFE_NO_PAD.decode(header).map_err(|_| malformed())?;
    let header: StrictHeader =
        serde_json::from_slice(&header).map_err(|_| AccessError::InvalidToken("its header is not as expected"))?;
    let typ = header.typ.to_ascii_lowercase();
    if typ.strip_prefix("application/").unwrap_or(&typ) != TOKEN_TYPE {
        return Err(AccessError::InvalidToken("its type is not at+jwt"));
    }
    if header.alg != "EdDSA" {
        return Err(AccessError::InvalidToken("its algorithm is not that of its key"));
    }
    Ok(header.kid)
}

pub(crate) fn reason(error: &jsonwebtoken::errors::Error) -> &'static str {
    use jsonwebtoken::errors::ErrorKind as Jwt;
    match error.kind() {
        Jwt::InvalidSignature => "its signature is wrong",
        Jwt::InvalidIssuer => "its issuer is another",
        Jwt::InvalidAudience => "it is for another audience",
        Jwt::MissingRequiredClaim(_) | Jwt::Json(_) => "a required claim is missing or malformed",
        _ => "it is not as expected",
    }
}
