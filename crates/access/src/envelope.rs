//! Secrets at rest: every secret under a key of its own, those keys under the master key.

use std::fmt;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::error::AccessError;
use crate::text::random;

const VERSION: u8 = 1;
const KEK_ID_BYTES: usize = 8;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const KEY_BYTES: usize = 32;
const WRAPPED_BYTES: usize = KEY_BYTES + TAG_BYTES;
const HEADER_BYTES: usize = 1 + KEK_ID_BYTES + NONCE_BYTES + WRAPPED_BYTES + NONCE_BYTES;

/// The platform's master key: 256 bits that never leave the process and are never in a table.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; KEY_BYTES]>);

impl MasterKey {
    /// The key with these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The key written as 64 hexadecimal digits, surrounding space ignored.
    ///
    /// # Errors
    /// [`AccessError::Key`] when the text is something else; it is not repeated.
    pub fn from_hex(text: &str) -> Result<Self, AccessError> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        hex::decode_to_slice(text.trim(), &mut *bytes)
            .map_err(|_| AccessError::Key("a master key is 64 hexadecimal digits"))?;
        Ok(Self(bytes))
    }

    /// A new key from the operating system's chance.
    #[must_use]
    pub fn generate() -> Self {
        Self(random())
    }

    /// The key as 64 hexadecimal digits, to be written to a file that only its owner can read.
    #[must_use]
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(*self.0))
    }

    /// A key for one purpose: HMAC-SHA256 of the purpose under the master key. Purposes are
    /// constants of the code; knowing one derived key says nothing about the others.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Zeroizing<[u8; KEY_BYTES]> {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&*self.0)
            .unwrap_or_else(|_| unreachable!("HMAC takes a key of any length"));
        mac.update(b"headgate:");
        mac.update(purpose.as_bytes());
        Zeroizing::new(mac.finalize().into_bytes().into())
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

/// Seals and opens secrets with AES-256-GCM (NIST SP 800-38D).
///
/// Layout: version (1) | id of the master key (8) | nonce (12) | wrapped data key (48) | nonce (12)
/// | ciphertext and tag. The additional data says where a secret belongs, so that one copied to
/// another row does not open there.
#[derive(Clone)]
pub struct Envelope {
    wrap: Aes256Gcm,
    kek_id: [u8; KEK_ID_BYTES],
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope").field("kek_id", &self.kek_id()).finish_non_exhaustive()
    }
}

impl Envelope {
    /// Envelopes under `master`.
    #[must_use]
    pub fn new(master: &MasterKey) -> Self {
        let key = master.derive("envelope");
        let mut kek_id = [0; KEK_ID_BYTES];
        kek_id.copy_from_slice(&Sha256::digest(*key)[..KEK_ID_BYTES]);
        Self { wrap: Aes256Gcm::new((&*key).into()), kek_id }
    }

    /// Names the master key in use, without giving it away.
    #[must_use]
    pub fn kek_id(&self) -> String {
        hex::encode(self.kek_id)
    }

