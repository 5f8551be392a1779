//! The body of one request.

use headgate_types::ChannelId;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::technology::{Delivery, FlowKey};

/// The type of every body, in the place Standard Webhooks has for it.
pub const TYPE: &str = "io.headgate.records.v1";

/// One record to send.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// Its place in the flow.
    pub offset: u64,
    /// Its canonical JSON.
    pub json: &'a [u8],
}

/// Cuts the rows of a lane into requests of at most `most` records and `most_bytes`; a larger record goes alone.
pub fn cut<'r, 'a>(mut rows: &'r [Row<'a>], most: usize, most_bytes: usize) -> Vec<&'r [Row<'a>]> {
    let mut batches = Vec::new();
    while !rows.is_empty() {
        let mut bytes = 0;
        let fitting = rows
            .iter()
            .take(most)
            .take_while(|row| {
                bytes += row.json.len();
                bytes <= most_bytes
            })
            .count()
            .max(1);
        let (batch, rest) = rows.split_at(fitting);
        batches.push(batch);
        rows = rest;
    }
    batches
}

/// The id of a request: the same records make the same id, so a receiver recognises a repetition.
pub fn id(channel: ChannelId, flow: FlowKey, rows: &[Row<'_>]) -> String {
    let mut hash = Sha256::new();
    hash.update(channel.uuid());
    hash.update(flow.element.uuid());
    hash.update(flow.lane.as_str());
    for row in rows {
        hash.update(row.offset.to_be_bytes());
        hash.update((row.json.len() as u64).to_be_bytes());
        hash.update(row.json);
    }
    // Hashed whole, so the id says nothing of offsets.
    format!("msg_{}", hex::encode(&hash.finalize()[..16]))
}

/// The body: records keep their canonical bytes, so that the receiver can recompute the checksum.
pub fn body(channel: ChannelId, element: &str, delivery: &Delivery, rows: &[Row<'_>]) -> Vec<u8> {
    let head = format!(
        "{{\"type\":\"{TYPE}\",\"channel\":\"{channel}\",\"element\":{},\"lane\":\"{}\",\"repeated\":{},\"records\":[",
        json!(element),
        delivery.flow.lane,
        delivery.repeated
    );
    let mut body = Vec::with_capacity(head.len() + rows.iter().map(|row| row.json.len() + 1).sum::<usize>() + 2);
    body.extend_from_slice(head.as_bytes());
    for (index, row) in rows.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(row.json);
    }
    body.extend_from_slice(b"]}");
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_end_at_their_count_or_size_and_a_large_record_goes_alone() {
        let large = [b'x'; 101];
        let rows: Vec<Row<'_>> =
            (1..=5).map(|offset| Row { offset, json: if offset == 4 { &large[..] } else { &b"{}"[..] } }).collect();
        let sizes: Vec<usize> = cut(&rows, 2, 100).iter().map(|batch| batch.len()).collect();
        assert_eq!(sizes, [2, 1, 1, 1]);
    }
}
