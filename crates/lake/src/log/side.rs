//! Side items of a commit as bytes: each with its length, compressed together, with a checksum.

use std::io::Write;

use crate::error::{LakeError, Result};

pub(super) fn encode(items: &[Vec<u8>]) -> Result<Option<Vec<u8>>> {
    if items.is_empty() {
        return Ok(None);
    }
    let mut plain = Vec::with_capacity(items.iter().map(|item| item.len() + 8).sum());
    for item in items {
        plain.extend_from_slice(&(item.len() as u64).to_le_bytes());
        plain.extend_from_slice(item);
    }
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1)?;
    encoder.include_checksum(true)?;
    encoder.write_all(&plain)?;
    Ok(Some(encoder.finish()?))
}

pub(super) fn decode(body: &[u8]) -> Result<Vec<Vec<u8>>> {
    let damaged = || LakeError::Damaged("the side items of a commit cannot be read".to_owned());
    let plain = zstd::stream::decode_all(body).map_err(|_| damaged())?;
    let mut rest = plain.as_slice();
    let mut items = Vec::new();
    while let Some((length, tail)) = rest.split_first_chunk::<8>() {
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| damaged())?;
        let (item, tail) = tail.split_at_checked(length).ok_or_else(damaged)?;
        items.push(item.to_vec());
        rest = tail;
    }
    if rest.is_empty() { Ok(items) } else { Err(damaged()) }
}
