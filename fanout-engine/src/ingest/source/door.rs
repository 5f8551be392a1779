//! The way into a channel for what a source holds: the same feeds, limits and budgets as for payloads that are posted,
//! but what does not fit now stays where it is, or in hand, until it does.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headgate_lake::{Body, Checkpoint, LakeError, Landed, NewPayload};
use headgate_types::FeedId;
use headgate_types::model::PayloadFormat;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Reach;
use super::refused::{REFUSED, Untaken, Why};
use crate::ingest::Ingest;
use crate::ingest::channel::{OpenChannel, OpenFeed};
use crate::tenant_quotas::Flow;

/// The longest wait before room, rate and quota are looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// A channel that is open for its source.
pub struct Door {
    pub ingest: Arc<Ingest>,
    pub channel: Arc<OpenChannel>,
    pub stop: CancellationToken,
}

/// Something of a source as it lands.
#[derive(Debug, Clone)]
pub struct Piece {
    pub feed: FeedId,
    /// Its name at the source; none where a checkpoint says what was landed.
    pub key: Option<String>,
    pub content_type: String,
    pub encoding: Option<String>,
    pub bytes: Bytes,
}

/// Why something has not landed.
#[derive(Debug)]
pub enum Held {
    /// The channel stops.
    Stopped,
    /// Another reader has landed it.
    Overtaken,
}

impl Door {
    /// Waits until this many bytes may come in: by the channel's rate, the tenant's quota and the landing zone. False
    /// when the channel stops before.
    pub async fn open_for(&self, bytes: u64) -> bool {
        let channel = &self.channel;
        while !self.stop.is_cancelled() {
            let quota = self.ingest.quotas.held(channel.tenant, Flow::Ingest, self.ingest.parts.clock.now());
            let rate = channel.allowance.landing.lock().wait(Instant::now());
            let room = self.ingest.parts.lake.landing().room(channel.id);
            if quota.is_none() && rate.is_zero() && room >= bytes {
                return true;
            }
            let wait = if quota.is_some() || room < bytes { LOOK_AGAIN } else { rate.min(LOOK_AGAIN) };
            let _ = self.stop.run_until_cancelled(tokio::time::sleep(wait)).await;
        }
        false
    }

    /// The feed that is named, or the only one.
    ///
    /// # Errors
    /// It is not one of the channel's, or none is named where there are several.
    pub fn feed(&self, named: Option<&str>) -> Result<&OpenFeed, String> {
        let feeds = &self.channel.feeds;
        if let Some(feed) = named.and_then(|name| feeds.get(name)) {
            return Ok(feed);
        }
        let known = || {
            let mut known: Vec<&str> = feeds.keys().map(String::as_str).collect();
            known.sort_unstable();
            known.join(", ")
        };
        match (named, feeds.len()) {
            (None, 1) => Ok(feeds.values().next().ok_or("the channel has no feed")?),
            (None, _) => Err(format!("it names no feed; the channel has {}", known())),
            (Some(name), _) => Err(format!("the channel has no feed {name:?}; it has {}", known())),
        }
    }

    /// The only feed of the channel; none if it has several.
    pub fn only_feed(&self) -> Option<&OpenFeed> {
        let mut feeds = self.channel.feeds.values();
        feeds.next().filter(|_| feeds.next().is_none()).map(AsRef::as_ref)
    }

    /// A record as it lands, or why it does not.
    ///
    /// # Errors
    /// It is no record of this channel.
    pub fn record(
        &self,
        feed: Result<&OpenFeed, String>,
        key: Option<String>,
        content_type: &str,
        bytes: Bytes,
    ) -> Result<Piece, Untaken> {
        let feed = feed.map_err(|reason| Untaken::record(Why::FeedNotFound, reason, &bytes))?;
        if PayloadFormat::from_content_type(content_type).is_none() {
            let reason = format!(
                "the content type {content_type:?} is not taken; say application/json, application/x-ndjson or text/csv"
            );
            return Err(Untaken::record(Why::UnsupportedContentType, reason, &bytes));
        }
        let limit = self.channel.limits.payload_bytes;
        if bytes.len() as u64 > limit {
            let reason = format!("it has {} bytes; the channel's size takes {limit}", bytes.len());
            return Err(Untaken::record(Why::PayloadTooLarge, reason, &bytes));
        }
        Ok(Piece { feed: feed.feed.id, key, content_type: content_type.to_owned(), encoding: None, bytes })
    }

    /// What is not taken, as it lands: in the first feed, because every dead letter belongs to one.
    pub fn untaken(&self, key: Option<String>, untaken: &Untaken) -> Option<Piece> {
        let first = self.channel.feeds.values().min_by(|a, b| a.feed.name.cmp(&b.feed.name))?;
        let content_type = REFUSED.to_owned();
        Some(Piece { feed: first.feed.id, key, content_type, encoding: None, bytes: untaken.bytes() })
    }

    /// Says that something landed.
    pub fn landed(&self, landed: &[Landed]) {
        let new = landed.iter().filter(|landed| !landed.duplicate);
        let (payloads, bytes) = new.fold((0, 0), |(payloads, bytes), one| (payloads + 1, bytes + one.bytes));
        self.channel.allowance.landing.lock().take(0, bytes);
        metrics::counter!("headgate_landed_payloads_total").increment(payloads);
        metrics::counter!("headgate_landed_bytes_total").increment(bytes);
    }
}

impl Reach {
    /// Lands pieces in their order, all or none, and the checkpoint with them, however long there is no room.
    ///
    /// # Errors
    /// The channel stops first, or somebody else has moved the checkpoint.
    pub async fn land(&self, pieces: &[Piece], checkpoint: Option<&Checkpoint>) -> Result<(), Held> {
        let landing = self.door.ingest.parts.lake.landing();
        let channel = self.door.channel.id;
        if pieces.is_empty() && checkpoint.is_none() {
            return Ok(());
        }
        loop {
            let payload = |piece: Piece| NewPayload {
                channel,
                feed: piece.feed,
                idempotency_key: piece.key,
                content_type: piece.content_type,
                encoding: piece.encoding,
                // Each was held against the limit when it was read; together they may be more.
                max_bytes: u64::MAX,
                body: Body::Bytes(piece.bytes),
            };
            let payloads = pieces.iter().cloned().map(payload).collect();
            match landing.append_all(channel, payloads, checkpoint.cloned()).await {
                Ok(landed) => {
                    self.door.landed(&landed);
                    return Ok(());
                }
                Err(LakeError::CheckpointMoved) => return Err(Held::Overtaken),
                Err(error) => self.trouble(format!("nothing can be landed: {error}")).await,
            }
            if self.is_stopped() {
                return Err(Held::Stopped);
            }
        }
    }
}
