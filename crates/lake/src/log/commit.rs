//! The log's committer thread. Commits that arrive while one group is synced share the next sync;
//! what changes memory happens after the SQLite commit, so a failed group leaves every head where
//! it was (DATA-PLANE rule 36).

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};
use headgate_types::{ChannelId, ElementId, SharedClock};
use parking_lot::Mutex;
use rusqlite::{Connection, Transaction};
use tokio::sync::{oneshot, watch};

use super::directory::Place;
use super::reached::Reached;
use super::store;
use super::topic::{Entry, KnownSchema, Memory, Topic};
use super::types::{Appended, Fenced, Position};
use crate::batch::{LakeBatch, with_positions};
use crate::committer::Queue;
use crate::error::{LakeError, Result};
use crate::layout::{ElementLayout, extension_error};
use crate::poison::Poison;
use crate::sqlite;

/// A validated and encoded commit.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) element: ElementId,
    pub(super) expected_head: u64,
    pub(super) schema: Arc<KnownSchema>,
    pub(super) batch: RecordBatch,
    pub(super) body: Vec<u8>,
    pub(super) positions: Vec<Position>,
    pub(super) side: Option<Vec<u8>>,
}

/// Work for the committer thread.
#[derive(Debug)]
pub(super) enum Job {
    Append { commit: Box<Prepared>, reply: oneshot::Sender<Result<Appended>> },
    Change { change: Change, reply: oneshot::Sender<Result<Changed>> },
}

/// A change other than an append; each has a transaction of its own.
#[derive(Debug)]
pub(super) enum Change {
    Register(Box<ElementLayout>),
    Truncate { element: ElementId, below: u64 },
    Raise { element: ElementId, seen: u64 },
    RaiseSequence { seen: u64 },
    SettleLoss,
    Remove(ElementId),
    FreeSide { up_to: u64 },
    ForgetPositions(ChannelId),
}

/// What a change did.
#[derive(Debug)]
pub(super) enum Changed {
    Done,
    Fenced(Fenced),
}

pub(super) struct Thread {
    pub(super) connection: Connection,
    pub(super) queue: Arc<Queue<Job>>,
    pub(super) memory: Arc<Mutex<Memory>>,
    pub(super) side: watch::Sender<u64>,
    pub(super) poison: Poison,
    pub(super) clock: SharedClock,
    pub(super) group_bytes: usize,
    pub(super) recent_bytes: usize,
    pub(super) next_sequence: u64,
    pub(super) reached: Reached,
}

/// A commit written in the open transaction.
struct Written {
    commit: Box<Prepared>,
    appended: Appended,
    /// The rows of its positions.
    rows: Vec<i64>,
    reply: oneshot::Sender<Result<Appended>>,
}

/// Heads as the open transaction has moved them.
#[derive(Default)]
struct Staged {
    heads: HashMap<ElementId, u64>,
    new_positions: HashMap<(ElementId, super::topic::PositionKey), i64>,
    next_position: i64,
}

impl Thread {
    pub(super) fn run(mut self) {
        while let Some(group) = self.queue.take(self.group_bytes) {
            let mut appends = Vec::with_capacity(group.len());
            for job in group {
                match job {
                    Job::Append { commit, reply } => appends.push((commit, reply)),
                    Job::Change { change, reply } => {
                        self.append_group(std::mem::take(&mut appends));
                        let _ = reply.send(self.guarded(|thread| thread.change(change)));
                    }
                }
            }
            self.append_group(appends);
        }
    }