    /// Seals `plaintext` for the place that `aad` names.
    ///
    /// # Errors
    /// [`AccessError::Sealed`] for a plaintext beyond what the cipher takes (64 GiB).
    pub fn seal(&self, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, AccessError> {
        let data_key = random::<KEY_BYTES>();
        let (wrap_nonce, nonce) = (random::<NONCE_BYTES>(), random::<NONCE_BYTES>());
        let wrapped = encrypt(&self.wrap, &wrap_nonce, aad, &*data_key)?;
        let sealed = encrypt(&Aes256Gcm::new((&*data_key).into()), &nonce, aad, plaintext)?;
        let mut out = Vec::with_capacity(HEADER_BYTES + sealed.len());
        out.push(VERSION);
        out.extend_from_slice(&self.kek_id);
        out.extend_from_slice(&*wrap_nonce);
        out.extend_from_slice(&wrapped);
        out.extend_from_slice(&*nonce);
        out.extend_from_slice(&sealed);
        Ok(out)
    }

    /// Opens what [`Envelope::seal`] made for the same place.
    ///
    /// # Errors
    /// [`AccessError::Sealed`] when the bytes are damaged, belong elsewhere or were sealed under
    /// another master key.
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, AccessError> {
        let damaged = || AccessError::Sealed("it is damaged or belongs elsewhere");
        if sealed.len() < HEADER_BYTES + TAG_BYTES || sealed[0] != VERSION {
            return Err(damaged());
        }
        let (kek_id, rest) = sealed[1..].split_at(KEK_ID_BYTES);
        if kek_id != self.kek_id {
            return Err(AccessError::Sealed("it was sealed under another master key"));
        }
        let (wrap_nonce, rest) = split_nonce(rest).ok_or_else(damaged)?;
        let (wrapped, rest) = rest.split_at(WRAPPED_BYTES);
        let (nonce, ciphertext) = split_nonce(rest).ok_or_else(damaged)?;
        let data_key = decrypt(&self.wrap, wrap_nonce, aad, wrapped)?;
        let cipher = Aes256Gcm::new_from_slice(&data_key).map_err(|_| damaged())?;
        decrypt(&cipher, nonce, aad, ciphertext)
    }
}

fn split_nonce(bytes: &[u8]) -> Option<([u8; NONCE_BYTES], &[u8])> {
    bytes.split_first_chunk().map(|(nonce, rest)| (*nonce, rest))
}

fn encrypt(cipher: &Aes256Gcm, nonce: &[u8; NONCE_BYTES], aad: &[u8], msg: &[u8]) -> Result<Vec<u8>, AccessError> {
    cipher.encrypt(nonce.into(), Payload { msg, aad }).map_err(|_| AccessError::Sealed("it is too long"))
}

fn decrypt(
    cipher: &Aes256Gcm,
    nonce: [u8; NONCE_BYTES],
    aad: &[u8],
    msg: &[u8],
) -> Result<Zeroizing<Vec<u8>>, AccessError> {
    cipher
        .decrypt(&Nonce::from(nonce), Payload { msg, aad })
        .map(Zeroizing::new)
        .map_err(|_| AccessError::Sealed("it is damaged or belongs elsewhere"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuzzed_envelopes_open_only_as_they_were_sealed() {
        let envelope = Envelope::new(&MasterKey::generate());
        let sealed = envelope.seal(b"place", b"secret").unwrap();
        crate::fuzz::bytes("crates/access/src/envelope.rs open", &[&sealed, b""], |bytes| {
            let opened = envelope.open(b"place", bytes);
            assert!(opened.is_err() || bytes == sealed, "it opens to something: {opened:?}");
            opened.is_ok()
        });
        crate::fuzz::text("crates/access/src/envelope.rs MasterKey", &[&MasterKey::generate().to_hex()], |text| {
            MasterKey::from_hex(text).map(|key| assert!(key.to_hex().eq_ignore_ascii_case(text.trim()))).is_ok()
        });
    }

    #[test]
    fn a_sealed_secret_opens_only_in_its_place_and_undamaged() {
        let envelope = Envelope::new(&MasterKey::generate());
        let sealed = envelope.seal(b"tenant|channel|credential|1", b"secret").unwrap();
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        assert_eq!(&**envelope.open(b"tenant|channel|credential|1", &sealed).unwrap(), b"secret");
        assert!(envelope.open(b"tenant|channel|credential|2", &sealed).is_err());
        for position in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[position] ^= 1;
            assert!(envelope.open(b"tenant|channel|credential|1", &damaged).is_err(), "byte {position}");
        }
        for length in 0..sealed.len() {
            assert!(envelope.open(b"tenant|channel|credential|1", &sealed[..length]).is_err(), "length {length}");
        }
    }

    #[test]
    fn every_sealing_differs_and_another_master_key_is_named_as_the_cause() {
        let envelope = Envelope::new(&MasterKey::generate());
        let sealed = envelope.seal(b"place", b"secret").unwrap();
        assert_ne!(sealed, envelope.seal(b"place", b"secret").unwrap());
        let other = Envelope::new(&MasterKey::generate());
        let error = other.open(b"place", &sealed).unwrap_err().to_string();
        assert!(error.contains("another master key"), "{error}");
    }

    #[test]
    fn a_master_key_round_trips_as_hex_and_is_absent_from_debug() {
        let master = MasterKey::generate();
        let text = master.to_hex();
        assert_eq!(*MasterKey::from_hex(&format!(" {}\n", *text)).unwrap().derive("x"), *master.derive("x"));
        assert!(MasterKey::from_hex("abcd").is_err());
        assert_ne!(*master.derive("a"), *master.derive("b"));
        assert_eq!(format!("{master:?}"), "MasterKey(..)");
        assert!(!format!("{:?}", Envelope::new(&master)).contains(&text[..16]));
    }
}
