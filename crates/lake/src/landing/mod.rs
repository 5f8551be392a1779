//! The landing zone: payloads are durable here before anything looks at them (DATA-PLANE rule 9).

mod commit;
mod index;
mod payload;
mod spool;
mod store;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use headgate_types::{ChannelId, FeedId, ReceiptId, SharedClock};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::{oneshot, watch};

use self::commit::{Append, Job, Thread};
use self::index::{Budgets, Index, Reservation};
use self::payload::INLINE_BYTES;
pub use self::payload::{Body, Checkpoint, Landed, LandingUsage, NewPayload, Payload, Share, StoredBody};
use self::spool::Spool;
use self::store::Row;
use crate::committer::Committer;
use crate::config::LakeConfig;
use crate::durable::make_directory;
use crate::error::{LakeError, Result};
use crate::poison::Poison;
use crate::reserve::Reserve;
use crate::sqlite::Readers;

/// The most payloads read at once: an empty one has no bytes to be counted by.
const READ_PAYLOADS: usize = 8_192;

/// Landed payloads of all data-in channels.
#[derive(Debug)]
pub struct Landing {
    directory: PathBuf,
    index: Arc<Mutex<Index>>,
    poison: Poison,
    readers: Readers,
    budgets: Budgets,
    reserve: Reserve,
    committer: Committer<Job>,
}

impl Landing {
    pub(crate) fn open(directory: &Path, config: &LakeConfig, clock: SharedClock, poison: Poison) -> Result<Self> {
        make_directory(directory)?;
        let database = directory.join("landing.db");
        let connection = store::open(&database)?;
        let mut index = Index::default();
        let mut files = std::collections::HashSet::new();
        for (channel, feed, sequence, entry) in store::entries(&connection)? {
            if entry.is_file {
                files.insert(spool::path(directory, channel, entry.receipt));
            }
            index.insert(channel, feed, sequence, entry);
        }
        let orphans = spool::remove_orphans(directory, &files)?;
        if orphans > 0 {
            tracing::info!(orphans, "removed payload files that were never acknowledged");
        }
        let next = store::next_sequence(&connection)?;
        let index = Arc::new(Mutex::new(index));
        let (theirs, flag, root) = (Arc::clone(&index), poison.clone(), directory.to_owned());
        let (group_bytes, retention) = (config.group_bytes, config.idempotency_retention);
        let committer = Committer::start("landing", poison.clone(), move |queue| {
            Thread {
                connection,
                queue,
                index: theirs,
                poison: flag,
                clock,
                directory: root,
                group_bytes,
                retention,
                next,
            }
            .run();
        })?;
        Ok(Self {
            directory: directory.to_owned(),
            index,
            poison,
            readers: Readers::new(&database),
            budgets: Budgets {
                channel: config.landing_channel_bytes,
                tenant: config.landing_tenant_bytes,
                all: config.landing_bytes,
            },
            reserve: Reserve::new(directory, config.reserve_bytes),
            committer,
        })
    }

    /// Lands a payload. When this returns, it survives a kill and, with honest fsync, power loss.
    ///
    /// # Errors
    /// [`LakeError::TooLarge`], [`LakeError::Backlog`], [`LakeError::Full`], [`LakeError::IdempotencyKeyReused`],
    /// [`LakeError::Interrupted`], or the disk failed; then nothing of it is visible.
    pub async fn append(&self, payload: NewPayload) -> Result<Landed> {
        let channel = payload.channel;
        let landed = self.poison.judge(self.land(channel, vec![payload], true, None).await)?;
        landed.into_iter().next().ok_or(LakeError::Closed)
    }

    /// Lands payloads of one channel in their order, all or none, and a checkpoint with them. Their keys are names
    /// that the source gave: what comes again under one is a duplicate, whatever its bytes.
    ///
    /// # Errors
    /// As for [`Landing::append`], and [`LakeError::CheckpointMoved`]; then nothing of any is visible.
    pub async fn append_all(
        &self,
        channel: ChannelId,
        payloads: Vec<NewPayload>,
        checkpoint: Option<Checkpoint>,
    ) -> Result<Vec<Landed>> {
        self.poison.judge(self.land(channel, payloads, false, checkpoint).await)
    }

    /// Says whose a channel is and what of it may wait; before, only what holds for all of them bounds it.
    pub fn allot(&self, channel: ChannelId, share: Share) {
        self.index.lock().allot(channel, share);
    }

