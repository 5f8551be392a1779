//! Signing keys: Ed25519 (RFC 8037), sealed in the database, several while one takes over.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use headgate_database::{Db, Tx};
use headgate_types::SharedClock;
use jsonwebtoken::{DecodingKey, EncodingKey};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::store;
use crate::access::Access;
use crate::envelope::Envelope;
use crate::error::AccessError;
use crate::tenants::{self, PLATFORM};
use crate::text::random;

/// How long a process may go on signing with a key that another process has replaced.
const RELOAD_AFTER: TimeDelta = TimeDelta::seconds(60);
/// A token with an unknown key makes us look at the table, at most this often.
const RELOAD_ON_UNKNOWN: TimeDelta = TimeDelta::seconds(1);

/// A public key (RFC 7517, RFC 8037).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Jwk {
    /// Always `OKP`.
    pub kty: String,
    /// Always `Ed25519`.
    pub crv: String,
    /// Always `EdDSA`.
    pub alg: String,
    /// Always `sig`.
    #[serde(rename = "use")]
    pub key_use: String,
    /// Names the key in token headers: its RFC 7638 thumbprint.
    pub kid: String,
    /// The public key, Base64url.
    pub x: String,
}

/// The public keys of the issuer (RFC 7517 section 5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Jwks {
    /// The key that signs first, then those whose tokens may still be good.
    pub keys: Vec<Jwk>,
}

pub(super) struct LoadedKey {
    pub(super) jwk: Jwk,
    pub(super) encoding: EncodingKey,
    pub(super) decoding: DecodingKey,
    pub(super) published_until: Option<DateTime<Utc>>,
}

struct Loaded {
    keys: Vec<Arc<LoadedKey>>,
    at: DateTime<Utc>,
}

pub(crate) struct SigningKeys(RwLock<Loaded>);

impl SigningKeys {
    pub(crate) async fn open(db: &Db, clock: &SharedClock, envelope: &Envelope) -> Result<Self, AccessError> {
        let mut tx = db.platform().await?;
        // Two processes may come up at once on an empty database.
        tx.act_for(PLATFORM).await?;
        tenants::lock(&mut tx, PLATFORM).await?;
        let now = clock.now();
        if store::signing(&mut tx).await?.is_none() {
            insert_new(&mut tx, envelope, now).await?;
        }
        let keys = load(&mut tx, envelope, now).await?;
        tx.commit().await?;
        Ok(Self(RwLock::new(Loaded { keys, at: now })))
    }

    fn signing(&self, now: DateTime<Utc>) -> Option<Arc<LoadedKey>> {
        let loaded = self.0.read();
        let fresh = (now - loaded.at).abs() < RELOAD_AFTER;
        loaded.keys.iter().find(|key| fresh && key.published_until.is_none()).cloned()
    }

    fn find(&self, kid: &str, now: DateTime<Utc>) -> Option<Arc<LoadedKey>> {
        let good = |key: &&Arc<LoadedKey>| key.jwk.kid == kid && key.published_until.is_none_or(|end| now < end);
        self.0.read().keys.iter().find(good).cloned()
    }

    fn age(&self, now: DateTime<Utc>) -> TimeDelta {
        (now - self.0.read().at).abs()
    }
}

