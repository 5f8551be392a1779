//! What the log knows in memory: where each element's commits lie, its head, its newest batches.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use chrono::{DateTime, Utc};
use headgate_types::schema::ElementKind;
use headgate_types::{ChannelId, ElementId, FeedId, SchemaId};
use tokio::sync::watch;

use super::types::{LogExtent, Position};
use crate::batch::LakeBatch;
use crate::error::{LakeError, Result};
use crate::layout::ElementLayout;

/// One commit with records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) sequence: u64,
    pub(super) group: i64,
    pub(super) epoch: u32,
    /// Row id in `schemas`.
    pub(super) schema: i64,
    pub(super) bytes: u32,
    pub(super) committed_at: DateTime<Utc>,
}

/// A schema version with its Arrow forms.
#[derive(Debug)]
pub(super) struct KnownSchema {
    pub(super) row: i64,
    pub(super) layout: Arc<ElementLayout>,
    pub(super) log: SchemaRef,
    pub(super) full: SchemaRef,
}

impl KnownSchema {
    pub(super) fn new(row: i64, layout: ElementLayout) -> Self {
        let (log, full) = (layout.log_schema(), layout.arrow_schema());
        Self { row, layout: Arc::new(layout), log, full }
    }
}

pub(super) type PositionKey = (ChannelId, FeedId, String);

#[derive(Debug)]
pub(super) struct Topic {
    pub(super) id: i64,
    pub(super) kind: ElementKind,
    pub(super) epoch: u32,
    pub(super) head: u64,
    /// Versions in the order they were registered; the last one is current.
    pub(super) schemas: Vec<Arc<KnownSchema>>,
    /// Offsets `after < o < first` do not exist in the log.
    pub(super) gaps: Vec<(u64, u64)>,
    pub(super) entries: VecDeque<Entry>,
    pub(super) bytes: u64,
    recent: VecDeque<Arc<LakeBatch>>,
    pub(super) positions: HashMap<PositionKey, (i64, String)>,
    pub(super) newest: watch::Sender<u64>,
    /// Offsets up to here are known to be durable in the element's table.
    pub(super) rolled: u64,
    /// Whether the log has been held against the table since it was opened.
    pub(super) is_checked: bool,
}

/// What the log holds of an element beyond its table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pending {
    /// Bytes of the bodies.
    pub(crate) bytes: u64,
    /// When the oldest of them was committed.
    pub(crate) oldest_at: DateTime<Utc>,
}

impl Topic {
    pub(super) fn new(id: i64, kind: ElementKind, epoch: u32, head: u64) -> Self {
        Self {
            id,
            kind,
            epoch,
            head,
            schemas: Vec::new(),
            gaps: Vec::new(),
            entries: VecDeque::new(),
            bytes: 0,
            recent: VecDeque::new(),
            positions: HashMap::new(),
            newest: watch::Sender::new(head),
            rolled: 0,
            is_checked: false,
        }
    }

    pub(super) fn schema(&self, id: SchemaId) -> Option<&Arc<KnownSchema>> {
        self.schemas.iter().rev().find(|schema| schema.layout.schema_id == id)
    }

    /// Whether an element is registered just like this.
    pub(super) fn knows(&self, layout: &ElementLayout) -> bool {
        self.schema(layout.schema_id).is_some_and(|known| *known.layout == *layout)
    }

    pub(super) fn schema_row(&self, row: i64) -> Option<&Arc<KnownSchema>> {
        self.schemas.iter().find(|schema| schema.row == row)
    }

    pub(super) fn floor(&self) -> u64 {
        self.entries.front().map_or(self.head + 1, |entry| entry.first)
    }

    pub(super) fn extent(&self) -> LogExtent {
        LogExtent {
            epoch: self.epoch,
            floor: self.floor(),
            head: self.head,
            bytes: self.bytes,
            newest_at: self.entries.back().map(|entry| entry.committed_at),
        }
    }

    /// The end of the gap that `after + 1` lies in, as the `after` of the next record.
    pub(super) fn beyond_gap(&self, after: u64) -> Option<u64> {
        self.gaps
            .iter()
            .find(|(lost_after, first)| *lost_after <= after && after + 1 < *first)
            .map(|(_, first)| first - 1)
    }

    /// Each gap began a new epoch.
    pub(super) fn epoch_of(&self, offset: u64) -> u32 {
        1 + self.gaps.iter().filter(|(_, first)| *first <= offset).count() as u32
    }

