//! Page tokens: sealed, so that they tell nothing, and bound to the query they continue.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rand::RngCore;

const NONCE: usize = 12;

/// The key of one store.
#[derive(Clone)]
pub struct Seal(Aes256Gcm);

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal")
    }
}

impl Seal {
    /// The seal with this key.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(Aes256Gcm::new(key.into()))
    }

    /// Seals `content` for the query that `query` describes.
    pub fn seal(&self, query: &[u8], content: &[u8]) -> Option<String> {
        let mut nonce = [0; NONCE];
        rand::thread_rng().fill_bytes(&mut nonce);
        let payload = Payload { msg: content, aad: query };
        let sealed = self.0.encrypt(&Nonce::from(nonce), payload).ok()?;
        Some(BASE64_URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat()))
    }

    /// What a token holds; `None` if it was made for another query or by somebody else.
    pub fn open(&self, query: &[u8], token: &str) -> Option<Vec<u8>> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE>()?;
        self.0.decrypt(&Nonce::from(*nonce), Payload { msg: sealed, aad: query }).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_for_its_own_query_only() {
        let seal = Seal::new(&[1; 32]);
        let token = seal.seal(b"query", b"place").unwrap();
        assert_eq!(seal.open(b"query", &token).as_deref(), Some(b"place".as_slice()));
        assert_eq!(seal.open(b"other", &token), None);
        assert_eq!(Seal::new(&[2; 32]).open(b"query", &token), None);
        for wrong in ["", "x", "####", &token[1..]] {
            assert_eq!(seal.open(b"query", wrong), None, "{wrong}");
        }
    }
}
