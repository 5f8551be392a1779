//! What tokens of other issuers claim, and who that makes their bearer.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{ForeignIssuer, Profile};
use crate::error::AccessError;
use crate::issuer::{Audience, LEEWAY};
use crate::scopes::Scopes;

/// The longest lifetime of a token, in seconds: what Cognito allows at most.
const LONGEST: i64 = 86_400;
/// The longest `sub`, `client_id` or name of a group (OpenID Connect Core 1.0 section 2 for `sub`).
pub(crate) const MAX_NAME_BYTES: usize = 255;
/// The most groups of one bearer.
const MAX_GROUPS: usize = 200;
const COGNITO_GROUPS: &str = "cognito:groups";

/// What is looked at; everything else is ignored, custom claims above all.
#[derive(Deserialize)]
pub(super) struct Claims {
    iss: String,
    sub: String,
    client_id: String,
    iat: i64,
    exp: i64,
    nbf: Option<i64>,
    aud: Option<Audience>,
    jti: Option<String>,
    scope: Option<String>,
    token_use: Option<String>,
    username: Option<String>,
    /// Where the groups are, whatever the issuer calls them.
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// Who presents a token, in the words of its issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bearer {
    /// A machine that logged in by itself.
    Machine {
        /// Its `client_id`, which is its `sub` as well.
        client_id: String,
    },
    /// A person, or a service that is known by its `sub`.
    Person {
        sub: String,
        /// In the order of the alphabet, each once.
        groups: Vec<String>,
    },
}

fn refuse<T>(reason: &'static str) -> Result<T, AccessError> {
    Err(AccessError::InvalidToken(reason))
}

impl Claims {
    /// Holds the claims against everything but the tables. `now` in seconds.
    pub(super) fn bearer(self, issuer: &ForeignIssuer, now: i64) -> Result<(Bearer, Option<String>), AccessError> {
        if self.iss != issuer.issuer {
            return refuse("its issuer is another");
        }
        self.check_times(now)?;
        let (groups_claim, machine) = match &issuer.profile {
            Profile::Oidc { audience, groups_claim, .. } => {
                if !self.aud.as_ref().is_some_and(|aud| aud.contains(audience)) {
                    return refuse("it is for another audience");
                }
                if self.jti.as_ref().is_none_or(String::is_empty) {
                    return refuse("a required claim is missing or malformed");
                }
                // RFC 9068 section 5: without a person, the subject is the client.
                (groups_claim.as_str(), self.sub == self.client_id)
            }
            Profile::Cognito { people_clients, .. } => {
                if self.token_use.as_deref() != Some("access") {
                    return refuse("it is not an access token");
                }
                if self.scope.is_none() {
                    return refuse("a required claim is missing or malformed");
                }
                let machine = self.username.is_none() && self.sub == self.client_id;
                // Without an audience, any app client of the pool could have got it for purposes of its own.
                if !machine && !people_clients.contains(&self.client_id) {
                    return refuse("people do not log in here by its client");
                }
                (COGNITO_GROUPS, machine)
            }
        };
        if !is_name(&self.sub) || !is_name(&self.client_id) {
            return refuse("a claim is empty or too long");
        }
        if machine {
            return Ok((Bearer::Machine { client_id: self.client_id }, self.scope));
        }
        let groups = groups(self.others.get(groups_claim))?;
        Ok((Bearer::Person { sub: self.sub, groups }, self.scope))
    }

    fn check_times(&self, now: i64) -> Result<(), AccessError> {
        let soon = now.saturating_add(LEEWAY);
        if self.iat > soon || self.nbf.is_some_and(|nbf| nbf > soon) {
            return refuse("it is not good yet");
        }
        if self.exp <= now {
            return Err(AccessError::TokenExpired);
        }
        if self.exp.saturating_sub(self.iat) > LONGEST + LEEWAY {
            return refuse("it is good for more than a day");
        }
        Ok(())
    }
}

/// Whether a text can be the name of somebody: it stands in audit rows and is compared letter by letter.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn groups(claim: Option<&Value>) -> Result<Vec<String>, AccessError> {
    let listed = match claim {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(listed)) => listed,
        Some(_) => return refuse("its groups are not a list"),
    };
    let names: Option<Vec<String>> = listed.iter().map(|name| name.as_str().map(str::to_owned)).collect();
    let Some(mut names) = names.filter(|names| names.len() <= MAX_GROUPS) else {
        return refuse("its groups are too many, or no texts");
    };
    names.sort();
    names.dedup();
    Ok(names)
}

/// The scopes of ours that a token names; a word that is not ours says nothing.
pub(super) fn named_scopes(scope: Option<&str>, prefix: &str) -> Scopes {
    let words = scope.unwrap_or_default().split(' ');
    words.filter_map(|word| word.strip_prefix(prefix)?.parse().ok()).collect()
}