impl Access {
    /// The public keys of the issuer, for `/.well-known/jwks.json`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn jwks(&self) -> Result<Jwks, AccessError> {
        let now = self.0.clock.now();
        if self.0.keys.age(now) >= RELOAD_ON_UNKNOWN {
            self.reload_keys(now).await?;
        }
        let loaded = self.0.keys.0.read();
        let good = loaded.keys.iter().filter(|key| key.published_until.is_none_or(|end| now < end));
        Ok(Jwks { keys: good.map(|key| key.jwk.clone()).collect() })
    }

    /// Makes a new key that signs from now on. The old one stays published until its last token
    /// has expired. In a transaction of its own; the caller records it in the audit log.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rotate_signing_key(&self) -> Result<Jwk, AccessError> {
        let now = self.0.clock.now();
        let mut tx = self.0.db.platform().await?;
        tx.act_for(PLATFORM).await?;
        tenants::lock(&mut tx, PLATFORM).await?;
        // Another process goes on signing with the old one until it reloads.
        let until = now + self.0.config.token_lifetime + RELOAD_AFTER + TimeDelta::seconds(super::verify::LEEWAY);
        store::retire_all(&mut tx, until).await?;
        store::remove_expired(&mut tx, now).await?;
        let jwk = insert_new(&mut tx, &self.0.envelope, now).await?;
        tx.commit().await?;
        self.reload_keys(now).await?;
        Ok(jwk)
    }

    pub(super) async fn signing_key(&self, now: DateTime<Utc>) -> Result<Arc<LoadedKey>, AccessError> {
        if let Some(key) = self.0.keys.signing(now) {
            return Ok(key);
        }
        self.reload_keys(now).await?;
        self.0.keys.signing(now).ok_or(AccessError::Key("there is none that signs"))
    }

    pub(super) async fn verifying_key(
        &self,
        kid: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<Arc<LoadedKey>>, AccessError> {
        let found = self.0.keys.find(kid, now);
        if found.is_some() || self.0.keys.age(now) < RELOAD_ON_UNKNOWN {
            return Ok(found);
        }
        self.reload_keys(now).await?;
        Ok(self.0.keys.find(kid, now))
    }

    async fn reload_keys(&self, now: DateTime<Utc>) -> Result<(), AccessError> {
        let mut tx = self.0.db.read_platform().await?;
        let keys = load(&mut tx, &self.0.envelope, now).await?;
        *self.0.keys.0.write() = Loaded { keys, at: now };
        Ok(())
    }
}

async fn insert_new(tx: &mut Tx, envelope: &Envelope, now: DateTime<Utc>) -> Result<Jwk, AccessError> {
    let seed = random::<32>();
    let public = SigningKey::from_bytes(&seed).verifying_key().to_bytes();
    let jwk = jwk(&public);
    let sealed = envelope.seal(&place(&jwk.kid), &*seed)?;
    store::insert(tx, &jwk.kid, &public, &sealed, now).await?;
    Ok(jwk)
}

async fn load(tx: &mut Tx, envelope: &Envelope, now: DateTime<Utc>) -> Result<Vec<Arc<LoadedKey>>, AccessError> {
    let rows = store::published(tx, now).await?;
    rows.into_iter()
        .map(|row| {
            let opened = envelope.open(&place(&row.kid), &row.sealed)?;
            let mut seed = Zeroizing::new([0; 32]);
            if opened.len() != seed.len() {
                return Err(AccessError::Key("its length is wrong"));
            }
            seed.copy_from_slice(&opened);
            let signing = SigningKey::from_bytes(&seed);
            // Computed, not read: the column is for people, the sealed seed is what counts.
            let jwk = jwk(&signing.verifying_key().to_bytes());
            let der = signing.to_pkcs8_der().map_err(|_| AccessError::Key("it cannot be encoded"))?;
            let decoding =
                DecodingKey::from_ed_components(&jwk.x).map_err(|_| AccessError::Key("it cannot be encoded"))?;
            let encoding = EncodingKey::from_ed_der(der.as_bytes());
            Ok(Arc::new(LoadedKey { jwk, encoding, decoding, published_until: row.published_until }))
        })
        .collect()
}

fn place(kid: &str) -> Vec<u8> {
    format!("signing-key|{kid}").into_bytes()
}

fn jwk(public: &[u8; 32]) -> Jwk {
    let x = BASE64_URL_SAFE_NO_PAD.encode(public);
    // RFC 7638: the required members in lexicographic order, without space.
    let thumbprint = Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#));
    Jwk {
        kty: "OKP".to_owned(),
        crv: "Ed25519".to_owned(),
        alg: "EdDSA".to_owned(),
        key_use: "sig".to_owned(),
        kid: BASE64_URL_SAFE_NO_PAD.encode(thumbprint),
        x,
    }
}
