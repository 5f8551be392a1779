//! The element log: contiguous offsets per element, atomic commits, one sync for everybody in a
//! group (DATA-PLANE rules 3, 5, 8). It is the lake's tail; what it no longer holds is in Delta.

mod body;
mod commit;
mod directory;
#[cfg(test)]
mod fuzzed;
mod reached;
mod side;
mod store;
#[cfg(test)]
mod tests;
mod topic;
mod types;

use std::path::Path;
use std::sync::Arc;

use headgate_types::{ChannelId, ElementId, FeedId, SharedClock};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use self::commit::{Change, Changed, Job, Prepared, Thread};
use self::reached::Reached;
pub(crate) use self::topic::Pending;
use self::topic::{Entry, KnownSchema, Memory, Topic};
pub use self::types::{Appended, Fenced, LogExtent, NewCommit, Position, SideEntry};
use crate::batch::{LakeBatch, with_positions};
use crate::committer::Committer;
use crate::config::LakeConfig;
use crate::durable::make_directory;
use crate::error::{LakeError, Result};
use crate::layout::ElementLayout;
use crate::poison::Poison;
use crate::reserve::Reserve;
use crate::sqlite::Readers;

/// Batches above this are encoded on the blocking pool.
const INLINE_ENCODE_BYTES: usize = 128 << 10;

/// Records per commit. It bounds what a lost commit can have held.
const MOST_RECORDS: u64 = 1 << 20;

/// The logs of all elements.
#[derive(Debug)]
pub struct Log {
    /// Commits that were durable once and are missing now.
    lost: u64,
    memory: Arc<Mutex<Memory>>,
    side: watch::Sender<u64>,
    readers: Readers,
    limit: u64,
    reserve: Reserve,
    committer: Committer<Job>,
}

impl Log {
    pub(crate) fn open(directory: &Path, config: &LakeConfig, clock: SharedClock, poison: Poison) -> Result<Self> {
        make_directory(directory)?;
        let database = directory.join("log.db");
        let connection = store::open(&database)?;
        let (memory, next_sequence) = load(&connection)?;
        let (reached, newest) = Reached::open(&directory.with_file_name("log.reached"))?;
        let lost = newest.saturating_sub(next_sequence - 1);
        let memory = Arc::new(Mutex::new(memory));
        let side = watch::Sender::new(store::newest_side(&connection)?);
        let (theirs, flag, side_sender) = (Arc::clone(&memory), poison.clone(), side.clone());
        let (group_bytes, recent_bytes) = (config.group_bytes, config.recent_bytes);
        let committer = Committer::start("element-log", poison, move |queue| {
            Thread {
                connection,
                queue,
                memory: theirs,
                side: side_sender,
                poison: flag,
                clock,
                group_bytes,
                recent_bytes,
                next_sequence,
                reached,
            }
            .run();
        })?;
        let reserve = Reserve::new(directory, config.reserve_bytes);
        Ok(Self { lost, memory, side, readers: Readers::new(&database), limit: config.log_bytes, reserve, committer })
    }

    /// Makes an element or a new schema version of it known; nothing happens when it is.
    pub(crate) async fn register(&self, layout: ElementLayout) -> Result<()> {
        if self.memory.lock().topics.get(&layout.element).is_some_and(|topic| topic.knows(&layout)) {
            return Ok(());
        }
        self.change(layout.element.uuid().as_u128(), Change::Register(Box::new(layout))).await.map(drop)
    }

    /// Appends a batch. When this returns, it survives a kill and, with honest fsync, power loss,
    /// and every reader can see it.
    ///
    /// # Errors
    /// [`LakeError::Conflict`] when the head is not the expected one, [`LakeError::Full`] when the
    /// writer to Delta is far behind, [`LakeError::InvalidBatch`], or the disk failed; then
    /// nothing of the commit is visible.
    pub async fn append(&self, commit: NewCommit) -> Result<Appended> {
        self.reserve.admit_commit()?;
        let element = commit.element;
        let schema = self.accept(&commit)?;
        let size = commit.batch.get_array_memory_size() + commit.side.iter().map(Vec::len).sum::<usize>();
        let prepare = move || -> Result<Prepared> {
            let body = if commit.batch.num_rows() > 0 { body::encode(&commit.batch)? } else { Vec::new() };
            let side = side::encode(&commit.side)?;
            let NewCommit { element, expected_head, batch, positions, .. } = commit;
            Ok(Prepared { element, expected_head, schema, batch, body, positions, side })
        };
        let prepared =
            if size > INLINE_ENCODE_BYTES { tokio::task::spawn_blocking(prepare).await?? } else { prepare()? };
        let cost = prepared.body.len() + prepared.side.as_ref().map_or(0, Vec::len) + 128;
        let (reply, answer) = oneshot::channel();
        self.committer.queue.push(element.uuid().as_u128(), cost, Job::Append { commit: Box::new(prepared), reply })?;
        answer.await.unwrap_or(Err(LakeError::Closed))
    }

