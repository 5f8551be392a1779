//! Ingestion: from a source's payload to records in the element's log.
//!
//! A payload is durable in the landing zone before its source hears of it; nothing is parsed first. Payloads are posted to
//! the data listener, or fetched from where a cloud holds them (`source/`).
//! Each feed is drained by a task of its own, in order: conform, write through the element's one
//! writer, and let receipts, dead letters and usage derive from what the commit says.
//!
//! What runs follows the catalog: [`Ingest::run`] compares its rows with what is open and writes
//! back what it observes.

mod attempts;
mod channel;
mod derive;
mod drain;
mod reconcile;
mod refusal;
#[cfg(test)]
mod rivals;
mod side;
mod source;
mod store;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body as HttpBody, Bytes};
use futures::StreamExt;
use futures::stream::BoxStream;
use headgate_catalog::channels;
use headgate_database::{Db, Signal};
use headgate_events::Events;
use headgate_lake::{Body, Lake, LakeError, NewPayload};
use headgate_types::channel::{Direction, Lane};
use headgate_types::checksum::Checksum;
use headgate_types::engine::{ChannelStatistics, DeadLetter, FlowStatistics, ListDeadLetters};
use headgate_types::model::PayloadFormat;
use headgate_types::page::Page;
use headgate_types::{ChannelId, Coded, DeadLetterId, ElementId, ErrorKind, ReceiptId, SharedClock, TenantId};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use channel::{Gate, OpenChannel, Request};
use derive::Deriver;
use drain::Place;
pub use refusal::NotAccepted;
use source::{Pace, Standing};
pub use store::Receipt;
pub(crate) use store::erase_rows;
use writer::Writer;

use crate::cloud::Cloud;
use crate::error::EngineFault;
use crate::passes::{Followed, Passes};
use crate::tenant_quotas::{Flow, TenantQuotas};

/// A feed begins to drain, and the side streams to be derived, no sooner after they last began: what comes meanwhile
/// shares a commit and a transaction (ADR 20).
const COMMIT_BUDGET: Duration = Duration::from_millis(20);

/// What ingestion works with.
#[derive(Debug, Clone)]
pub struct IngestParts {
    /// Channels, feeds, elements, events.
    pub control: Db,
    /// Receipts, dead letters, usage.
    pub data: Db,
    /// Landing zone and logs.
    pub lake: Lake,
    /// Sessions with the cloud that holds channels.
    pub cloud: Cloud,
    /// Time.
    pub clock: SharedClock,
    /// Told when alerts were written.
    pub events: Events,
    /// Where the projections of entities are kept.
    pub projections: PathBuf,
    /// Where attempts are counted while a feed has work.
    pub attempts: PathBuf,
}

/// A payload as it comes in.
#[derive(Debug)]
pub struct Incoming {
    /// The channel.
    pub channel: ChannelId,
    /// The feed's name.
    pub feed: String,
    /// Its `Content-Type`.
    pub content_type: Option<String>,
    /// Its `Content-Encoding`.
    pub content_encoding: Option<String>,
    /// Its `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// Its bytes.
    pub body: HttpBody,
}

/// A payload that is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Its receipt.
    pub receipt: ReceiptId,
    /// Whether it had been accepted before under the same idempotency key.
    pub duplicate: bool,
}

/// Runs the data-in channels.
#[derive(Debug)]
pub struct Ingest {
    parts: IngestParts,
    deriver: Arc<Deriver>,
    changed: Signal,
    channels: RwLock<HashMap<ChannelId, Running>>,
    writers: Mutex<HashMap<ElementId, Arc<Writer>>>,
    tasks: CancellationToken,
    passes: Passes,
    followed: Followed,
    quotas: TenantQuotas,
    pace: Pace,
}

#[derive(Debug)]
struct Running {
    channel: Arc<OpenChannel>,
    /// One per feed, and one that fetches where there is a source.
    tasks: Vec<JoinHandle<()>>,
    stop: CancellationToken,
    /// How it stands with its source.
    standing: watch::Receiver<Standing>,
    /// What of that the conditions of this version say.
    told: Option<Standing>,
}