    /// How far the partitions of a channel's source have been landed.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn checkpoints(&self, channel: ChannelId) -> Result<Vec<(String, String)>> {
        self.readers.read(move |connection| store::checkpoints(connection, channel)).await
    }

    /// Bytes that a channel may land now; 0 while the disk has no more than its reserve.
    #[must_use]
    pub fn room(&self, channel: ChannelId) -> u64 {
        match self.reserve.admit_payload() {
            Ok(()) => self.index.lock().room(channel, self.budgets),
            Err(_) => 0,
        }
    }

    async fn land(
        &self,
        channel: ChannelId,
        payloads: Vec<NewPayload>,
        is_strict: bool,
        checkpoint: Option<Checkpoint>,
    ) -> Result<Vec<Landed>> {
        self.reserve.admit_payload()?;
        let mut reservation = Reservation::new(&self.index, channel, self.budgets);
        let (mut rows, mut spools, mut cost) = (Vec::with_capacity(payloads.len()), Vec::new(), 0);
        for payload in payloads {
            let receipt = ReceiptId::new();
            let mut digest = payload.idempotency_key.as_ref().map(|_| Sha256::new());
            let (max_bytes, body) = (payload.max_bytes, payload.body);
            let (body, mut spool, bytes) =
                self.receive((channel, receipt), max_bytes, body, &mut reservation, &mut digest).await?;
            if let Some(spool) = &mut spool {
                spool.sync().await?;
                headgate_types::reach(headgate_types::Failpoint::PayloadFileSynced);
            }
            cost += body.as_ref().map_or(0, Bytes::len) + 256;
            spools.push(spool);
            rows.push(Row {
                channel,
                feed: payload.feed,
                receipt,
                key: payload.idempotency_key.zip(digest.map(|digest| digest.finalize().into())),
                content_type: payload.content_type,
                encoding: payload.encoding,
                bytes,
                body,
            });
        }
        let (reply, answer) = oneshot::channel();
        let append = Append { channel, rows, is_strict, checkpoint };
        self.committer.queue.push(channel.uuid().as_u128(), cost.max(256), Job::Append { append, reply })?;
        // From here on the rows may become durable even if this caller goes away, so their files must
        // outlive it: a file without a row is removed at the next start, a row needs its file.
        let mut spools: Vec<Unsettled> = spools.into_iter().map(Unsettled).collect();
        let landed = answer.await.unwrap_or(Err(LakeError::Closed));
        for (index, spool) in spools.iter_mut().enumerate() {
            spool.settle(landed.as_ref().map(|landed| &landed[index]));
        }
        landed
    }

    async fn receive(
        &self,
        (channel, receipt): (ChannelId, ReceiptId),
        max_bytes: u64,
        body: Body,
        reservation: &mut Reservation,
        digest: &mut Option<Sha256>,
    ) -> Result<(Option<Bytes>, Option<Spool>, u64)> {
        let mut chunks = match body {
            Body::Bytes(bytes) => futures::stream::iter([Ok(bytes)]).boxed(),
            Body::Stream(chunks) => chunks,
        };
        let mut held: Vec<Bytes> = Vec::new();
        let mut spool: Option<Spool> = None;
        let mut total: u64 = 0;
        // An empty one takes room too.
        reservation.grow(0)?;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| LakeError::Interrupted(error.to_string()))?;
            total += chunk.len() as u64;
            if total > max_bytes {
                return Err(LakeError::TooLarge { limit: max_bytes });
            }
            reservation.grow(chunk.len() as u64)?;
            if let Some(digest) = digest {
                digest.update(&chunk);
            }
            if let Some(spool) = &mut spool {
                spool.write(&chunk).await?;
                continue;
            }
            held.push(chunk);
            if total > INLINE_BYTES as u64 {
                if !self.index.lock().has_directory(channel) {
                    spool::make_channel(&self.directory, channel).await?;
                    self.index.lock().made_directory(channel);
                }
                let mut file = Spool::create(&self.directory, channel, receipt).await?;
                for chunk in held.drain(..) {
                    file.write(&chunk).await?;
                }
                spool = Some(file);
            }
        }
        let body = if spool.is_some() { None } else { Some(join(held)) };
        Ok((body, spool, total))
    }

    /// Payloads of a feed after sequence `after`, oldest first: at least one if there is any, and
    /// no more than `max_bytes` beyond the first, nor than some thousand. Large payloads come as files and count little.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn read(&self, channel: ChannelId, feed: FeedId, after: u64, max_bytes: u64) -> Result<Vec<Payload>> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        for (sequence, entry) in self.index.lock().waiting(channel, feed, after) {
            bytes += if entry.is_file { 1_024 } else { entry.bytes };
            if (bytes > max_bytes && !taken.is_empty()) || taken.len() == READ_PAYLOADS {
                break;
            }
            taken.push(sequence);
        }
        if taken.is_empty() {
            return Ok(Vec::new());
        }
        let directory = self.directory.clone();
        let read = move |connection: &rusqlite::Connection| {
            let mut payloads = Vec::with_capacity(taken.len());
            for sequence in taken {
                // A payload freed in between is no longer anybody's to read.
                payloads.extend(store::read(connection, sequence, |channel, receipt| {
                    spool::path(&directory, channel, receipt)
                })?);
            }
            Ok(payloads)
        };
        self.readers.read(read).await
    }

    /// A payload by its receipt, while it has not been freed.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn get(&self, receipt: ReceiptId) -> Result<Option<Payload>> {
        let Some(sequence) = self.index.lock().sequence(receipt) else { return Ok(None) };
        let directory = self.directory.clone();
        let file = move |channel, receipt| spool::path(&directory, channel, receipt);
        self.readers.read(move |connection| store::read(connection, sequence, file)).await
    }

    /// Gives up the payloads of a feed up to and including `up_to`; returns how many.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn free(&self, channel: ChannelId, feed: FeedId, up_to: u64) -> Result<u64> {
        let (reply, answer) = oneshot::channel();
        self.committer.queue.push(channel.uuid().as_u128(), 1_024, Job::Free { channel, feed, up_to, reply })?;
        answer.await.map_err(|_| LakeError::Closed)?
    }

    /// Makes sure that no place up to `seen` is given out again.
    pub(crate) async fn raise(&self, seen: u64) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.committer.queue.push(0, 256, Job::Raise { seen, reply })?;
        answer.await.map_err(|_| LakeError::Closed)?.map(drop)
    }

    /// Removes everything of a channel, idempotency keys and files included; returns how many payloads.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn remove(&self, channel: ChannelId) -> Result<u64> {
        let (reply, answer) = oneshot::channel();
        self.committer.queue.push(channel.uuid().as_u128(), 1_024, Job::Remove { channel, reply })?;
        answer.await.map_err(|_| LakeError::Closed)?
    }

    /// What a channel's landing zone holds.
    #[must_use]
    pub fn usage(&self, channel: ChannelId) -> LandingUsage {
        self.index.lock().usage(channel)
    }

    /// The newest sequence of a feed, 0 when nothing has been landed since the start and nothing
    /// waits. It changes when a payload has become durable.
    #[must_use]
    pub fn watch(&self, channel: ChannelId, feed: FeedId) -> watch::Receiver<u64> {
        self.index.lock().watch(channel, feed)
    }

    /// Feeds with waiting payloads.
    #[must_use]
    pub fn feeds(&self) -> Vec<(ChannelId, FeedId)> {
        self.index.lock().feeds()
    }
}

/// A spooled file while its row is with the committer: it stays unless the row is known not to exist.
struct Unsettled(Option<Spool>);

impl Unsettled {
    fn settle(&mut self, landed: std::result::Result<&Landed, &LakeError>) {
        let has_no_row = match landed {
            Ok(landed) => landed.duplicate,
            Err(error) => matches!(
                error,
                LakeError::IdempotencyKeyReused
                    | LakeError::CheckpointMoved
                    | LakeError::NotWritten(_)
                    | LakeError::NoRoom
            ),
        };
        if has_no_row {
            self.0 = None;
        }
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        if let Some(spool) = self.0.take() {
            spool.keep();
        }
    }
}

fn join(mut chunks: Vec<Bytes>) -> Bytes {
    match chunks.len() {
        0 => Bytes::new(),
        1 => chunks.swap_remove(0),
        _ => {
            let mut joined = BytesMut::with_capacity(chunks.iter().map(Bytes::len).sum());
            chunks.iter().for_each(|chunk| joined.extend_from_slice(chunk));
            joined.freeze()
        }
    }
}
