//! The delivery checksum: the same set of shaped records gives the same sum on both sides,
//! whatever their order.
//!
//! Sum modulo 2^128 of the first 16 bytes, read big-endian, of SHA-256 over the RFC 8785 JSON of
//! each shaped record. Records carry their id in the member `_id`, so that two equal rows count
//! twice.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// An order-free checksum over shaped records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checksum(u128);

impl Checksum {
    /// The checksum of no records.
    pub const EMPTY: Self = Self(0);

    /// Adds one record, given as its RFC 8785 JSON.
    pub fn add(&mut self, canonical_json: &[u8]) {
        let digest = Sha256::digest(canonical_json);
        let mut head = [0; 16];
        head.copy_from_slice(&digest[..16]);
        self.0 = self.0.wrapping_add(u128::from_be_bytes(head));
    }

    /// The checksum of both sets together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for Checksum {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

impl Serialize for Checksum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Checksum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_does_not_matter_and_repeats_do() {
        let sum = |records: &[&str]| {
            let mut sum = Checksum::EMPTY;
            records.iter().for_each(|record| sum.add(record.as_bytes()));
            sum
        };
        assert_eq!(sum(&["a", "b"]), sum(&["b", "a"]));
        assert_ne!(sum(&["a"]), sum(&["a", "a"]));
        assert_eq!(sum(&["a"]).to_string().parse(), Ok(sum(&["a"])));
    }

    /// A delivery is a set that is made of parts: in any order, in any cuts.
    #[test]
    fn parts_in_any_order_add_up_to_the_whole() {
        let of = |records: &[u64]| {
            let mut sum = Checksum::EMPTY;
            records.iter().for_each(|record| sum.add(format!("{{\"n\":{record}}}").as_bytes()));
            sum
        };
        let mut records: Vec<u64> = (0..60).collect();
        let whole = of(&records);
        for step in 1..500_usize {
            let (a, b) = (step * 7_919 % 60, step * 104_729 % 60);
            records.swap(a, b);
            let (left, right) = records.split_at(a);
            assert_eq!(of(left).plus(of(right)), whole);
            assert_eq!(whole.to_string().parse::<Checksum>().unwrap(), whole);
            assert!(a == 0 || of(left) != Checksum::EMPTY && of(right) != whole, "{a}");
        }
    }

    #[test]
    fn the_formula_is_the_published_one() {
        // sha256("{}") = 44136fa355b3678a1146ad16f7e8649e 94fb4fc21fe77e8310c060f61caaff8a
        let mut sum = Checksum::EMPTY;
        sum.add(b"{}");
        assert_eq!(sum.to_string(), "44136fa355b3678a1146ad16f7e8649e");
    }
}
