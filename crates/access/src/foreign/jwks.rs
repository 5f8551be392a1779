//! The keys of another issuer (RFC 7517): fetched from the configured address, kept by name, pinned to one
//! algorithm each.
//!
//! Keys are asked for again when they are older than [`FRESH`], or when a token names an unknown one, at most
//! once in [`BETWEEN_TRIES`]. While the issuer does not answer, the last keys are good for [`STALE_IF_ERROR`];
//! then nobody is recognised.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, DecodingKey};
use parking_lot::RwLock;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use url::Url;

use super::{ForeignIssuer, age};
use crate::error::AccessError;
use crate::outbound::{GuardedClient, OutboundError, OutboundPolicy};

/// How long keys are used without asking again: how long a key that the issuer withdraws is good at most.
const FRESH: TimeDelta = TimeDelta::minutes(15);
const BETWEEN_TRIES: TimeDelta = TimeDelta::minutes(1);
const STALE_IF_ERROR: TimeDelta = TimeDelta::hours(24);
/// A request with a token may wait for the keys that long.
const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_BYTES: usize = 256 << 10;
const MAX_KEYS: usize = 100;
/// Bits of an RSA modulus: below can be factored before long, above costs too much per token.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=4_096;

/// A key that verifies, by one algorithm.
pub(super) struct PinnedKey {
    pub(super) algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
}

type Keys = HashMap<String, Arc<PinnedKey>>;

/// Where the keys of one issuer come from, and those fetched last.
pub(super) struct KeySource {
    url: Url,
    client: GuardedClient,
    kept: RwLock<Kept>,
    /// One request at a time.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Kept {
    keys: Keys,
    fetched: Option<DateTime<Utc>>,
    tried: Option<DateTime<Utc>>,
}

impl Kept {
    fn is_within(&self, limit: TimeDelta, now: DateTime<Utc>) -> bool {
        self.fetched.is_some_and(|fetched| age(now, fetched) < limit)
    }

    fn find(&self, kid: &str, now: DateTime<Utc>) -> Option<Arc<PinnedKey>> {
        self.keys.get(kid).filter(|_| self.is_within(STALE_IF_ERROR, now)).cloned()
    }

    fn may_try(&self, now: DateTime<Utc>) -> bool {
        self.tried.is_none_or(|tried| age(now, tried) >= BETWEEN_TRIES)
    }
}

/// Why keys could not be had.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    #[error("the answer was {0}")]
    Status(u16),
    #[error("the answer is no set of keys")]
    Malformed,
}

impl KeySource {
    pub(super) fn new(issuer: &ForeignIssuer) -> Result<Self, AccessError> {
        let refuse = |error: OutboundError| AccessError::Issuer(format!("{}: {error}", issuer.jwks_url));
        let client = GuardedClient::with_timeout(OutboundPolicy { allow: issuer.networks.clone() }, TIMEOUT);
        let client = client.map_err(refuse)?;
        client.policy().check_url(&issuer.jwks_url).map_err(refuse)?;
        let kept = RwLock::default();
        Ok(Self { url: issuer.jwks_url.clone(), client, kept, fetching: tokio::sync::Mutex::default() })
    }

    /// The key of this name; none when the issuer has no such key.
    ///
    /// # Errors
    /// [`AccessError::IssuerUnavailable`] when no keys could be had for a day, or ever.
    pub(super) async fn key(&self, kid: &str, now: DateTime<Utc>) -> Result<Option<Arc<PinnedKey>>, AccessError> {
        let (found, fresh, may_try) = {
            let kept = self.kept.read();
            (kept.find(kid, now), kept.is_within(FRESH, now), kept.may_try(now))
        };
        match (found, fresh) {
            (Some(key), true) => return Ok(Some(key)),
            (Some(key), false) => {
                // One caller asks; the others go on with what there is.
                match self.fetching.try_lock() {
                    Ok(_turn) if may_try => self.fetch(now).await,
                    _ => return Ok(Some(key)),
                }
            }
            (None, _) => {
                let _turn = self.fetching.lock().await;
                // Whoever was before us may have brought it.
                let (there, may_try) = {
                    let kept = self.kept.read();
                    (kept.find(kid, now).is_some(), kept.may_try(now))
                };
                if !there && may_try {
                    self.fetch(now).await;
                }
            }
        }
        let kept = self.kept.read();
        if kept.is_within(STALE_IF_ERROR, now) {
            return Ok(kept.find(kid, now));
        }
        let waited = kept.tried.map_or(TimeDelta::zero(), |tried| age(now, tried));
        let retry_after = (BETWEEN_TRIES - waited).num_seconds().max(1).unsigned_abs();
        Err(AccessError::IssuerUnavailable { retry_after })
    }

