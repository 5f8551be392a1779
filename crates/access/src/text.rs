//! Checks of the names people give, and secrets made of chance.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use headgate_types::FieldError;
use rand::RngCore;
use rand::rngs::OsRng;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The longest name of a tenant or client, in characters.
pub(crate) const MAX_NAME: usize = 100;

/// A name without surrounding space.
pub(crate) fn checked_name(pointer: &str, name: &str) -> Result<String, FieldError> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        let detail = format!("a name has 1 to {MAX_NAME} characters and no control characters");
        return Err(FieldError::new(pointer, "invalid_name", detail));
    }
    Ok(name.to_owned())
}

/// `N` bytes from the operating system.
pub(crate) fn random<const N: usize>() -> Zeroizing<[u8; N]> {
    let mut bytes = Zeroizing::new([0; N]);
    OsRng.fill_bytes(&mut *bytes);
    bytes
}

/// A secret of 256 bits behind `prefix`, in letters that need no quoting anywhere.
pub(crate) fn new_secret(prefix: &str) -> SecretString {
    let bytes = random::<32>();
    let encoded = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(*bytes));
    SecretString::from(format!("{prefix}{}", *encoded))
}

/// What is kept of a secret that only has to be recognised. A plain hash is enough for 256 bits of
/// chance; there is nothing to guess that would need slowing down.
pub(crate) fn secret_hash(secret: &SecretString) -> [u8; 32] {
    Sha256::digest(secret.expose_secret()).into()
}