impl Ingest {
    /// Ingestion with nothing open yet.
    #[must_use]
    pub fn new(parts: IngestParts) -> Arc<Self> {
        let deriver = Deriver::new(&parts);
        Arc::new(Self {
            parts,
            deriver: Arc::new(deriver),
            changed: Signal::default(),
            channels: RwLock::default(),
            writers: Mutex::default(),
            tasks: CancellationToken::new(),
            passes: Passes::default(),
            followed: Followed::new(Direction::In),
            quotas: TenantQuotas::default(),
            pace: Pace::default(),
        })
    }

    /// Holds log and landing zone against what others remember of them (DATA-PLANE rule 5): a
    /// restored file must not give out a place again that a cursor has passed, nor keep payloads of
    /// channels that have ended. To be called before anything is landed or appended.
    ///
    /// # Errors
    /// When the cursor cannot be read or a store cannot be raised.
    pub async fn fence(&self) -> Result<(), EngineFault> {
        let mut tx = self.parts.data.read_platform().await?;
        let derived = store::cursor(&mut tx).await?;
        drop(tx);
        let (lake, log) = (&self.parts.lake, self.parts.lake.log());
        lake.fence_side(derived).await?;
        let positions = log.elements().into_iter().flat_map(|element| log.positions(element));
        let places = positions.filter_map(|position| Place::read(&position.value));
        lake.fence_landing(places.map(|place| place.sequence).max().unwrap_or(0)).await?;
        let mut landed: BTreeSet<ChannelId> = lake.landing().feeds().into_iter().map(|(channel, _)| channel).collect();
        let mut tx = self.parts.control.read_platform().await?;
        for head in channels::heads(&mut tx, Some(Direction::In)).await? {
            landed.remove(&head.id);
        }
        let mut ended = Vec::new();
        // Hardly any is left. One that the catalog does not know may be in a newer copy of it.
        for id in landed {
            let channel = channels::find(&mut tx, id).await?;
            ended.extend(channel.filter(|channel| channel.state.is_final()).map(|channel| channel.id));
        }
        drop(tx);
        for channel in ended {
            let payloads = lake.landing().remove(channel).await?;
            tracing::warn!(%channel, payloads, "removed payloads that a restored landing zone held of a channel that has ended");
        }
        Ok(())
    }

    /// The tenant of an open channel.
    #[must_use]
    pub fn tenant(&self, channel: ChannelId) -> Option<TenantId> {
        self.channels.read().get(&channel).map(|running| running.channel.tenant)
    }

    /// Which tenants are over a quota; shared with delivery.
    pub(crate) fn tenant_quotas(&self) -> TenantQuotas {
        self.quotas.clone()
    }

    /// Where the present rows of a keyed element are kept.
    pub(crate) fn projection(&self, element: ElementId) -> PathBuf {
        self.parts.projections.join(format!("{element}.db"))
    }

