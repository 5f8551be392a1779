//! Recognising the bearer of another issuer's token.

use chrono::{DateTime, Utc};
use headgate_types::ClientId;
use jsonwebtoken::Validation;
use sha2::{Digest, Sha256};

use super::claims::{Bearer, Claims, named_scopes};
use super::header::{named_issuer, read_header};
use super::{ForeignIssuers, Known, jwks};
use crate::access::Access;
use crate::caller::Principal;
use crate::error::AccessError;
use crate::identities::{Bound, IdentityKind, find_bound};
use crate::scopes::Scopes;
use crate::tenants::TenantState;

impl ForeignIssuers {
    /// The issuer among ours that a token names, letter by letter.
    fn of(&self, token: &str) -> Option<&Known> {
        // Not a byte of the token is looked at where there is no other issuer.
        if self.issuers.is_empty() {
            return None;
        }
        self.named(&named_issuer(token)?)
    }
}

impl Access {
    /// The bearer of a token that names another issuer of ours; none when it names none of them.
    pub(crate) async fn verify_foreign(&self, token: &str) -> Option<Result<Principal, AccessError>> {
        let issuer = self.0.foreign.of(token)?;
        Some(self.recognise(issuer, token, self.0.clock.now()).await)
    }

    async fn recognise(&self, issuer: &Known, token: &str, now: DateTime<Utc>) -> Result<Principal, AccessError> {
        let header = read_header(token, &issuer.config.profile)?;
        let key = issuer.keys.key(&header.kid, now).await?.ok_or(AccessError::InvalidToken("its key is unknown"))?;
        if header.alg != jwks::name_of(key.algorithm) {
            return Err(AccessError::InvalidToken("its algorithm is not that of its key"));
        }
        // Claims are left to us: the library takes the machine's clock, and looks at them only where present.
        let mut validation = Validation::new(key.algorithm);
        validation.required_spec_claims.clear();
        (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
        let claims = jsonwebtoken::decode::<Claims>(token, &key.decoding, &validation)
            .map_err(|error| AccessError::InvalidToken(crate::issuer::reason(&error)))?
            .claims;
        let (bearer, scope) = claims.bearer(&issuer.config, now.timestamp())?;
        let named = named_scopes(scope.as_deref(), &issuer.scope_prefix);
        let bound = self.bound(&issuer.config.issuer, &bearer, now).await?;
        let place = place(&bound, now)?;
        match place.state {
            Some(TenantState::Suspended) => return Err(AccessError::TenantSuspended),
            Some(TenantState::Offboarded) => return Err(AccessError::InvalidToken("its tenant is gone")),
            // A tenant's row always has one of its tenant; the platform's has none.
            None if place.tenant.is_some() => return Err(AccessError::InvalidToken("its tenant is unknown")),
            Some(TenantState::Active) | None => {}
        }
        let scopes = match &bearer {
            // A machine has what it asked for. A person has what its groups stand for, unless the token says
            // less; most issuers name no scopes of ours to people.
            Bearer::Person { .. } if named.is_empty() => place.scopes,
            _ => place.scopes.intersection(&named),
        };
        let issuer = &issuer.config.issuer;
        let subject = match &bearer {
            Bearer::Machine { client_id } => client_id.clone(),
            Bearer::Person { sub, .. } => sub.clone(),
        };
        let (client, issuer) = match place.client {
            Some(client) => (client, None),
            None => (stand_in(issuer, &bearer), Some(issuer.clone())),
        };
        Ok(Principal { client, tenant: place.tenant, scopes, subject, issuer })
    }

    async fn bound(&self, issuer: &str, bearer: &Bearer, now: DateTime<Utc>) -> Result<Vec<Bound>, AccessError> {
        let key = digest(issuer, bearer, true);
        let ticket = match self.0.foreign.bound.get(&key, now) {
            Ok(rows) => return Ok(rows),
            Err(ticket) => ticket,
        };
        let mut tx = self.0.db.read_platform().await?;
        let rows = find_bound(&mut tx, issuer, bearer).await?;
        self.0.foreign.bound.put(key, rows.clone(), now, ticket);
        Ok(rows)
    }
}

/// Where rows lead, taken together.
struct Place {
    tenant: Option<headgate_types::TenantId>,
    state: Option<TenantState>,
    scopes: Scopes,
    client: Option<ClientId>,
}

/// The one tenant that the rows lead to. A row for the person itself decides over those of groups.
fn place(bound: &[Bound], now: DateTime<Utc>) -> Result<Place, AccessError> {
    let standing: Vec<&Bound> = bound.iter().filter(|row| row.stands(now)).collect();
    let by_name = standing.iter().find(|row| row.kind != IdentityKind::Group);
    let Some(first) = by_name.or(standing.first()) else {
        return Err(AccessError::InvalidToken("its bearer is bound to nothing here"));
    };
    let mut together = standing.iter().filter(|row| row.tenant == first.tenant);
    if by_name.is_none() && standing.iter().any(|row| row.tenant != first.tenant) {
        return Err(AccessError::InvalidToken("its groups belong to more than one tenant"));
    }
    let scopes = together.clone().flat_map(|row| row.scopes.iter()).collect();
    let client = together.find_map(|row| row.client);
    Ok(Place { tenant: first.tenant, state: first.state, scopes, client })
}

/// Stands for somebody without a client of ours where one is counted or remembered: made of issuer and
/// name, so that it stays the same from token to token.
fn stand_in(issuer: &str, bearer: &Bearer) -> ClientId {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest(issuer, bearer, false)[..16]);
    ClientId::from_uuid(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

fn digest(issuer: &str, bearer: &Bearer, with_groups: bool) -> [u8; 32] {
    let mut parts = vec![issuer];
    match bearer {
        Bearer::Machine { client_id } => parts.extend(["client", client_id]),
        Bearer::Person { sub, groups } => {
            parts.extend(["subject", sub]);
            parts.extend(groups.iter().filter(|_| with_groups).map(String::as_str));
        }
    }
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