    /// Asks for the keys; what there is stays when that fails.
    async fn fetch(&self, now: DateTime<Utc>) {
        self.kept.write().tried = Some(now);
        match self.ask().await {
            Ok(keys) => {
                let mut kept = self.kept.write();
                (kept.keys, kept.fetched) = (keys, Some(now));
            }
            Err(error) => tracing::warn!(url = %self.url, %error, "failed to get the keys of an issuer"),
        }
    }

    async fn ask(&self) -> Result<Keys, FetchError> {
        let (status, body) = self.client.fetch(&self.url, MAX_BYTES).await?;
        if status.as_u16() != 200 {
            return Err(FetchError::Status(status.as_u16()));
        }
        parse(&body).ok_or(FetchError::Malformed)
    }
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct PublishedKey {
    kty: String,
    kid: String,
    alg: Option<String>,
    #[serde(rename = "use")]
    key_use: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    /// Half of a secret: whoever reads it here can sign.
    d: Option<IgnoredAny>,
}

/// The keys of a document that can verify tokens. Others in it are left out (RFC 7517 section 5), and so
/// are two of one name, because it would not be said which is meant.
pub(super) fn parse(document: &[u8]) -> Option<Keys> {
    let document: Document = serde_json::from_slice(document).ok()?;
    if document.keys.len() > MAX_KEYS {
        return None;
    }
    let published: Vec<PublishedKey> =
        document.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect();
    let twice = |kid: &str| published.iter().filter(|key| key.kid == kid).count() > 1;
    let usable = published.iter().filter(|key| !twice(&key.kid));
    Some(usable.filter_map(|key| Some((key.kid.clone(), Arc::new(pinned(key)?)))).collect())
}

fn pinned(key: &PublishedKey) -> Option<PinnedKey> {
    let signs = key.key_use.as_deref().is_none_or(|word| word == "sig");
    let verifies = key.key_ops.as_ref().is_none_or(|words| words.iter().any(|word| word == "verify"));
    if !signs || !verifies || key.d.is_some() || key.kid.is_empty() {
        return None;
    }
    // The algorithm is the key's: the one it names, or the usual one of its kind.
    let alg = key.alg.as_deref();
    let (algorithm, decoding) = match (key.kty.as_str(), key.crv.as_deref()) {
        ("RSA", None) => {
            let algorithm = match alg.unwrap_or("RS256") {
                "RS256" => Algorithm::RS256,
                "RS384" => Algorithm::RS384,
                "RS512" => Algorithm::RS512,
                "PS256" => Algorithm::PS256,
                "PS384" => Algorithm::PS384,
                "PS512" => Algorithm::PS512,
                _ => return None,
            };
            let (n, e) = (bytes(key.n.as_ref()?)?, bytes(key.e.as_ref()?)?);
            let odd = e.last().is_some_and(|last| last % 2 == 1);
            if !RSA_BITS.contains(&bits(&n)) || !(2..=32).contains(&bits(&e)) || !odd {
                return None;
            }
            (algorithm, DecodingKey::from_rsa_raw_components(&n, &e))
        }
        ("EC", Some(curve)) => {
            let (algorithm, size) = match curve {
                "P-256" => (Algorithm::ES256, 32),
                "P-384" => (Algorithm::ES384, 48),
                _ => return None,
            };
            let (x, y) = (key.x.as_ref()?, key.y.as_ref()?);
            if alg.is_some_and(|alg| alg != name_of(algorithm)) || [x, y].iter().any(|c| !has_bytes(c, size)) {
                return None;
            }
            (algorithm, DecodingKey::from_ec_components(x, y).ok()?)
        }
        ("OKP", Some("Ed25519")) => {
            let x = key.x.as_ref()?;
            if alg.is_some_and(|alg| alg != "EdDSA") || !has_bytes(x, 32) {
                return None;
            }
            (Algorithm::EdDSA, DecodingKey::from_ed_components(x).ok()?)
        }
        _ => return None,
    };
    Some(PinnedKey { algorithm, decoding })
}

/// The name of an algorithm in headers.
pub(super) const fn name_of(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::RS256 => "RS256",
        Algorithm::RS384 => "RS384",
        Algorithm::RS512 => "RS512",
        Algorithm::PS256 => "PS256",
        Algorithm::PS384 => "PS384",
        Algorithm::PS512 => "PS512",
        Algorithm::ES256 => "ES256",
        Algorithm::ES384 => "ES384",
        Algorithm::EdDSA => "EdDSA",
        // Made of a shared secret: never of a published key.
        _ => "",
    }
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text).ok()
}

fn has_bytes(text: &str, count: usize) -> bool {
    bytes(text).is_some_and(|bytes| bytes.len() == count)
}

/// How many bits a number has, most significant byte first.
fn bits(number: &[u8]) -> usize {
    let significant = number.iter().skip_while(|byte| **byte == 0);
    let mut digits = significant.clone();
    digits.next().map_or(0, |first| (significant.count() - 1) * 8 + (8 - first.leading_zeros() as usize))
}