    /// Lets go of an element that is being removed, and removes its projection.
    pub(crate) fn forget(&self, element: ElementId) -> Result<(), EngineFault> {
        self.writers.lock().remove(&element);
        let file = self.projection(element);
        for suffix in ["", "-wal", "-shm"] {
            match std::fs::remove_file(format!("{}{suffix}", file.display())) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// A channel and, if one more may be open, a request that counts. Whoever deletes the channel waits for every
    /// request that found its gate open: it counts from the look at the gate on.
    fn enter(&self, channel: ChannelId) -> Option<(Arc<OpenChannel>, Option<Request>)> {
        let channels = self.channels.read();
        let channel = &channels.get(&channel)?.channel;
        Some((Arc::clone(channel), channel.allowance.request()))
    }

    fn open_channel(&self, channel: ChannelId) -> Option<Arc<OpenChannel>> {
        self.channels.read().get(&channel).map(|running| Arc::clone(&running.channel))
    }

    /// Makes a payload durable.
    ///
    /// # Errors
    /// [`NotAccepted`], or what the landing zone says: too large (413), a reused idempotency key
    /// (422), no room (507). Nothing is kept then.
    pub async fn accept(&self, incoming: Incoming) -> Result<Accepted, IngestError> {
        let (channel, request) = self.enter(incoming.channel).ok_or(EngineFault::NotFound("data-in channel"))?;
        match channel.gate {
            Gate::Open => {}
            Gate::Paused => return Err(NotAccepted::Paused.into()),
            Gate::Draining => return Err(NotAccepted::Deleting.into()),
        }
        if channel.source.is_some() {
            return Err(NotAccepted::Fetched.into());
        }
        if let Some(wait) = self.quotas.held(channel.tenant, Flow::Ingest, self.parts.clock.now()) {
            return Err(NotAccepted::TenantQuota { seconds: wait.as_secs() + 1 }.into());
        }
        let feed = channel.feeds.get(&incoming.feed).ok_or_else(|| {
            let mut known: Vec<&str> = channel.feeds.keys().map(String::as_str).collect();
            known.sort_unstable();
            NotAccepted::UnknownFeed { feed: incoming.feed.clone(), known: known.join(", ") }
        })?;
        let content_type = incoming.content_type.unwrap_or_default();
        if PayloadFormat::from_content_type(&content_type).is_none() {
            return Err(NotAccepted::ContentType(content_type).into());
        }
        let encoding = incoming.content_encoding.map(|encoding| encoding.trim().to_ascii_lowercase());
        let encoding = encoding.filter(|encoding| !encoding.is_empty() && encoding != "identity");
        if let Some(encoding) = &encoding
            && !matches!(encoding.as_str(), "gzip" | "x-gzip" | "zstd")
        {
            return Err(NotAccepted::Encoding(encoding.clone()).into());
        }
        let _request = request.ok_or(NotAccepted::Connections)?;
        let wait = channel.allowance.landing.lock().wait(Instant::now());
        if !wait.is_zero() {
            return Err(NotAccepted::Rate { seconds: wait.as_secs() + 1 }.into());
        }
        let deleting = &channel.allowance.deleting;
        let stream = incoming.body.into_data_stream().map(|chunk| chunk.map_err(std::io::Error::other)).boxed();
        let payload = NewPayload {
            channel: channel.id,
            feed: feed.feed.id,
            idempotency_key: incoming.idempotency_key,
            content_type,
            encoding,
            max_bytes: channel.limits.payload_bytes,
            body: Body::Stream(unless(deleting.clone(), stream)),
        };
        let landed = self.parts.lake.landing().append(payload).await.map_err(|error| match error {
            LakeError::Interrupted(_) if deleting.is_cancelled() => NotAccepted::Deleting.into(),
            error => IngestError::from(EngineFault::from(error)),
        })?;
        if !landed.duplicate {
            channel.allowance.landing.lock().take(0, landed.bytes);
        }
        metrics::counter!("headgate_landed_payloads_total").increment(1);
        metrics::counter!("headgate_landed_bytes_total").increment(landed.bytes);
        Ok(Accepted { receipt: landed.receipt, duplicate: landed.duplicate })
    }

    /// What became of a payload.
    ///
    /// # Errors
    /// `not_found` when the channel has no such.
    pub async fn receipt(&self, channel: ChannelId, receipt: ReceiptId) -> Result<Receipt, EngineFault> {
        let open = self.open_channel(channel).ok_or(EngineFault::NotFound("data-in channel"))?;
        // The landing zone first: a payload leaves it only after its receipt is in the table.
        let landed = self.parts.lake.landing().get(receipt).await?.filter(|payload| payload.channel == channel);
        let mut tx = self.parts.data.read_tenant(open.tenant).await?;
        if let Some(receipt) = store::receipt(&mut tx, open.tenant, channel, receipt).await? {
            return Ok(receipt);
        }
        let payload = landed.ok_or(EngineFault::NotFound("receipt"))?;
        let feed = open.feeds.values().find(|feed| feed.feed.id == payload.feed);
        Ok(Receipt {
            id: payload.receipt,
            feed: feed.map(|feed| feed.feed.name.clone()).unwrap_or_default(),
            state: "landed",
            records: 0,
            unchanged: 0,
            refused: 0,
            landed_at: payload.landed_at,
            conformed_at: None,
        })
    }

    /// Dead letters of a data-in channel, the newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_dead_letters(&self, wanted: &ListDeadLetters) -> Result<Page<DeadLetter>, EngineFault> {
        let mut tx = self.parts.data.read_tenant(wanted.tenant).await?;
        Ok(store::list_dead_letters(&mut tx, wanted).await?)
    }

    /// One dead letter of a tenant.
    ///
    /// # Errors
    /// `not_found` when the tenant has no such.
    pub async fn dead_letter(&self, tenant: TenantId, id: DeadLetterId) -> Result<DeadLetter, EngineFault> {
        let mut tx = self.parts.data.read_tenant(tenant).await?;
        store::dead_letter(&mut tx, tenant, id).await?.ok_or(EngineFault::NotFound("dead letter"))
    }

    /// What is observed of a data-in channel; all zero for one that is not open here.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn statistics(&self, channel: ChannelId) -> Result<ChannelStatistics, EngineFault> {
        let Some(open) = self.open_channel(channel) else { return Ok(ChannelStatistics::default()) };
        // First: what is derived afterwards is in the sums and counts as waiting, and not the other way round.
        let waiting = self.parts.lake.landing().usage(channel);
        let mut tx = self.parts.data.read_tenant(open.tenant).await?;
        let sums = store::sums(&mut tx, channel).await?;
        let mut statistics = ChannelStatistics { stored_bytes: waiting.bytes, ..ChannelStatistics::default() };
        for (element, sums) in sums {
            statistics.dead_letters += sums.refused.unsigned_abs();
            statistics.flows.push(FlowStatistics {
                element,
                lane: Lane::Live,
                records: sums.records.unsigned_abs(),
                bytes: sums.bytes.unsigned_abs(),
                // Payloads have no delivery checksum: nobody has shaped them.
                checksum: Checksum::EMPTY,
                caught_up: waiting.payloads == 0,
                lag_records: None,
                lag_seconds: 0,
                last_delivery_at: None,
            });
        }
        Ok(statistics)
    }