    fn guarded<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.poison.is_set() {
            return Err(LakeError::Poisoned);
        }
        let result = work(self);
        if let Err(LakeError::Sqlite(error)) = &result
            && sqlite::is_fatal(error)
        {
            self.poison.set();
        }
        result
    }

    fn append_group(&mut self, group: Vec<(Box<Prepared>, oneshot::Sender<Result<Appended>>)>) {
        if group.is_empty() {
            return;
        }
        metrics::histogram!("headgate_log_group_commits").record(group.len() as f64);
        let mut written = Vec::with_capacity(group.len());
        let mut rest = group.into_iter();
        let result = self.guarded(|thread| thread.write_group(&mut rest, &mut written));
        match result {
            Ok((group, now, next_sequence)) => {
                headgate_types::reach(headgate_types::Failpoint::CommitLogged);
                self.next_sequence = next_sequence;
                self.reached.note(next_sequence - 1);
                self.publish(group, now, written);
            }
            Err(error) => {
                tracing::error!(%error, "a log group was not written");
                let answer = || match &error {
                    LakeError::Sqlite(error) => sqlite::group_error(error),
                    LakeError::Poisoned => LakeError::Poisoned,
                    other => LakeError::NotWritten(other.to_string()),
                };
                written.into_iter().for_each(|one| drop(one.reply.send(Err(answer()))));
                rest.for_each(|(_, reply)| drop(reply.send(Err(answer()))));
            }
        }
    }

    fn write_group(
        &mut self,
        group: &mut std::vec::IntoIter<(Box<Prepared>, oneshot::Sender<Result<Appended>>)>,
        written: &mut Vec<Written>,
    ) -> Result<(i64, DateTime<Utc>, u64)> {
        let now = self.clock.now();
        let mut next_sequence = self.next_sequence;
        let mut places = Vec::with_capacity(group.len());
        let mut staged = Staged { next_position: self.memory.lock().next_position, ..Staged::default() };
        let tx = self.connection.transaction()?;
        for (commit, reply) in group.by_ref() {
            let sequence = next_sequence;
            let planned = plan(&self.memory.lock(), &commit, &mut staged, sequence, now);
            let (place, appended, positions) = match planned {
                Ok(planned) => planned,
                Err(refusal) => {
                    let _ = reply.send(Err(refusal));
                    continue;
                }
            };
            next_sequence += 1;
            let rows = positions.iter().map(|(row, _)| *row).collect();
            let result = write(&tx, &commit, place, appended, &positions);
            if place.count > 0 {
                places.push(place);
            }
            staged.heads.insert(commit.element, appended.last);
            written.push(Written { commit, appended, rows, reply });
            result?;
        }
        let group = store::insert_group(&tx, next_sequence - 1, now, &places)?;
        // Whoever asks the memory for a head is not to wait for the disk.
        let hollow = self.memory.lock().hollow.clone();
        for group in hollow {
            store::delete_group(&tx, group)?;
        }
        tx.commit()?;
        self.memory.lock().next_position = staged.next_position;
        Ok((group, now, next_sequence))
    }

    /// Shows a durable group: memory first, then the waiting readers, then the callers.
    fn publish(&mut self, group: i64, now: DateTime<Utc>, written: Vec<Written>) {
        let mut newest_side = 0;
        let mut replies = Vec::with_capacity(written.len());
        {
            let mut memory = self.memory.lock();
            memory.hollow.clear();
            memory.newest_group = group;
            for Written { commit, appended, rows, reply } in written {
                for (row, position) in rows.into_iter().zip(commit.positions) {
                    memory.set_position(commit.element, row, position);
                }
                if commit.side.is_some() {
                    newest_side = appended.sequence;
                }
                if appended.last >= appended.first {
                    memory.push(
                        commit.element,
                        Entry {
                            first: appended.first,
                            last: appended.last,
                            sequence: appended.sequence,
                            group,
                            epoch: appended.epoch,
                            schema: commit.schema.row,
                            bytes: commit.body.len() as u32,
                            committed_at: now,
                        },
                    );
                    match with_positions(&commit.batch, &commit.schema.full, appended.first, now) {
                        Ok(batch) => memory.remember(
                            Arc::new(LakeBatch {
                                element: commit.element,
                                epoch: appended.epoch,
                                first: appended.first,
                                last: appended.last,
                                schema_id: commit.schema.layout.schema_id,
                                committed_at: now,
                                batch,
                            }),
                            self.recent_bytes,
                        ),
                        // It is durable and readable; memory alone does not have it.
                        Err(error) => tracing::error!(%error, "failed to keep a commit in memory"),
                    }
                }
                replies.push((commit.element, appended, reply));
            }
            if !memory.groups.contains_key(&group) {
                memory.hollow.insert(group);
            }
            metrics::gauge!("headgate_log_bytes").set(memory.bytes as f64);
            for (element, appended, _) in &replies {
                if let Ok(topic) = memory.topic(*element)
                    && appended.last >= appended.first
                {
                    topic.newest.send_replace(topic.head);
                }
            }
            // Whoever sees the positions sees that there is something beside the records.
            if newest_side > 0 {
                self.side.send_replace(newest_side);
            }
        }
        replies.into_iter().for_each(|(_, appended, reply)| drop(reply.send(Ok(appended))));
    }

    fn change(&mut self, change: Change) -> Result<Changed> {
        let memory = Arc::clone(&self.memory);
        let tx = self.connection.transaction()?;
        match change {
            Change::Register(layout) => register(tx, &memory, *layout)?,
            Change::Truncate { element, below } => {
                truncate(tx, &memory, element, below)?;
                headgate_types::reach(headgate_types::Failpoint::LogTruncated);
                sqlite::shrink(&self.connection);
            }
            Change::Raise { element, seen } => {
                let (epoch, head, topic) = {
                    let memory = memory.lock();
                    let topic = memory.topic(element)?;
                    (topic.epoch + 1, topic.head, topic.id)
                };
                if head >= seen {
                    return Ok(Changed::Done);
                }
                store::raise(&tx, topic, epoch, head, seen)?;
                tx.commit()?;
                let mut memory = memory.lock();
                let topic = memory.topic_mut(element)?;
                topic.epoch = epoch;
                topic.gaps.push((head, seen + 1));
                topic.head = seen;
                topic.newest.send_replace(seen);
                return Ok(Changed::Fenced(Fenced { element, head, seen, epoch }));
            }
            Change::RaiseSequence { seen } => {
                drop(tx);
                self.next_sequence = self.next_sequence.max(seen + 1);
            }
            Change::SettleLoss => {
                drop(tx);
                self.reached.note(self.next_sequence - 1);
            }
            Change::Remove(element) => {
                let Some((topic, sequences)) = memory.lock().topics.get(&element).map(|topic| {
                    (topic.id, topic.entries.iter().map(|entry| (entry.sequence, entry.group)).collect::<Vec<_>>())
                }) else {
                    return Ok(Changed::Done);
                };
                for (sequence, _) in &sequences {
                    store::delete_commit(&tx, *sequence)?;
                }
                store::delete_topic(&tx, topic)?;
                tx.commit()?;
                let mut memory = memory.lock();
                memory.remove(element);
                sequences.iter().for_each(|(_, group)| release(&mut memory, *group));
                drop(memory);
                sqlite::shrink(&self.connection);
            }
            Change::FreeSide { up_to } => {
                store::delete_side(&tx, up_to)?;
                tx.commit()?;
            }
            Change::ForgetPositions(channel) => {
                store::delete_positions(&tx, channel)?;
                tx.commit()?;
                for topic in memory.lock().topics.values_mut() {
                    topic.positions.retain(|(owner, _, _), _| *owner != channel);
                }
            }
        }
        Ok(Changed::Done)
    }
}

