//! What goes into a landing zone and what comes out.

use std::path::PathBuf;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use headgate_types::{ChannelId, FeedId, ReceiptId, TenantId};

/// Payloads up to this size are kept in the database, larger ones in a file each.
pub(crate) const INLINE_BYTES: usize = 1 << 20;

/// The bytes of a payload, as they arrive.
pub enum Body {
    /// All of them.
    Bytes(Bytes),
    /// Chunk by chunk. An error means that the source broke off: nothing is kept.
    Stream(BoxStream<'static, std::io::Result<Bytes>>),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

/// A payload to be landed.
#[derive(Debug)]
pub struct NewPayload {
    /// The data-in channel.
    pub channel: ChannelId,
    /// The feed within it.
    pub feed: FeedId,
    /// The source's key. A second payload under it is a duplicate when its bytes are the same and
    /// an error when they are not.
    pub idempotency_key: Option<String>,
    /// The media type the source declared.
    pub content_type: String,
    /// The content encoding the source declared; the bytes are kept encoded.
    pub encoding: Option<String>,
    /// The most bytes to accept.
    pub max_bytes: u64,
    /// The payload.
    pub body: Body,
}

/// The answer to a payload that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landed {
    /// Its id. A duplicate gets the first one's.
    pub receipt: ReceiptId,
    /// Its place in the landing zone: ascending over all feeds, never used twice.
    pub sequence: u64,
    /// Its size as it arrived.
    pub bytes: u64,
    /// When it was landed.
    pub landed_at: DateTime<Utc>,
    /// Whether it had been landed before under the same idempotency key.
    pub duplicate: bool,
}

/// How far a source has been read, kept with what was landed of it: the two become durable together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The part of the source.
    pub partition: String,
    /// What was known before; when it is something else by now, nothing is landed.
    pub before: Option<String>,
    /// What is known then.
    pub value: String,
}

/// A landed payload.
#[derive(Debug, Clone)]
pub struct Payload {
    /// Its id.
    pub receipt: ReceiptId,
    /// Its place in the landing zone.
    pub sequence: u64,
    /// The data-in channel.
    pub channel: ChannelId,
    /// The feed within it.
    pub feed: FeedId,
    /// The media type the source declared.
    pub content_type: String,
    /// The content encoding the source declared.
    pub encoding: Option<String>,
    /// When it was landed.
    pub landed_at: DateTime<Utc>,
    /// Its size as it arrived.
    pub bytes: u64,
    /// The bytes, or where they are.
    pub body: StoredBody,
}

/// Where the bytes of a payload are.
#[derive(Debug, Clone)]
pub enum StoredBody {
    /// Here.
    Inline(Bytes),
    /// In a file that stays until the payload is freed.
    File(PathBuf),
}

impl StoredBody {
    /// A reader over the bytes; it blocks.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(&self) -> std::io::Result<Box<dyn std::io::Read + Send>> {
        Ok(match self {
            Self::Inline(bytes) => Box::new(std::io::Cursor::new(bytes.clone())),
            Self::File(path) => Box::new(std::fs::File::open(path)?),
        })
    }
}

/// What a landing zone holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LandingUsage {
    /// Payloads not yet freed.
    pub payloads: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Whose a channel is, and what of it may wait: its own budget, and a part in its tenant's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The owner.
    pub tenant: TenantId,
    /// Bytes of the channel that may wait.
    pub bytes: u64,
}