    /// Checks what can be checked before the commit's turn.
    fn accept(&self, commit: &NewCommit) -> Result<Arc<KnownSchema>> {
        let memory = self.memory.lock();
        if memory.bytes > self.limit {
            return Err(LakeError::Full { what: "the element log", used: memory.bytes, limit: self.limit });
        }
        let topic = memory.topic(commit.element)?;
        if !topic.is_checked {
            return Err(LakeError::Unregistered(commit.element));
        }
        if topic.head > commit.expected_head {
            return Err(LakeError::Conflict { element: commit.element, head: topic.head });
        }
        let schema = topic
            .schema(commit.schema_id)
            .ok_or(LakeError::UnknownSchema { element: commit.element, schema: commit.schema_id })?;
        let (given, expected) = (commit.batch.schema_ref(), &schema.log);
        let fits =
            given.fields().len() == expected.fields().len()
                && given.fields().iter().zip(expected.fields()).all(|(given, expected)| {
                    given.name() == expected.name() && given.data_type() == expected.data_type()
                });
        if !fits {
            return Err(LakeError::InvalidBatch(format!("got {given}, expected {expected}")));
        }
        if commit.batch.num_rows() as u64 > MOST_RECORDS {
            return Err(LakeError::InvalidBatch(format!("more than {MOST_RECORDS} records in one commit")));
        }
        Ok(Arc::clone(schema))
    }

    /// Batches after offset `after`, oldest first and contiguous: at least one if there is any,
    /// about `max_bytes` of memory. The newest come from memory without a copy.
    ///
    /// # Errors
    /// [`LakeError::BelowLog`] when the log no longer goes back that far.
    pub async fn read(&self, element: ElementId, after: u64, max_bytes: usize) -> Result<Vec<Arc<LakeBatch>>> {
        let wanted = {
            let memory = self.memory.lock();
            let topic = memory.topic(element)?;
            if after >= topic.head {
                return Ok(Vec::new());
            }
            if let Some(recent) = topic.recent_after(after) {
                return Ok(take_bytes(recent.filter_map(|batch| batch.after(after)), max_bytes));
            }
            let mut entries = topic.entries_after(element, after)?.peekable();
            let mut wanted: Vec<(Entry, Arc<KnownSchema>)> = Vec::new();
            let mut next = entries.peek().map_or(0, |entry| entry.first);
            let mut bytes = 0;
            for entry in entries {
                // Bodies are compressed; what they take in memory is known after decoding.
                if entry.first != next || bytes > max_bytes {
                    break;
                }
                let schema = topic
                    .schema_row(entry.schema)
                    .ok_or_else(|| LakeError::Damaged(format!("a commit of {element} names an unknown schema")))?;
                next = entry.last + 1;
                bytes += entry.bytes as usize;
                wanted.push((entry, Arc::clone(schema)));
            }
            wanted
        };
        let read = move |connection: &rusqlite::Connection| {
            let mut batches = Vec::new();
            let mut bytes = 0;
            for (entry, schema) in wanted {
                // Truncated in between: what has been read so far stands, else look elsewhere.
                let Some(body) = store::body(connection, entry.sequence)? else { break };
                let batch = decode(element, &entry, &schema, &body)?;
                bytes += batch.memory();
                batches.extend(batch.after(after));
                if bytes > max_bytes {
                    break;
                }
            }
            Ok(batches)
        };
        let batches = self.readers.read(read).await?;
        if batches.is_empty() {
            return Err(LakeError::BelowLog { element, floor: self.extent(element)?.floor });
        }
        Ok(batches)
    }

    /// How far the element has consumed a source partition, durably.
    #[must_use]
    pub fn position(&self, element: ElementId, channel: ChannelId, feed: FeedId, partition: &str) -> Option<String> {
        let memory = self.memory.lock();
        let topic = memory.topics.get(&element)?;
        topic.positions.get(&(channel, feed, partition.to_owned())).map(|(_, value)| value.clone())
    }

    /// All positions of an element.
    #[must_use]
    pub fn positions(&self, element: ElementId) -> Vec<Position> {
        let memory = self.memory.lock();
        let Some(topic) = memory.topics.get(&element) else { return Vec::new() };
        let position = |((channel, feed, partition), (_, value)): (&topic::PositionKey, &(i64, String))| Position {
            channel: *channel,
            feed: *feed,
            partition: partition.clone(),
            value: value.clone(),
        };
        topic.positions.iter().map(position).collect()
    }