/// Decides a commit's place, or why it has none.
#[expect(clippy::type_complexity, reason = "a private step of one function")]
fn plan(
    memory: &Memory,
    commit: &Prepared,
    staged: &mut Staged,
    sequence: u64,
    now: DateTime<Utc>,
) -> Result<(Place, Appended, Vec<(i64, bool)>)> {
    let element = commit.element;
    let topic = memory.topic(element)?;
    let head = staged.heads.get(&element).copied().unwrap_or(topic.head);
    if head != commit.expected_head {
        return Err(LakeError::Conflict { element, head });
    }
    let count = commit.batch.num_rows() as u32;
    let place = Place {
        topic: topic.id,
        sequence,
        first: head + 1,
        count,
        epoch: topic.epoch,
        schema: commit.schema.row,
        bytes: commit.body.len() as u32,
    };
    let appended =
        Appended { epoch: topic.epoch, first: head + 1, last: head + u64::from(count), sequence, committed_at: now };
    let positions = commit
        .positions
        .iter()
        .map(|position| {
            let key = (position.channel, position.feed, position.partition.clone());
            if let Some((row, _)) = topic.positions.get(&key) {
                return (*row, false);
            }
            if let Some(row) = staged.new_positions.get(&(element, key.clone())) {
                return (*row, false);
            }
            let row = staged.next_position;
            staged.next_position += 1;
            staged.new_positions.insert((element, key), row);
            (row, true)
        })
        .collect();
    Ok((place, appended, positions))
}

