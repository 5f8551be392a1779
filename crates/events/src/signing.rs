//! Standard Webhooks 1.0 signatures, for events and for webhook channels.
//!
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>:
//! what is signed is `{id}.{timestamp}.{payload}`; `v1` is HMAC-SHA256 under the shared secret,
//! `v1a` is Ed25519.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use hmac::{Hmac, Mac};
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::error::EventsError;

/// The header with the id of the message, the same on every attempt.
pub const ID: HeaderName = HeaderName::from_static("webhook-id");
/// The header with the time of the attempt, in seconds since 1970.
pub const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
/// The header with the signatures, separated by spaces.
pub const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

const SECRET_PREFIX: &str = "whsec_";
const PUBLIC_KEY_PREFIX: &str = "whpk_";
/// Seconds by which a timestamp may differ from the receiver's clock.
const TOLERANCE: i64 = 300;

/// The `v1` signature under a shared secret (`whsec_…`): `v1,<Base64>`.
///
/// # Errors
/// [`EventsError::Secret`].
pub fn sign_hmac(secret: &SecretString, id: &str, timestamp: i64, payload: &[u8]) -> Result<String, EventsError> {
    let tag = mac(secret, id, timestamp, payload)?.finalize().into_bytes();
    Ok(format!("v1,{}", BASE64_STANDARD.encode(tag)))
}

/// Checks a received message against a shared secret: one of the `v1` signatures fits, and the
/// timestamp is at most five minutes off `now`.
///
/// # Errors
/// [`EventsError::Signature`], [`EventsError::Secret`].
pub fn verify_hmac(
    secret: &SecretString,
    id: &str,
    timestamp: i64,
    payload: &[u8],
    signatures: &str,
    now: i64,
) -> Result<(), EventsError> {
    check_time(timestamp, now)?;
    for signature in signatures.split(' ').filter_map(|part| part.strip_prefix("v1,")) {
        let Ok(tag) = BASE64_STANDARD.decode(signature) else { continue };
        // Compares in constant time.
        if mac(secret, id, timestamp, payload)?.verify_slice(&tag).is_ok() {
            return Ok(());
        }
    }
    Err(EventsError::Signature("no v1 signature fits"))
}

/// The `v1a` signature: `v1a,<Base64>`.
#[must_use]
pub fn sign_ed25519(key: &SigningKey, id: &str, timestamp: i64, payload: &[u8]) -> String {
    let signature = key.sign(&content(id, timestamp, payload));
    format!("v1a,{}", BASE64_STANDARD.encode(signature.to_bytes()))
}

/// Checks a received message against a public key (`whpk_…`), as [`verify_hmac`] does.
///
/// # Errors
/// [`EventsError::Signature`].
pub fn verify_ed25519(
    public_key: &str,
    id: &str,
    timestamp: i64,
    payload: &[u8],
    signatures: &str,
    now: i64,
) -> Result<(), EventsError> {
    check_time(timestamp, now)?;
    let key = public_key.strip_prefix(PUBLIC_KEY_PREFIX).and_then(|text| BASE64_STANDARD.decode(text).ok());
    let key = key.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let key = key.and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
    let key = key.ok_or(EventsError::Signature("the public key is malformed"))?;
    let message = content(id, timestamp, payload);
    let fits = signatures.split(' ').filter_map(|part| part.strip_prefix("v1a,")).any(|signature| {
        let bytes = BASE64_STANDARD.decode(signature).ok().and_then(|bytes| <[u8; 64]>::try_from(bytes).ok());
        bytes.is_some_and(|bytes| key.verify_strict(&message, &Signature::from_bytes(&bytes)).is_ok())
    });
    if fits { Ok(()) } else { Err(EventsError::Signature("no v1a signature fits")) }
}

/// A public key as receivers register it: `whpk_<Base64>`.
#[must_use]
pub fn public_key_text(key: &VerifyingKey) -> String {
    format!("{PUBLIC_KEY_PREFIX}{}", BASE64_STANDARD.encode(key.as_bytes()))
}