    /// The epoch of the offset that follows `offset`, unless that is beyond the head or in a gap.
    pub(super) fn standing(&self, offset: u64) -> Option<u32> {
        let lost = |(after, first): &(u64, u64)| *after < offset && offset + 1 < *first;
        if offset > self.head || self.gaps.iter().any(lost) {
            return None;
        }
        Some(self.epoch_of(offset + 1))
    }

    pub(super) fn pending(&self) -> Option<Pending> {
        let start = self.entries.partition_point(|entry| entry.last <= self.rolled);
        let oldest_at = self.entries.get(start)?.committed_at;
        let bytes = self.entries.range(start..).map(|entry| u64::from(entry.bytes)).sum();
        Some(Pending { bytes, oldest_at })
    }

    /// Entries from the one that holds `after + 1`; an error when the log no longer holds it.
    pub(super) fn entries_after(&self, element: ElementId, after: u64) -> Result<impl Iterator<Item = Entry> + '_> {
        let start = self.entries.partition_point(|entry| entry.last <= after);
        match self.entries.get(start) {
            Some(entry) if entry.first <= after + 1 => Ok(self.entries.range(start..).copied()),
            _ => Err(LakeError::BelowLog { element, floor: self.floor() }),
        }
    }

    /// Recent batches from the one that holds `after + 1`, if memory goes back that far.
    pub(super) fn recent_after(&self, after: u64) -> Option<impl Iterator<Item = &Arc<LakeBatch>> + '_> {
        let start = self.recent.partition_point(|batch| batch.last <= after);
        let batch = self.recent.get(start)?;
        (batch.first <= after + 1).then(|| self.recent.range(start..))
    }
}

/// All topics, and what is counted over all of them.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) topics: HashMap<ElementId, Topic>,
    /// How many commits of each group are still there.
    pub(super) groups: HashMap<i64, u32>,
    pub(super) newest_group: i64,
    /// Groups without commits that were the newest when they became so.
    pub(super) hollow: BTreeSet<i64>,
    pub(super) bytes: u64,
    pub(super) next_position: i64,
    recent: VecDeque<(ElementId, usize)>,
    recent_bytes: usize,
}

impl Memory {
    pub(super) fn topic(&self, element: ElementId) -> Result<&Topic> {
        self.topics.get(&element).ok_or(LakeError::UnknownElement(element))
    }

    pub(super) fn topic_mut(&mut self, element: ElementId) -> Result<&mut Topic> {
        self.topics.get_mut(&element).ok_or(LakeError::UnknownElement(element))
    }

    /// Adds a durable commit.
    pub(super) fn push(&mut self, element: ElementId, entry: Entry) {
        let Some(topic) = self.topics.get_mut(&element) else { return };
        topic.head = topic.head.max(entry.last);
        topic.bytes += u64::from(entry.bytes);
        self.bytes += u64::from(entry.bytes);
        *self.groups.entry(entry.group).or_default() += 1;
        topic.entries.push_back(entry);
    }

    /// Keeps a durable commit's batch for readers that keep up, within `limit` bytes over all elements.
    pub(super) fn remember(&mut self, batch: Arc<LakeBatch>, limit: usize) {
        let (element, size) = (batch.element, batch.memory());
        let Some(topic) = self.topics.get_mut(&element) else { return };
        if topic.recent.back().is_some_and(|newest| newest.last + 1 != batch.first) {
            // After a gap the older ones would no longer be contiguous with it.
            self.recent.retain(|(owner, bytes)| {
                let keep = *owner != element;
                if !keep {
                    self.recent_bytes -= bytes;
                }
                keep
            });
            topic.recent.clear();
        }
        topic.recent.push_back(batch);
        self.recent.push_back((element, size));
        self.recent_bytes += size;
        while self.recent_bytes > limit {
            let Some((oldest, size)) = self.recent.pop_front() else { break };
            self.recent_bytes -= size;
            if let Some(topic) = self.topics.get_mut(&oldest) {
                topic.recent.pop_front();
            }
        }
    }

    pub(super) fn remove(&mut self, element: ElementId) {
        let Some(topic) = self.topics.remove(&element) else { return };
        self.bytes -= topic.bytes;
        self.recent.retain(|(owner, bytes)| {
            let keep = *owner != element;
            if !keep {
                self.recent_bytes -= bytes;
            }
            keep
        });
    }

    pub(super) fn set_position(&mut self, element: ElementId, row: i64, position: Position) {
        let Some(topic) = self.topics.get_mut(&element) else { return };
        let Position { channel, feed, partition, value } = position;
        topic.positions.insert((channel, feed, partition), (row, value));
    }
}