    /// Forgets the positions of a channel that is gone.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn forget_positions(&self, channel: ChannelId) -> Result<()> {
        self.change(channel.uuid().as_u128(), Change::ForgetPositions(channel)).await.map(drop)
    }

    /// Side items of commits after sequence `after`, oldest first: at least one commit's if there is any, at most
    /// `limit` commits', and no more than `max_bytes` of items beyond the first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn read_side(&self, after: u64, limit: usize, max_bytes: usize) -> Result<Vec<SideEntry>> {
        self.readers.read(move |connection| store::side(connection, after, limit, max_bytes)).await
    }

    /// Gives up side items up to and including commit `up_to`.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn free_side(&self, up_to: u64) -> Result<()> {
        self.change(0, Change::FreeSide { up_to }).await.map(drop)
    }

    /// The sequence of the newest commit with side items. It changes when one has become durable.
    #[must_use]
    pub fn watch_side(&self) -> watch::Receiver<u64> {
        self.side.subscribe()
    }

    /// The offset of the element's newest record; 0 when it has none or is unknown.
    #[must_use]
    pub fn head(&self, element: ElementId) -> u64 {
        self.memory.lock().topics.get(&element).map_or(0, |topic| topic.head)
    }

    /// What the log holds of an element.
    ///
    /// # Errors
    /// [`LakeError::UnknownElement`].
    pub fn extent(&self, element: ElementId) -> Result<LogExtent> {
        self.memory.lock().topic(element).map(Topic::extent)
    }

    /// The head as it moves. It changes when a commit has become durable.
    ///
    /// # Errors
    /// [`LakeError::UnknownElement`].
    pub fn watch(&self, element: ElementId) -> Result<watch::Receiver<u64>> {
        self.memory.lock().topic(element).map(|topic| topic.newest.subscribe())
    }

    /// Elements known to the log.
    #[must_use]
    pub fn elements(&self) -> Vec<ElementId> {
        self.memory.lock().topics.keys().copied().collect()
    }

    /// The element with its newest schema.
    ///
    /// # Errors
    /// [`LakeError::UnknownElement`].
    pub fn layout(&self, element: ElementId) -> Result<Arc<ElementLayout>> {
        let memory = self.memory.lock();
        let newest = memory.topic(element)?.schemas.last().map(|schema| Arc::clone(&schema.layout));
        newest.ok_or(LakeError::UnknownElement(element))
    }

    /// Bytes of all bodies.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.memory.lock().bytes
    }

    /// Removes commits that lie wholly below offset `below`, but never the newest one.
    pub(crate) async fn truncate(&self, element: ElementId, below: u64) -> Result<()> {
        self.change(element.uuid().as_u128(), Change::Truncate { element, below }).await.map(drop)
    }

    /// Makes sure that no offset up to `seen` is given out again. `Some` when the log was shorter.
    pub(crate) async fn raise(&self, element: ElementId, seen: u64) -> Result<Option<Fenced>> {
        if self.extent(element)?.head >= seen {
            return Ok(None);
        }
        match self.change(element.uuid().as_u128(), Change::Raise { element, seen }).await? {
            Changed::Fenced(fenced) => Ok(Some(fenced)),
            Changed::Done => Ok(None),
        }
    }

    /// The most records that an element can have lost since this log was last open: it was restored
    /// from an older copy, or its tail is gone.
    pub(crate) const fn lost_records(&self) -> u64 {
        self.lost.saturating_mul(MOST_RECORDS)
    }

    /// Every element has been raised above what it may have lost.
    pub(crate) async fn settle_loss(&self) -> Result<()> {
        self.change(0, Change::SettleLoss).await.map(drop)
    }

    /// Makes sure that no sequence up to `seen` is given out again while the log is open.
    pub(crate) async fn raise_sequence(&self, seen: u64) -> Result<()> {
        self.change(0, Change::RaiseSequence { seen }).await.map(drop)
    }

    pub(crate) async fn remove(&self, element: ElementId) -> Result<()> {
        self.change(element.uuid().as_u128(), Change::Remove(element)).await.map(drop)
    }

    /// Where the next record after `after` may be when offsets were skipped: the `after` of the
    /// record beyond the gap.
    pub(crate) fn beyond_gap(&self, element: ElementId, after: u64) -> Option<u64> {
        self.memory.lock().topics.get(&element)?.beyond_gap(after)
    }

    /// The epoch in which a reader stands that has read everything through `offset`; `None` when no
    /// reader of this log can stand there: it is beyond the head, or among offsets that were lost.
    #[must_use]
    pub fn standing(&self, element: ElementId, offset: u64) -> Option<u32> {
        self.memory.lock().topics.get(&element)?.standing(offset)
    }

    /// The epoch an offset belongs to.
    pub(crate) fn epoch_of(&self, element: ElementId, offset: u64) -> u32 {
        self.memory.lock().topics.get(&element).map_or(1, |topic| topic.epoch_of(offset))
    }

    /// Records up to `offset` are durable in the element's table.
    pub(crate) fn set_rolled(&self, element: ElementId, offset: u64) {
        if let Ok(topic) = self.memory.lock().topic_mut(element) {
            topic.rolled = topic.rolled.max(offset);
            topic.is_checked = true;
        }
    }

    /// What each element holds beyond its table.
    pub(crate) fn tails(&self) -> Vec<(ElementId, Pending)> {
        let memory = self.memory.lock();
        memory.topics.iter().filter_map(|(element, topic)| Some((*element, topic.pending()?))).collect()
    }

    async fn change(&self, key: u128, change: Change) -> Result<Changed> {
        let (reply, answer) = oneshot::channel();
        self.committer.queue.push(key, 4_096, Job::Change { change, reply })?;
        answer.await.unwrap_or(Err(LakeError::Closed))
    }
}

