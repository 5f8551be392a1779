//! What a source holds and nobody can take: it lands as a payload that says so, and becomes a dead letter like any
//! record that was refused, once, with everything that depends on that.

use std::io::{self, Read};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::conform::{Chunk, MAX_RAW_BYTES, Refusal, Refused, excerpt};

/// The content type of such a payload. No source can declare it: only types that are conformed are taken.
pub const REFUSED: &str = "application/vnd.headgate.refused+json";

/// Why something is not taken, in codes of the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It names no feed of the channel.
    FeedNotFound,
    /// It is larger than the channel's size takes.
    PayloadTooLarge,
    /// Nobody here reads its type.
    UnsupportedContentType,
    /// Nobody here unpacks its encoding.
    UnsupportedContentEncoding,
}

impl Why {
    const fn code(self) -> &'static str {
        match self {
            Self::FeedNotFound => "feed_not_found",
            Self::PayloadTooLarge => "payload_too_large",
            Self::UnsupportedContentType => "unsupported_content_type",
            Self::UnsupportedContentEncoding => "unsupported_content_encoding",
        }
    }
}

/// Something that is not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Untaken {
    /// Why.
    pub why: Why,
    /// For a person.
    pub reason: String,
    /// What it is: the record, or where it lies.
    pub raw: String,
}

impl Untaken {
    /// A record that is not taken.
    pub fn record(why: Why, reason: String, record: &[u8]) -> Self {
        Self { why, reason, raw: excerpt(record, MAX_RAW_BYTES) }
    }

    /// As it lands.
    pub fn bytes(&self) -> Bytes {
        // Nothing in it can fail to become JSON.
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

/// The dead letter that a landed refusal becomes.
///
/// # Errors
/// The bytes cannot be read.
pub fn chunk(mut body: impl Read) -> io::Result<Chunk> {
    let mut text = Vec::new();
    body.read_to_end(&mut text)?;
    let untaken: Untaken = serde_json::from_slice(&text).map_err(io::Error::other)?;
    let refusal = Refusal::new(untaken.why.code(), untaken.reason);
    let refused = Refused { ordinal: 0, refusal, raw: untaken.raw };
    Ok(Chunk { refused: vec![refused], finished: true, ..Chunk::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_taken_becomes_one_dead_letter_for_the_whole() {
        let untaken = Untaken::record(Why::FeedNotFound, "which?".to_owned(), b"{\"a\":\0\xff}");
        let chunk = chunk(untaken.bytes().as_ref()).unwrap();
        assert!(chunk.finished && chunk.rows.is_empty());
        let [refused] = &chunk.refused[..] else { panic!("one") };
        assert_eq!((refused.ordinal, refused.refusal.code), (0, "feed_not_found"));
        assert_eq!(refused.raw, "{\"a\":\u{fffd}\u{fffd}}");
        assert!(headgate_types::model::PayloadFormat::from_content_type(REFUSED).is_none(), "no source can send it");
    }
}
