//! What goes into the log and what it answers.

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};
use headgate_types::{ChannelId, ElementId, FeedId, SchemaId};

/// How far an element has consumed one source partition of a feed. The value is the ingester's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The data-in channel.
    pub channel: ChannelId,
    /// The feed.
    pub feed: FeedId,
    /// The source's partition; empty where there is one only.
    pub partition: String,
    /// Where it is, for example payload and row.
    pub value: String,
}

/// A batch to be appended. Everything in it becomes durable together or not at all
/// (DATA-PLANE rule 3).
#[derive(Debug, Clone)]
pub struct NewCommit {
    /// The element.
    pub element: ElementId,
    /// The head the before-images were computed against; 0 for an empty log.
    pub expected_head: u64,
    /// The schema of the declared columns.
    pub schema_id: SchemaId,
    /// The records, with the columns of [`crate::log_schema`]. May be empty: positions move even
    /// when every row was refused.
    pub batch: RecordBatch,
    /// Input positions after this batch.
    pub positions: Vec<Position>,
    /// What leaves beside the records, such as dead letters; see [`crate::Log::read_side`].
    pub side: Vec<Vec<u8>>,
}

/// The answer to a commit that is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The epoch of the offsets.
    pub epoch: u32,
    /// The first record's offset.
    pub first: u64,
    /// The last record's offset; `first - 1` for an empty batch.
    pub last: u64,
    /// The commit's place over all elements: ascending, never used twice.
    pub sequence: u64,
    /// When it was committed: `_ingested_at` of its records.
    pub committed_at: DateTime<Utc>,
}

/// The side items of one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SideEntry {
    /// The commit's place over all elements.
    pub sequence: u64,
    /// The element of the commit.
    pub element: ElementId,
    /// When it was committed.
    pub committed_at: DateTime<Utc>,
    /// The items, in the order they were given.
    pub items: Vec<Vec<u8>>,
}

/// A log was found shorter than what had been read from it: records were lost with a disk or a
/// restored file. The element goes on above them, in a new epoch (DATA-PLANE rule 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fenced {
    /// The element.
    pub element: ElementId,
    /// The newest offset the log held.
    pub head: u64,
    /// The newest offset somebody had seen.
    pub seen: u64,
    /// The epoch in which it goes on, from `seen + 1`.
    pub epoch: u32,
}

/// What the log holds of one element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogExtent {
    /// The epoch new records get.
    pub epoch: u32,
    /// The first offset the log holds; `head + 1` when it holds none.
    pub floor: u64,
    /// The newest offset.
    pub head: u64,
    /// Bytes of the bodies.
    pub bytes: u64,
    /// When the newest record was committed.
    pub newest_at: Option<DateTime<Utc>>,
}
