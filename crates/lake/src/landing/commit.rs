//! The landing zone's committer thread: drains the queue, one sync for everybody in the group.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use headgate_types::{ChannelId, FeedId, SharedClock};
use parking_lot::Mutex;
use rusqlite::{Connection, Transaction};
use tokio::sync::oneshot;

use super::index::{Entry, Index};
use super::payload::{Checkpoint, Landed};
use super::store::{self, Row};
use crate::committer::Queue;
use crate::error::{LakeError, Result};
use crate::poison::Poison;
use crate::sqlite;

/// Work for the committer thread.
#[derive(Debug)]
pub(super) enum Job {
    Append { append: Append, reply: oneshot::Sender<Result<Vec<Landed>>> },
    Free { channel: ChannelId, feed: FeedId, up_to: u64, reply: oneshot::Sender<Result<u64>> },
    Remove { channel: ChannelId, reply: oneshot::Sender<Result<u64>> },
    Raise { seen: u64, reply: oneshot::Sender<Result<u64>> },
}

/// Payloads of one channel that land together or not at all.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) channel: ChannelId,
    pub(super) rows: Vec<Row>,
    /// Whether a key that comes again with other bytes is refused: keys that a source gives out itself mean one thing.
    pub(super) is_strict: bool,
    pub(super) checkpoint: Option<Checkpoint>,
}

impl Append {
    /// Writes what is new; the rows and what is answered, of earlier payloads too. What is refused has written nothing.
    #[expect(clippy::type_complexity, reason = "rows to show to readers, and answers")]
    fn write(
        self,
        tx: &Transaction<'_>,
        next: &mut u64,
        now: DateTime<Utc>,
    ) -> rusqlite::Result<Result<(Vec<(Row, Landed)>, Vec<Landed>)>> {
        if let Some(checkpoint) = &self.checkpoint {
            if store::checkpoint(tx, self.channel, &checkpoint.partition)? != checkpoint.before {
                return Ok(Err(LakeError::CheckpointMoved));
            }
            store::set_checkpoint(tx, self.channel, &checkpoint.partition, &checkpoint.value)?;
        }
        let (mut new, mut landed) = (Vec::with_capacity(self.rows.len()), Vec::with_capacity(self.rows.len()));
        for row in self.rows {
            let earlier = match &row.key {
                Some((key, _)) => store::earlier(tx, row.channel, row.feed, key)?,
                None => None,
            };
            if let Some(earlier) = earlier {
                let same = row.key.as_ref().is_some_and(|(_, digest)| digest[..] == earlier.digest[..]);
                if self.is_strict && !same {
                    return Ok(Err(LakeError::IdempotencyKeyReused));
                }
                landed.push(Landed {
                    receipt: earlier.receipt,
                    sequence: earlier.sequence,
                    bytes: earlier.bytes,
                    landed_at: earlier.landed_at,
                    duplicate: true,
                });
                continue;
            }
            let sequence = *next;
            *next += 1;
            store::insert(tx, sequence, &row, now)?;
            let this = Landed { receipt: row.receipt, sequence, bytes: row.bytes, landed_at: now, duplicate: false };
            landed.push(this.clone());
            new.push((row, this));
        }
        Ok(Ok((new, landed)))
    }
}

/// What a job will answer once its group is durable.
enum Outcome {
    Appended {
        new: Vec<(Row, Landed)>,
        landed: Vec<Landed>,
        reply: oneshot::Sender<Result<Vec<Landed>>>,
    },
    Refused {
        why: LakeError,
        reply: oneshot::Sender<Result<Vec<Landed>>>,
    },
    Removed {
        gone: Vec<(ChannelId, FeedId, u64, Entry)>,
        forget: Option<ChannelId>,
        reply: oneshot::Sender<Result<u64>>,
    },
}

fn entry(row: &Row) -> Entry {
    Entry { receipt: row.receipt, bytes: row.bytes, is_file: row.body.is_none() }
}

/// What is new of a channel among what has been written so far.
fn appended(outcomes: &[Outcome], channel: ChannelId) -> Vec<(FeedId, u64, Entry)> {
    let new = outcomes.iter().flat_map(|outcome| match outcome {
        Outcome::Appended { new, .. } => new.as_slice(),
        Outcome::Refused { .. } | Outcome::Removed { .. } => &[],
    });
    let of_channel = new.filter(|(row, _)| row.channel == channel);
    of_channel.map(|(row, landed)| (row.feed, landed.sequence, entry(row))).collect()
}

pub(super) struct Thread {
    pub(super) connection: Connection,
    pub(super) queue: Arc<Queue<Job>>,
    pub(super) index: Arc<Mutex<Index>>,
    pub(super) poison: Poison,
    pub(super) clock: SharedClock,
    pub(super) directory: PathBuf,
    pub(super) group_bytes: usize,
    pub(super) retention: Duration,
    pub(super) next: u64,
}

impl Thread {
    pub(super) fn run(mut self) {
        while let Some(group) = self.queue.take(self.group_bytes) {
            if self.poison.is_set() {
                group.into_iter().for_each(|job| job.fail(|| LakeError::Poisoned));
                continue;
            }
            metrics::histogram!("headgate_landing_group_jobs").record(group.len() as f64);
            self.commit(group);
        }
    }