    /// Says that the catalog changed.
    pub fn wake(&self) {
        self.changed.wake();
    }

    /// Waits until a pass that began after this call is complete.
    pub async fn passed(&self) {
        self.passes.passed(&self.changed).await;
    }

    /// Whether everything landed is conformed and everything conformed is derived.
    #[must_use]
    pub fn idle(&self) -> bool {
        let channels = self.channels.read();
        channels.keys().all(|channel| self.parts.lake.landing().usage(*channel).payloads == 0)
    }
}

/// The chunks of a body; it breaks off when `stop` is cancelled.
fn unless(
    stop: CancellationToken,
    chunks: BoxStream<'static, std::io::Result<Bytes>>,
) -> BoxStream<'static, std::io::Result<Bytes>> {
    let next = |(stop, mut chunks): (CancellationToken, BoxStream<'static, _>)| async move {
        let chunk = match stop.run_until_cancelled(chunks.next()).await {
            Some(chunk) => chunk?,
            None => Err(std::io::Error::other("nothing more is taken")),
        };
        Some((chunk, (stop, chunks)))
    };
    futures::stream::unfold((stop, chunks), next).boxed()
}

/// Why a payload was not taken, or ingestion failed.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The payload is refused.
    #[error(transparent)]
    Refused(#[from] NotAccepted),
    /// The engine failed.
    #[error(transparent)]
    Fault(#[from] EngineFault),
}

impl Coded for IngestError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused(error) => error.kind(),
            Self::Fault(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Refused(error) => error.code(),
            Self::Fault(error) => error.code(),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Refused(error) => error.retry_after(),
            Self::Fault(error) => error.retry_after(),
        }
    }
}
