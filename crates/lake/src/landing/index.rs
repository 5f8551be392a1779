//! What the landing zone knows in memory: which payloads wait, and how much room they take.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use headgate_types::{ChannelId, FeedId, ReceiptId, TenantId};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::payload::{LandingUsage, Share};
use crate::error::{LakeError, Result};

/// One waiting payload.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) receipt: ReceiptId,
    pub(super) bytes: u64,
    pub(super) is_file: bool,
}

/// What a waiting payload takes beside its bytes: a row, and what is in memory of it. Without it there would be no end to
/// empty ones.
const PAYLOAD_BYTES: u64 = 256;

/// What may wait, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budgets {
    /// Of one channel.
    pub(super) channel: u64,
    /// Of one tenant's channels together.
    pub(super) tenant: u64,
    /// Of all.
    pub(super) all: u64,
}

/// One of the things that a payload has to fit into.
struct Bound {
    what: &'static str,
    used: u64,
    limit: u64,
    /// Whether it is what its owner ordered, and no shortage of the platform's.
    is_ordered: bool,
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
    shares: HashMap<ChannelId, Share>,
    owned: HashMap<TenantId, HashSet<ChannelId>>,
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
        if let Some(share) = self.shares.remove(&channel)
            && let Some(owned) = self.owned.get_mut(&share.tenant)
        {
            owned.remove(&channel);
            if owned.is_empty() {
                self.owned.remove(&share.tenant);
            }
        }
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

    /// Says whose a channel is and what of it may wait.
    pub(super) fn allot(&mut self, channel: ChannelId, share: Share) {
        self.owned.entry(share.tenant).or_default().insert(channel);
        self.shares.insert(channel, share);
    }

    /// Bytes that a channel may still land.
    pub(super) fn room(&self, channel: ChannelId, budgets: Budgets) -> u64 {
        self.bounds(channel, budgets).map(|bound| bound.limit.saturating_sub(bound.used)).into_iter().min().unwrap_or(0)
    }

    fn check(&self, channel: ChannelId, budgets: Budgets, bytes: u64) -> Result<()> {
        for Bound { what, used, limit, is_ordered } in self.bounds(channel, budgets) {
            if used.saturating_add(bytes) > limit {
                return Err(match is_ordered {
                    true => LakeError::Backlog { what, used, limit },
                    false => LakeError::Full { what, used, limit },
                });
            }
        }
        Ok(())
    }

    /// Everything that a payload of the channel has to fit into.
    fn bounds(&self, channel: ChannelId, budgets: Budgets) -> [Bound; 4] {
        let used = self.held(channel);
        let share = self.shares.get(&channel);
        let owned = share.and_then(|share| self.owned.get(&share.tenant));
        let of_tenant = owned.map_or(0, |owned| owned.iter().map(|channel| self.held(*channel)).sum());
        let all = self.total + self.reserved_total + PAYLOAD_BYTES * self.receipts.len() as u64;
        let of = |what, used, limit, is_ordered| Bound { what, used, limit, is_ordered };
        [
            of("the channel's size", used, share.map_or(u64::MAX, |share| share.bytes), true),
            of("the tenant's part of the landing zone", of_tenant, share.map_or(u64::MAX, |_| budgets.tenant), true),
            of("the channel's landing zone", used, budgets.channel, false),
            of("the landing zone", all, budgets.all, false),
        ]
    }

    /// Bytes of a channel that wait or are on their way.
    fn held(&self, channel: ChannelId) -> u64 {
        let usage = self.usage(channel);
        usage.bytes + PAYLOAD_BYTES * usage.payloads + self.reserved.get(&channel).copied().unwrap_or(0)
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
    budgets: Budgets,
    bytes: u64,
}

impl Reservation {
    pub(super) fn new(index: &Arc<Mutex<Index>>, channel: ChannelId, budgets: Budgets) -> Self {
        Self { index: Arc::clone(index), channel, budgets, bytes: 0 }
    }

    /// Sets `bytes` more aside.
    pub(super) fn grow(&mut self, bytes: u64) -> Result<()> {
        let mut index = self.index.lock();
        index.check(self.channel, self.budgets, bytes)?;
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
