//! Headers of tokens, read before anything in them is believed.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Profile;
use crate::error::AccessError;
use crate::issuer::{MAX_TOKEN_BYTES, TOKEN_TYPE};

/// Everything a header may hold. Any other member (`crit`, `jku`, `x5u`, `x5c`, `jwk` …) would ask us to
/// trust what the token brings along, so it is refused, and so is one given twice. A certificate's digest
/// asks for nothing; some issuers send it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ForeignHeader {
    alg: String,
    kid: String,
    typ: Option<String>,
    #[serde(rename = "x5t")]
    _x5t: Option<IgnoredAny>,
    #[serde(rename = "x5t#S256")]
    _x5t_s256: Option<IgnoredAny>,
}

/// What a token says about its own signature.
pub(super) struct Signed {
    pub(super) alg: String,
    pub(super) kid: String,
}

#[derive(Deserialize)]
struct Issuer {
    iss: String,
}

fn part(token: &str, position: usize) -> Option<Vec<u8>> {
    if token.len() > MAX_TOKEN_BYTES || token.bytes().filter(|byte| *byte == b'.').count() != 2 {
        return None;
    }
    BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(position)?).ok()
}

/// The issuer that a token names, unverified: good for choosing the rules it is held to, and for nothing
/// else.
pub(super) fn named_issuer(token: &str) -> Option<String> {
    let issuer: Issuer = serde_json::from_slice(&part(token, 1)?).ok()?;
    Some(issuer.iss)
}

/// Reads the header by the rules of the issuer's profile.
pub(super) fn read_header(token: &str, profile: &Profile) -> Result<Signed, AccessError> {
    let header = part(token, 0).ok_or(AccessError::InvalidToken("it is not a JWT"))?;
    let header: ForeignHeader =
        serde_json::from_slice(&header).map_err(|_| AccessError::InvalidToken("its header is not as expected"))?;
    let typ = header.typ.map(|typ| typ.to_ascii_lowercase());
    let typ = typ.as_deref().map(|typ| typ.strip_prefix("application/").unwrap_or(typ));
    match (profile, typ) {
        // Keeps an ID token from passing as an access token (RFC 9068 section 2.1).
        (Profile::Oidc { .. }, Some(TOKEN_TYPE)) => {}
        (Profile::Oidc { .. }, _) => return Err(AccessError::InvalidToken("its type is not at+jwt")),
        // Cognito has no type; `token_use` tells its tokens apart.
        (Profile::Cognito { .. }, None | Some("jwt")) => {}
        (Profile::Cognito { .. }, _) => return Err(AccessError::InvalidToken("its type is not JWT")),
    }
    Ok(Signed { alg: header.alg, kid: header.kid })
}