fn take_bytes(batches: impl Iterator<Item = Arc<LakeBatch>>, max_bytes: usize) -> Vec<Arc<LakeBatch>> {
    let mut taken = Vec::new();
    let mut bytes = 0;
    for batch in batches {
        bytes += batch.memory();
        if bytes > max_bytes && !taken.is_empty() {
            break;
        }
        taken.push(batch);
    }
    taken
}

fn decode(element: ElementId, entry: &Entry, schema: &KnownSchema, body: &[u8]) -> Result<Arc<LakeBatch>> {
    let batch = body::decode(body, &schema.log)?;
    if batch.num_rows() as u64 != entry.last - entry.first + 1 {
        return Err(LakeError::Damaged(format!(
            "commit {} of {element} has the wrong number of records",
            entry.sequence
        )));
    }
    Ok(Arc::new(LakeBatch {
        element,
        epoch: entry.epoch,
        first: entry.first,
        last: entry.last,
        schema_id: schema.layout.schema_id,
        committed_at: entry.committed_at,
        batch: with_positions(&batch, &schema.full, entry.first, entry.committed_at)?,
    }))
}

/// Rebuilds the memory from the directory rows; no body is read.
fn load(connection: &rusqlite::Connection) -> Result<(Memory, u64)> {
    let mut memory = Memory::default();
    memory.next_position = 1;
    let mut by_row = std::collections::HashMap::new();
    for row in store::topics(connection)? {
        by_row.insert(row.id, (row.element, row.floor));
        memory.topics.insert(row.element, Topic::new(row.id, row.kind, row.epoch, row.base));
    }
    for row in store::schemas(connection)? {
        let Some((element, _)) = by_row.get(&row.topic) else { continue };
        let topic = memory.topic_mut(*element)?;
        let layout =
            ElementLayout { element: *element, kind: topic.kind, schema_id: row.schema_id, schema: row.schema };
        topic.schemas.push(Arc::new(KnownSchema::new(row.id, layout)));
    }
    for (topic, after, first) in store::gaps(connection)? {
        let Some((element, _)) = by_row.get(&topic) else { continue };
        memory.topic_mut(*element)?.gaps.push((after, first));
    }
    for row in store::positions(connection)? {
        memory.next_position = memory.next_position.max(row.id + 1);
        let Some((element, _)) = by_row.get(&row.topic) else { continue };
        memory.set_position(*element, row.id, row.position);
    }
    let mut next_sequence = 1;
    for group in store::groups(connection)? {
        memory.newest_group = group.id;
        next_sequence = group.last_sequence + 1;
        for place in group.places {
            let Some((element, floor)) = by_row.get(&place.topic).copied() else { continue };
            if place.first < floor {
                continue;
            }
            let entry = Entry {
                first: place.first,
                last: place.first + u64::from(place.count) - 1,
                sequence: place.sequence,
                group: group.id,
                epoch: place.epoch,
                schema: place.schema,
                bytes: place.bytes,
                committed_at: group.committed_at,
            };
            memory.push(element, entry);
        }
        if !memory.groups.contains_key(&group.id) {
            memory.hollow.insert(group.id);
        }
    }
    for topic in memory.topics.values() {
        topic.newest.send_replace(topic.head);
    }
    Ok((memory, next_sequence))
}