fn write(
    tx: &Transaction<'_>,
    commit: &Prepared,
    place: Place,
    appended: Appended,
    positions: &[(i64, bool)],
) -> rusqlite::Result<()> {
    if place.count > 0 {
        store::insert_commit(tx, appended.sequence, &commit.body)?;
    }
    for (position, (row, is_new)) in commit.positions.iter().zip(positions) {
        if *is_new {
            store::insert_position(tx, *row, place.topic, position)?;
        } else {
            store::update_position(tx, *row, &position.value)?;
        }
    }
    if let Some(side) = &commit.side {
        store::insert_side(tx, appended.sequence, place.topic, commit.element, appended.committed_at, side)?;
    }
    Ok(())
}

fn register(tx: Transaction<'_>, memory: &Mutex<Memory>, layout: ElementLayout) -> Result<()> {
    let topic = {
        let memory = memory.lock();
        match memory.topics.get(&layout.element) {
            Some(topic) if topic.knows(&layout) => return Ok(()),
            Some(topic) => {
                refuse_incompatible(topic, &layout)?;
                Some(topic.id)
            }
            None => None,
        }
    };
    let topic = match topic {
        Some(topic) => topic,
        None => store::insert_topic(&tx, layout.element, layout.kind)?,
    };
    let row = store::insert_schema(&tx, topic, layout.schema_id, &serde_json::to_string(&layout.schema)?)?;
    tx.commit()?;
    let mut memory = memory.lock();
    let entry = memory.topics.entry(layout.element).or_insert_with(|| Topic::new(topic, layout.kind, 1, 0));
    entry.schemas.push(Arc::new(KnownSchema::new(row, layout)));
    Ok(())
}

fn refuse_incompatible(topic: &Topic, layout: &ElementLayout) -> Result<()> {
    let refused = |reason| LakeError::IncompatibleSchema { element: layout.element, reason };
    if topic.kind != layout.kind {
        let (old, new) = (topic.kind.as_str(), layout.kind.as_str());
        return Err(refused(format!("it would change from {old} to {new}")));
    }
    if topic.schema(layout.schema_id).is_some_and(|known| known.layout.schema != layout.schema) {
        return Err(refused("the id of the schema stands for another one".to_owned()));
    }
    let current = topic.schemas.last().map(|known| &known.layout.schema);
    match current.and_then(|current| extension_error(current, &layout.schema)) {
        Some(reason) => Err(refused(reason)),
        None => Ok(()),
    }
}

/// Removes commits that lie wholly below `below`, but never the last one: it carries the head.
fn truncate(tx: Transaction<'_>, memory: &Mutex<Memory>, element: ElementId, below: u64) -> Result<()> {
    let (topic, gone, floor) = {
        let memory = memory.lock();
        let topic = memory.topic(element)?;
        let removable = topic.entries.len().saturating_sub(1);
        let gone: Vec<Entry> =
            topic.entries.iter().take(removable).take_while(|entry| entry.last < below).copied().collect();
        let floor = topic.entries.get(gone.len()).map_or(topic.head + 1, |entry| entry.first);
        (topic.id, gone, floor)
    };
    if gone.is_empty() {
        return Ok(());
    }
    for entry in &gone {
        store::delete_commit(&tx, entry.sequence)?;
    }
    store::set_floor(&tx, topic, floor)?;
    tx.commit()?;
    let mut memory = memory.lock();
    let freed: u64 = gone.iter().map(|entry| u64::from(entry.bytes)).sum();
    if let Ok(topic) = memory.topic_mut(element) {
        topic.entries.drain(..gone.len());
        topic.bytes -= freed;
    }
    memory.bytes -= freed;
    gone.iter().for_each(|entry| release(&mut memory, entry.group));
    metrics::gauge!("headgate_log_bytes").set(memory.bytes as f64);
    Ok(())
}

/// One commit of a group is gone; an empty group's directory row goes with the next append, which
/// keeps the newest row, and with it the next sequence, in place.
fn release(memory: &mut Memory, group: i64) {
    let Some(count) = memory.groups.get_mut(&group) else { return };
    *count -= 1;
    if *count == 0 {
        memory.groups.remove(&group);
        memory.hollow.insert(group);
    }
}
