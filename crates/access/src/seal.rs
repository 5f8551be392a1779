//! Texts that come back, such as page tokens: sealed, so that they tell nothing and nobody makes one, and bound
//! to their use.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::text::random;

const NONCE_BYTES: usize = 12;

/// AES-256-GCM (NIST SP 800-38D) under one key. A text is nonce (12 bytes), ciphertext and tag, in base64url.
#[derive(Clone)]
pub struct Seal(Aes256Gcm);

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal")
    }
}

impl Seal {
    /// The seal with this key.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self(Aes256Gcm::new(key.into()))
    }

    /// Seals `content` for the use that `bound` describes.
    #[must_use]
    pub fn seal(&self, bound: &[u8], content: &[u8]) -> String {
        let nonce = *random::<NONCE_BYTES>();
        // AES-GCM fails only beyond 64 GiB of plain text.
        let sealed = self.0.encrypt(&Nonce::from(nonce), Payload { msg: content, aad: bound }).unwrap_or_default();
        BASE64_URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat())
    }

    /// What a text holds; `None` if it was made for another use or by somebody else.
    #[must_use]
    pub fn open(&self, bound: &[u8], text: &str) -> Option<Vec<u8>> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>()?;
        self.0.decrypt(&Nonce::from(*nonce), Payload { msg: sealed, aad: bound }).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_opens_for_its_own_use_only() {
        let seal = Seal::new(&[1; 32]);
        let token = seal.seal(b"query", b"place");
        assert_eq!(seal.open(b"query", &token).as_deref(), Some(b"place".as_slice()));
        assert_eq!(seal.open(b"other", &token), None);
        assert_eq!(Seal::new(&[2; 32]).open(b"query", &token), None);
        for wrong in ["", "x", "####", &token[1..]] {
            assert_eq!(seal.open(b"query", wrong), None, "{wrong}");
        }
    }
}
