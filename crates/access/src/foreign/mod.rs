//! Issuers beside the built-in one: whose tokens are taken, and by what rules.
//!
//! An issuer is known by its `iss`, letter by letter; nothing in a token names a key, an address or an
//! algorithm that is believed. What a token's bearer is here, [`crate::identities`] says.

mod claims;
mod header;
mod jwks;
mod verify;

use chrono::{DateTime, TimeDelta, Utc};
use ipnet::IpNet;
use url::Url;

use crate::access::Recent;
use crate::error::AccessError;
use crate::identities::Bound;
pub(crate) use claims::{Bearer, MAX_NAME_BYTES, is_name};
use jwks::KeySource;

/// The group claim of most issuers.
pub const GROUPS_CLAIM: &str = "groups";

/// An issuer of the operator's choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignIssuer {
    /// The `iss` of its tokens, letter by letter.
    pub issuer: String,
    /// Where its keys are published.
    pub jwks_url: Url,
    /// Networks that are not public and may be reached for the keys, by plain http and on any port too.
    pub networks: Vec<IpNet>,
    /// What its tokens look like.
    pub profile: Profile,
}

/// What tokens of an issuer look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Profile {
    /// Access tokens of RFC 9068.
    Oidc {
        /// What `aud` has to contain.
        audience: String,
        /// The claim that lists the bearer's groups.
        groups_claim: String,
        /// What stands before our scopes in `scope`, if anything.
        scope_prefix: String,
    },
    /// Access tokens of an Amazon Cognito user pool. They have no `aud`: whom they are for follows from the
    /// app client that they were given to.
    Cognito {
        /// The app clients that people log in with.
        people_clients: Vec<String>,
        /// The identifier of the resource server that has our scopes.
        resource_server: String,
    },
}

impl Profile {
    /// What stands before our scopes in `scope`.
    fn scope_prefix(&self) -> String {
        match self {
            Self::Oidc { scope_prefix, .. } => scope_prefix.clone(),
            Self::Cognito { resource_server, .. } => format!("{resource_server}/"),
        }
    }
}

/// The issuers of this process, and what it has learnt of them.
#[derive(Default)]
pub(crate) struct ForeignIssuers {
    issuers: Vec<Known>,
    /// By the digest of what a token says of its bearer.
    bound: Recent<[u8; 32], Vec<Bound>>,
}

struct Known {
    config: ForeignIssuer,
    scope_prefix: String,
    keys: KeySource,
}

impl ForeignIssuers {
    pub(crate) fn open(issuers: &[ForeignIssuer], own: &Url) -> Result<Self, AccessError> {
        let mut known: Vec<Known> = Vec::new();
        for config in issuers {
            if config.issuer == own.as_str() || known.iter().any(|known| known.config.issuer == config.issuer) {
                return Err(AccessError::Issuer(format!("{} is there twice", config.issuer)));
            }
            let keys = KeySource::new(config)?;
            known.push(Known { scope_prefix: config.profile.scope_prefix(), config: config.clone(), keys });
        }
        Ok(Self { issuers: known, bound: Recent::default() })
    }

    /// Forgets what was read about identities.
    pub(crate) fn forget(&self) {
        self.bound.clear();
    }

    pub(crate) fn is_known(&self, issuer: &str) -> bool {
        self.named(issuer).is_some()
    }

    fn named(&self, issuer: &str) -> Option<&Known> {
        self.issuers.iter().find(|known| known.config.issuer == issuer)
    }
}

/// The names of the keys in a document that can verify tokens.
#[cfg(test)]
pub(crate) fn keys_in(document: &[u8]) -> Option<Vec<String>> {
    jwks::parse(document).map(|keys| keys.into_keys().collect())
}

/// How far back something lies; a clock that was set back must not make it younger for long.
fn age(now: DateTime<Utc>, then: DateTime<Utc>) -> TimeDelta {
    (now - then).abs()
}
