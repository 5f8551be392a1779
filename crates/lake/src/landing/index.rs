//! What the landing zone knows in memory: which payloads wait, and how much room they take.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use headgate_types::{ChannelId, FeedId, ReceiptId};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::payload::LandingUsage;
use crate::error::{LakeError, Result};

/// One waiting payload.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) receipt: ReceiptId,
    pub(super) bytes: u64,
    pub(super) is_file: bool,
}

#[derive(Debug)]
struct Feed {
    entries: BTreeMap<u64, Entry>,
    newest: watch::Sender<u64>,
}

impl Default for Feed {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), newest: watch::Sender::new(0) }
    }
}

#[derive(Debug, Default)]
pub(super) struct Index {
    feeds: HashMap<(ChannelId, FeedId), Feed>,
    receipts: HashMap<ReceiptId, u64>,
    channels: HashMap<ChannelId, LandingUsage>,
    reserved: HashMap<ChannelId, u64>,
    /// Channels whose directory has a durable name, as far as this process knows.
    directories: HashSet<ChannelId>,
    total: u64,
    reserved_total: u64,
}

impl Index {
    pub(super) fn insert(&mut self, channel: ChannelId, feed: FeedId, sequence: u64, entry: Entry) {
        self.receipts.insert(entry.receipt, sequence);
        let usage = self.channels.entry(channel).or_default();
        usage.payloads += 1;
        usage.bytes += entry.bytes;
        self.total += entry.bytes;
        let feed = self.feeds.entry((channel, feed)).or_default();
        feed.entries.insert(sequence, entry);
        feed.newest.send_replace(sequence);
    }

    pub(super) fn remove(&mut self, channel: ChannelId, feed: FeedId, sequence: u64) {
        let Some(state) = self.feeds.get_mut(&(channel, feed)) else { return };
        let Some(entry) = state.entries.remove(&sequence) else { return };
        self.receipts.remove(&entry.receipt);
        self.total = self.total.saturating_sub(entry.bytes);
        if let Some(usage) = self.channels.get_mut(&channel) {
            usage.payloads -= 1;
            usage.bytes = usage.bytes.saturating_sub(entry.bytes);
        }
    }

    /// Forgets a channel whose payloads have all been removed.
    pub(super) fn forget(&mut self, channel: ChannelId) {
        self.feeds.retain(|(owner, _), _| *owner != channel);
        self.channels.remove(&channel);
        self.directories.remove(&channel);
    }

    /// Whether a file in the channel's directory can be found again after a power cut.
    pub(super) fn has_directory(&self, channel: ChannelId) -> bool {
        self.directories.contains(&channel)
    }

    pub(super) fn made_directory(&mut self, channel: ChannelId) {
        self.directories.insert(channel);
    }

    /// Waiting payloads of a feed after `after`, oldest first.
    pub(super) fn waiting(
        &self,
        channel: ChannelId,
        feed: FeedId,
        after: u64,
    ) -> impl Iterator<Item = (u64, Entry)> + '_ {
        self.feeds
            .get(&(channel, feed))
            .into_iter()
            .flat_map(move |state| state.entries.range(after + 1..).map(|(sequence, entry)| (*sequence, *entry)))
    }

    /// Waiting payloads of a channel, all feeds.
    pub(super) fn of_channel(&self, channel: ChannelId) -> Vec<(FeedId, u64, Entry)> {
        let of_feed = |((owner, feed), state): (&(ChannelId, FeedId), &Feed)| {
            let entries: Vec<_> = if *owner == channel {
                state.entries.iter().map(|(sequence, entry)| (*feed, *sequence, *entry)).collect()
            } else {
                Vec::new()
            };
            entries
        };
        self.feeds.iter().flat_map(of_feed).collect()
    }

    pub(super) fn sequence(&self, receipt: ReceiptId) -> Option<u64> {
        self.receipts.get(&receipt).copied()
    }

    pub(super) fn usage(&self, channel: ChannelId) -> LandingUsage {
        self.channels.get(&channel).copied().unwrap_or_default()
    }

    /// Bytes that a channel may still land.
    pub(super) fn room(&self, channel: ChannelId, channel_limit: u64, limit: u64) -> u64 {
        let used = self.usage(channel).bytes + self.reserved.get(&channel).copied().unwrap_or(0);
        channel_limit.saturating_sub(used).min(limit.saturating_sub(self.total + self.reserved_total))
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn watch(&mut self, channel: ChannelId, feed: FeedId) -> watch::Receiver<u64> {
        self.feeds.entry((channel, feed)).or_default().newest.subscribe()
    }

    /// Feeds with waiting payloads.
    pub(super) fn feeds(&self) -> Vec<(ChannelId, FeedId)> {
        self.feeds.iter().filter(|(_, state)| !state.entries.is_empty()).map(|(key, _)| *key).collect()
    }
}

/// Room set aside for a payload that is on its way; given back when dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    index: Arc<Mutex<Index>>,
    channel: ChannelId,
    channel_limit: u64,
    limit: u64,
    bytes: u64,
}

impl Reservation {
    pub(super) fn new(index: &Arc<Mutex<Index>>, channel: ChannelId, channel_limit: u64, limit: u64) -> Self {
        Self { index: Arc::clone(index), channel, channel_limit, limit, bytes: 0 }
    }

    /// Sets `bytes` more aside.
    pub(super) fn grow(&mut self, bytes: u64) -> Result<()> {
        let mut index = self.index.lock();
        let used = index.usage(self.channel).bytes + index.reserved.get(&self.channel).copied().unwrap_or(0);
        if used + bytes > self.channel_limit {
            return Err(LakeError::Full { what: "the channel's landing zone", used, limit: self.channel_limit });
        }
        let used = index.total + index.reserved_total;
        if used + bytes > self.limit {
            return Err(LakeError::Full { what: "the landing zone", used, limit: self.limit });
        }
        *index.reserved.entry(self.channel).or_default() += bytes;
        index.reserved_total += bytes;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut index = self.index.lock();
        index.reserved_total = index.reserved_total.saturating_sub(self.bytes);
        if let Some(reserved) = index.reserved.get_mut(&self.channel) {
            *reserved = reserved.saturating_sub(self.bytes);
            if *reserved == 0 {
                index.reserved.remove(&self.channel);
            }
        }
    }
}
