//! The directory row of a commit group: where each commit's records lie. The index in memory is
//! rebuilt from these rows, without touching a body.

use crate::error::{LakeError, Result};

const VERSION: u8 = 1;
const RECORD: usize = 8 + 8 + 8 + 4 + 4 + 8 + 4;

/// One commit's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Row id of the element in `topics`.
    pub(super) topic: i64,
    /// Row id of the body in `commits`.
    pub(super) sequence: u64,
    /// The first offset.
    pub(super) first: u64,
    /// Records.
    pub(super) count: u32,
    /// Epoch of the offsets.
    pub(super) epoch: u32,
    /// Row id of the schema in `schemas`.
    pub(super) schema: i64,
    /// Bytes of the body.
    pub(super) bytes: u32,
}

pub(super) fn encode(places: &[Place]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + places.len() * RECORD);
    out.push(VERSION);
    for place in places {
        out.extend_from_slice(&place.topic.to_le_bytes());
        out.extend_from_slice(&place.sequence.to_le_bytes());
        out.extend_from_slice(&place.first.to_le_bytes());
        out.extend_from_slice(&place.count.to_le_bytes());
        out.extend_from_slice(&place.epoch.to_le_bytes());
        out.extend_from_slice(&place.schema.to_le_bytes());
        out.extend_from_slice(&place.bytes.to_le_bytes());
    }
    out
}

pub(super) fn decode(row: &[u8]) -> Result<Vec<Place>> {
    let damaged = || LakeError::Damaged("a directory row of the log cannot be read".to_owned());
    let (version, records) = row.split_first().ok_or_else(damaged)?;
    if *version != VERSION || records.len() % RECORD != 0 {
        return Err(damaged());
    }
    let (records, _) = records.as_chunks::<RECORD>();
    records
        .iter()
        .map(|record| {
            let mut cursor = record.as_slice();
            let place = Place {
                topic: i64::from_le_bytes(take(&mut cursor).ok_or_else(damaged)?),
                sequence: u64::from_le_bytes(take(&mut cursor).ok_or_else(damaged)?),
                first: u64::from_le_bytes(take(&mut cursor).ok_or_else(damaged)?),
                count: u32::from_le_bytes(take(&mut cursor).ok_or_else(damaged)?),
                epoch: u32::from_le_bytes(take(&mut cursor).ok_or_else(damaged)?),
                schema: i64::from_le_bytes(take(&mut cursor).ok_or_else(damaged)?),
                bytes: u32::from_le_bytes(take(&mut cursor).ok_or_else(damaged)?),
            };
            Ok(place)
        })
        .collect()
}

fn take<const N: usize>(cursor: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = cursor.split_first_chunk::<N>()?;
    *cursor = rest;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_directory_row_reads_back_as_written(
            places in prop::collection::vec((any::<i64>(), any::<u64>(), any::<u64>(), any::<u32>(), any::<u32>(), any::<u32>()), 0..20),
        ) {
            let places: Vec<_> = places.into_iter().map(|(topic, sequence, first, count, epoch, bytes)| {
                Place { topic, sequence, first, count, epoch, schema: topic ^ 7, bytes }
            }).collect();
            prop_assert_eq!(decode(&encode(&places)).unwrap(), places);
        }

        #[test]
        fn a_damaged_directory_row_is_an_error_and_no_panic(row in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&row);
        }
    }
}
