//! What a T-shirt size allows.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The limits of one channel profile at one performance profile. Every limit bites: a number here
/// is enforced by the engine, not advertised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Sustained records per second; the burst is ten seconds' worth.
    pub records_per_second: u64,
    /// Sustained payload bytes per second; the burst is ten seconds' worth.
    pub bytes_per_second: u64,
    /// Requests or subscriptions open at once.
    pub connections: u32,
    /// Bytes the channel's own resource may keep; of a data-in channel, bytes that may wait to be conformed.
    pub retention_bytes: u64,
    /// Seconds a stream keeps a record; 0: until `retention_bytes` is reached.
    pub retention_seconds: u64,
    /// Bytes of memory the channel may occupy in flight.
    pub memory_bytes: u64,
    /// Largest payload accepted, in bytes after decompression.
    pub payload_bytes: u64,
}
