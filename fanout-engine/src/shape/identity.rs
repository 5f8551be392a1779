//! What makes two plans one, and the opaque ids of shaped records.

use std::fmt;
use std::str::FromStr;

use aes::cipher::{BlockEncrypt, KeyInit};
use aes::{Aes128, Block};
use headgate_types::ElementId;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

/// Identity of a plan (rule 22): plans with the same id shape every range alike.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PlanId([u8; 32]);

impl PlanId {
    /// Digest over the parts, each with its length, so that no two lists of parts look alike.
    pub(super) fn of(parts: &[&[u8]]) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        Self(digest.finalize().into())
    }
}

impl fmt::Display for PlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Identity of an effective predicate over one version of one element's schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FilterId(PlanId);

impl FilterId {
    /// As [`PlanId::of`].
    pub(super) fn of(parts: &[&[u8]]) -> Self {
        Self(PlanId::of(parts))
    }
}

/// The id of a shaped record, `_id`: 32 hexadecimal digits that say nothing about the offset, so
/// that gaps do not tell the volume outside a scope (rule 23). The same record has the same id on
/// every redelivery and in every channel of the same row scope.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId(pub [u8; 16]);

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RecordId {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).map(|()| Self(bytes))
    }
}

/// Turns offsets into record ids: a permutation of 128-bit blocks, hence without collision.
#[derive(Clone)]
pub(super) struct RecordIds(Aes128);

impl RecordIds {
    /// Ids of `element` under the effective predicate `predicate`, from the platform's key.
    pub(super) fn new(platform_key: &[u8; 32], element: ElementId, predicate: &str) -> Self {
        // The parts have fixed lengths up to the last, so they cannot run into each other.
        let mac = <Hmac<Sha256> as Mac>::new_from_slice(platform_key).map(|mut mac| {
            mac.update(b"headgate/record-id/1");
            mac.update(element.uuid().as_bytes());
            mac.update(predicate.as_bytes());
            mac.finalize().into_bytes()
        });
        // HMAC takes keys of every length; the default would only be reached if it did not.
        let key = mac.unwrap_or_default();
        let mut short = [0; 16];
        short.copy_from_slice(&key[..16]);
        Self(Aes128::new(&short.into()))
    }

    /// The ids of the records at `offsets`. Blocks go through the cipher eight at a time, which takes
    /// hardly longer than one.
    pub(super) fn all(&self, offsets: &[u64]) -> Vec<RecordId> {
        let mut ids = Vec::with_capacity(offsets.len());
        let mut blocks = [Block::default(); 8];
        for offsets in offsets.chunks(blocks.len()) {
            let blocks = &mut blocks[..offsets.len()];
            for (block, offset) in blocks.iter_mut().zip(offsets) {
                block[..8].fill(0);
                block[8..].copy_from_slice(&offset.to_be_bytes());
            }
            self.0.encrypt_blocks(blocks);
            ids.extend(blocks.iter().map(|block| RecordId((*block).into())));
        }
        ids
    }
}

impl fmt::Debug for RecordIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordIds")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_ids_repeat_within_a_scope_and_differ_between_scopes() {
        let element = ElementId::new();
        let ids = |predicate: &str, offsets: &[u64]| RecordIds::new(&[7; 32], element, predicate).all(offsets);
        assert_eq!(ids("a > 1", &[5]), ids("a > 1", &[5]));
        assert_ne!(ids("a > 1", &[5]), ids("a > 1", &[6]));
        assert_ne!(ids("a > 1", &[5]), ids("a > 2", &[5]));
        let offsets: Vec<u64> = (1..=19).collect();
        let each: Vec<RecordId> = offsets.iter().flat_map(|offset| ids("a > 1", &[*offset])).collect();
        assert_eq!(ids("a > 1", &offsets), each, "however many at a time");
        let text = ids("", &[1])[0].to_string();
        assert_eq!(text.len(), 32);
        assert_eq!(text.parse(), Ok(ids("", &[1])[0]));
    }

    #[test]
    fn plan_ids_keep_their_parts_apart() {
        assert_ne!(PlanId::of(&[b"ab", b"c"]), PlanId::of(&[b"a", b"bc"]));
    }
}