/// The three headers of a message, signed with every secret that is good (two during a rotation)
/// and, where given, with an Ed25519 key.
///
/// # Errors
/// [`EventsError::Secret`]; [`EventsError::Signature`] when the id does not serve as a header.
pub fn headers(
    secrets: &[SecretString],
    key: Option<&SigningKey>,
    id: &str,
    timestamp: i64,
    payload: &[u8],
) -> Result<HeaderMap, EventsError> {
    let mut signatures = Vec::with_capacity(secrets.len() + 1);
    for secret in secrets {
        signatures.push(sign_hmac(secret, id, timestamp, payload)?);
    }
    signatures.extend(key.map(|key| sign_ed25519(key, id, timestamp, payload)));
    let text = |value: &str| {
        HeaderValue::from_str(value).map_err(|_| EventsError::Signature("the id does not serve as a header"))
    };
    let mut headers = HeaderMap::new();
    headers.insert(ID, text(id)?);
    headers.insert(TIMESTAMP, HeaderValue::from(timestamp));
    headers.insert(SIGNATURE, text(&signatures.join(" "))?);
    Ok(headers)
}

fn mac(secret: &SecretString, id: &str, timestamp: i64, payload: &[u8]) -> Result<Hmac<Sha256>, EventsError> {
    let encoded = secret.expose_secret().strip_prefix(SECRET_PREFIX).ok_or(EventsError::Secret)?;
    let key = zeroize::Zeroizing::new(BASE64_STANDARD.decode(encoded).map_err(|_| EventsError::Secret)?);
    if !(24..=64).contains(&key.len()) {
        return Err(EventsError::Secret);
    }
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&key).map_err(|_| EventsError::Secret)?;
    mac.update(&content(id, timestamp, payload));
    Ok(mac)
}

fn content(id: &str, timestamp: i64, payload: &[u8]) -> Vec<u8> {
    [id.as_bytes(), b".", timestamp.to_string().as_bytes(), b".", payload].concat()
}

fn check_time(timestamp: i64, now: i64) -> Result<(), EventsError> {
    if now.abs_diff(timestamp) > TOLERANCE.unsigned_abs() {
        return Err(EventsError::Signature("the timestamp is too far from now"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of the specification's reference libraries.
    #[test]
    fn the_hmac_signature_is_that_of_standard_webhooks() {
        let secret = SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let payload = br#"{"test": 2432232314}"#;
        let signature = sign_hmac(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, payload).unwrap();
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_signature_fits_only_its_message_time_and_secret() {
        let secret = SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let other = SecretString::from("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
        let signature = sign_hmac(&secret, "a", 1_000, b"x").unwrap();
        let two = format!("v1,AAAA v2,zzz {signature}");
        assert!(verify_hmac(&secret, "a", 1_000, b"x", &two, 1_200).is_ok());
        assert!(verify_hmac(&other, "a", 1_000, b"x", &two, 1_200).is_err());
        assert!(verify_hmac(&secret, "b", 1_000, b"x", &two, 1_200).is_err());
        assert!(verify_hmac(&secret, "a", 1_001, b"x", &two, 1_200).is_err());
        assert!(verify_hmac(&secret, "a", 1_000, b"y", &two, 1_200).is_err());
        assert!(verify_hmac(&secret, "a", 1_000, b"x", &two, 1_301).is_err());
        assert!(sign_hmac(&SecretString::from("whsec_short"), "a", 1, b"x").is_err());
        assert!(sign_hmac(&SecretString::from("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), "a", 1, b"x").is_err());
    }

    #[test]
    fn the_ed25519_signature_fits_only_its_message_and_key() {
        let (key, other) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let public = public_key_text(&key.verifying_key());
        let signature = sign_ed25519(&key, "a", 1_000, b"x");
        assert!(verify_ed25519(&public, "a", 1_000, b"x", &signature, 1_000).is_ok());
        assert!(verify_ed25519(&public, "a", 1_000, b"y", &signature, 1_000).is_err());
        let other = public_key_text(&other.verifying_key());
        assert!(verify_ed25519(&other, "a", 1_000, b"x", &signature, 1_000).is_err());
        assert!(verify_ed25519("whpk_AA", "a", 1_000, b"x", &signature, 1_000).is_err());
    }
}