    fn commit(&mut self, group: Vec<Job>) {
        let mut outcomes = Vec::with_capacity(group.len());
        let mut next = self.next;
        let mut rest = group.into_iter();
        match self.write(&mut rest, &mut outcomes, &mut next) {
            Ok(()) => {
                let is_new = |outcome: &Outcome| matches!(outcome, Outcome::Appended { new, .. } if !new.is_empty());
                if outcomes.iter().any(is_new) {
                    headgate_types::reach(headgate_types::Failpoint::PayloadLanded);
                }
                self.next = next;
                self.publish(outcomes);
            }
            Err(error) => {
                tracing::error!(%error, "a landing group was not written");
                if sqlite::is_fatal(&error) {
                    self.poison.set();
                }
                for outcome in outcomes {
                    match outcome {
                        Outcome::Appended { reply, .. } | Outcome::Refused { reply, .. } => {
                            let _ = reply.send(Err(sqlite::group_error(&error)));
                        }
                        Outcome::Removed { reply, .. } => {
                            let _ = reply.send(Err(sqlite::group_error(&error)));
                        }
                    }
                }
                rest.for_each(|job| job.fail(|| sqlite::group_error(&error)));
            }
        }
    }

    fn write(
        &mut self,
        group: &mut std::vec::IntoIter<Job>,
        outcomes: &mut Vec<Outcome>,
        next: &mut u64,
    ) -> rusqlite::Result<()> {
        let now = self.clock.now();
        let tx = self.connection.transaction()?;
        for job in group.by_ref() {
            match job {
                Job::Append { append, reply } => match append.write(&tx, next, now) {
                    Ok(Ok((new, landed))) => outcomes.push(Outcome::Appended { new, landed, reply }),
                    Ok(Err(why)) => outcomes.push(Outcome::Refused { why, reply }),
                    Err(error) => {
                        let _ = reply.send(Err(sqlite::group_error(&error)));
                        return Err(error);
                    }
                },
                Job::Free { channel, feed, up_to, reply } => {
                    let gone: Vec<_> = {
                        let index = self.index.lock();
                        let waiting = index.waiting(channel, feed, 0).take_while(|(sequence, _)| *sequence <= up_to);
                        waiting.map(|(sequence, entry)| (channel, feed, sequence, entry)).collect()
                    };
                    let deleted = gone.iter().try_for_each(|(_, _, sequence, _)| store::delete(&tx, *sequence));
                    outcomes.push(Outcome::Removed { gone, forget: None, reply });
                    deleted?;
                    store::prune_keys(&tx, now - self.retention)?;
                }
                Job::Raise { seen, reply } => {
                    *next = seen.saturating_add(1).max(*next);
                    outcomes.push(Outcome::Removed { gone: Vec::new(), forget: None, reply });
                }
                Job::Remove { channel, reply } => {
                    let known = self.index.lock().of_channel(channel);
                    // What the same group has appended before is in no index yet.
                    let gone: Vec<_> = known
                        .into_iter()
                        .chain(appended(outcomes, channel))
                        .map(|(feed, sequence, entry)| (channel, feed, sequence, entry))
                        .collect();
                    let deleted = gone.iter().try_for_each(|(_, _, sequence, _)| store::delete(&tx, *sequence));
                    outcomes.push(Outcome::Removed { gone, forget: Some(channel), reply });
                    deleted?;
                    store::delete_keys(&tx, channel)?;
                    store::delete_checkpoints(&tx, channel)?;
                }
            }
        }
        store::set_next_sequence(&tx, *next)?;
        tx.commit()
    }

    /// Everything here happens after the commit: what a reader can see is durable.
    fn publish(&mut self, outcomes: Vec<Outcome>) {
        let mut freed = false;
        for outcome in outcomes {
            match outcome {
                Outcome::Appended { new, landed, reply } => {
                    for (row, landed) in new {
                        self.index.lock().insert(row.channel, row.feed, landed.sequence, entry(&row));
                    }
                    let _ = reply.send(Ok(landed));
                }
                Outcome::Refused { why, reply } => {
                    let _ = reply.send(Err(why));
                }
                Outcome::Removed { gone, forget, reply } => {
                    if !gone.is_empty() {
                        freed = true;
                        headgate_types::reach(headgate_types::Failpoint::PayloadFreed);
                    }
                    for (channel, feed, sequence, entry) in &gone {
                        if entry.is_file {
                            remove_file(&super::spool::path(&self.directory, *channel, entry.receipt));
                        }
                        self.index.lock().remove(*channel, *feed, *sequence);
                    }
                    if let Some(channel) = forget {
                        self.index.lock().forget(channel);
                        super::spool::remove_channel(&self.directory, channel);
                    }
                    let _ = reply.send(Ok(gone.len() as u64));
                }
            }
        }
        metrics::gauge!("headgate_landing_bytes").set(self.index.lock().total() as f64);
        if freed {
            sqlite::shrink(&self.connection);
        }
    }
}

impl Job {
    fn fail(self, error: impl FnOnce() -> LakeError) {
        match self {
            Self::Append { reply, .. } => drop(reply.send(Err(error()))),
            Self::Free { reply, .. } | Self::Remove { reply, .. } | Self::Raise { reply, .. } => {
                drop(reply.send(Err(error())))
            }
        }
    }
}

fn remove_file(path: &std::path::Path) {
    // A file that stays behind is found and removed at the next start: it has no row.
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "failed to remove a freed payload");
    }
}
