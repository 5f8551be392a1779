//! The landing zone's committer thread: drains the queue, one sync for everybody in the group.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use headgate_types::{ChannelId, FeedId, SharedClock};
use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::index::{Entry, Index};
use super::payload::Landed;
use super::store::{self, Row};
use crate::committer::Queue;
use crate::error::{LakeError, Result};
use crate::poison::Poison;
use crate::sqlite;

/// Work for the committer thread.
#[derive(Debug)]
pub(super) enum Job {
    Append { row: Row, reply: oneshot::Sender<Result<Landed>> },
    Free { channel: ChannelId, feed: FeedId, up_to: u64, reply: oneshot::Sender<Result<u64>> },
    Remove { channel: ChannelId, reply: oneshot::Sender<Result<u64>> },
    Raise { seen: u64, reply: oneshot::Sender<Result<u64>> },
}

/// What a job will answer once its group is durable.
enum Outcome {
    Appended {
        row: Row,
        landed: Landed,
        reply: oneshot::Sender<Result<Landed>>,
    },
    Answered {
        answer: Result<Landed>,
        reply: oneshot::Sender<Result<Landed>>,
    },
    Removed {
        gone: Vec<(ChannelId, FeedId, u64, Entry)>,
        forget: Option<ChannelId>,
        reply: oneshot::Sender<Result<u64>>,
    },
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
                if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Appended { .. })) {
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
                        Outcome::Appended { reply, .. } | Outcome::Answered { reply, .. } => {
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
                Job::Append { row, reply } => {
                    let earlier = match &row.key {
                        Some((key, _)) => store::earlier(&tx, row.channel, row.feed, key),
                        None => Ok(None),
                    };
                    let earlier = match earlier {
                        Ok(earlier) => earlier,
                        Err(error) => {
                            let _ = reply.send(Err(sqlite::group_error(&error)));
                            return Err(error);
                        }
                    };
                    if let Some(earlier) = earlier {
                        let same = row.key.as_ref().is_some_and(|(_, digest)| digest[..] == earlier.digest[..]);
                        let answer = if same {
                            Ok(Landed {
                                receipt: earlier.receipt,
                                sequence: earlier.sequence,
                                bytes: earlier.bytes,
                                landed_at: earlier.landed_at,
                                duplicate: true,
                            })
                        } else {
                            Err(LakeError::IdempotencyKeyReused)
                        };
                        outcomes.push(Outcome::Answered { answer, reply });
                        continue;
                    }
                    let sequence = *next;
                    *next += 1;
                    let landed =
                        Landed { receipt: row.receipt, sequence, bytes: row.bytes, landed_at: now, duplicate: false };
                    let inserted = store::insert(&tx, sequence, &row, now);
                    outcomes.push(Outcome::Appended { row, landed, reply });
                    inserted?;
                }
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
                    let gone: Vec<_> = self
                        .index
                        .lock()
                        .of_channel(channel)
                        .into_iter()
                        .map(|(feed, sequence, entry)| (channel, feed, sequence, entry))
                        .collect();
                    let deleted = gone.iter().try_for_each(|(_, _, sequence, _)| store::delete(&tx, *sequence));
                    outcomes.push(Outcome::Removed { gone, forget: Some(channel), reply });
                    deleted?;
                    store::delete_keys(&tx, channel)?;
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
                Outcome::Appended { row, landed, reply } => {
                    let entry = Entry { receipt: row.receipt, bytes: row.bytes, is_file: row.body.is_none() };
                    self.index.lock().insert(row.channel, row.feed, landed.sequence, entry);
                    let _ = reply.send(Ok(landed));
                }
                Outcome::Answered { answer, reply } => {
                    let _ = reply.send(answer);
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
            sqlite::give_back(&self.connection);
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
