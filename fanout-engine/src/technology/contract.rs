//! What a technology promises the delivery loop, and what it is given.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use headgate_access::outbound::GuardedClient;
use headgate_types::channel::{Binding, Lane};
use headgate_types::limits::Limits;
use headgate_types::schema::{ElementKind, Schema};
use headgate_types::technology::TechnologyDescriptor;
use headgate_types::{ChannelId, ElementId, FieldError, SharedClock, TenantId};
use indexmap::IndexMap;
use serde_json::Value;

use crate::addresses::{Address, Addresses};
use crate::cloud::Cloud;
use crate::shape::Encoded;

/// One channel profile.
#[async_trait]
pub trait Technology: fmt::Debug + Send + Sync {
    /// How the control plane and the console see it.
    fn descriptor(&self) -> TechnologyDescriptor;

    /// What is wrong with the `options` of an output model for this technology; pointers are
    /// relative to the options document. Anything in the options that `options` does not name is
    /// an error: a misspelt option must not be ignored.
    fn check_options(&self, options: &IndexMap<String, Value>) -> Vec<FieldError>;

    /// What every channel of it answers, with paths relative to `/v1/out/{channel}`; empty where nothing
    /// is read from us.
    fn addresses(&self) -> Vec<Address> {
        Vec::new()
    }

    /// Opens the channel's resource: idempotent, creating what is missing in it. Called again
    /// after every change of limits, scopes or binding, never while the former sink is open.
    ///
    /// A technology without a data-out side answers `Reject`.
    async fn open(&self, channel: OpenChannel) -> Result<Opened, SinkError>;
}

/// Secrets that belong to a channel, looked up at the moment of use so that a rotation is seen.
#[async_trait]
pub trait Secrets: fmt::Debug + Send + Sync {
    /// The channel's signing secrets (`whsec_…`), newest first; during a rotation there are two.
    async fn signing_secrets(&self, channel: ChannelId) -> Result<Vec<secrecy::SecretString>, String>;
}

/// Everything a technology needs to open one data-out channel.
#[derive(Debug, Clone)]
pub struct OpenChannel {
    /// Whose channel it is.
    pub tenant: TenantId,
    /// The channel.
    pub channel: ChannelId,
    /// The name its owner gave it.
    pub name: String,
    /// Where its resource is.
    pub binding: Binding,
    /// What it carries, one entry per element in scope.
    pub elements: Vec<OutputElement>,
    /// What its size allows. Rates are enforced by the delivery loop, connections by the data
    /// listener; retention, memory and payload bytes by the technology.
    pub limits: Limits,
    /// The address under which the data listener mounts the router, without a trailing slash,
    /// for example `http://127.0.0.1:7401/v1/out/ch_…`.
    pub public_url: String,
    /// Time.
    pub clock: SharedClock,
    /// The channel's secrets.
    pub secrets: Arc<dyn Secrets>,
    /// The only client that may reach an address a tenant named.
    pub outbound: GuardedClient,
    /// Sessions with the cloud that holds the resource, if one does.
    pub cloud: Cloud,
}

impl OpenChannel {
    /// The directory of a `file://` binding.
    ///
    /// # Errors
    /// When the binding is something else: the channel cannot be served until it changes.
    pub fn directory(&self) -> Result<PathBuf, SinkError> {
        url::Url::parse(&self.binding.url)
            .ok()
            .filter(|url| url.scheme() == "file")
            .and_then(|url| url.to_file_path().ok())
            .ok_or_else(|| SinkError::reject(format!("the binding {:?} is not a file:// URL", self.binding.url)))
    }
}

/// One element as the receiver of a channel sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputElement {
    /// The element.
    pub element: ElementId,
    /// Table name, file prefix or path segment; unique within the channel.
    pub name: String,
    /// What the element is.
    pub kind: ElementKind,
    /// The fields of a shaped record, in order, without `_id` and `_op`.
    pub schema: Schema,
    /// Revision of the output model.
    pub model_version: u32,
    /// Options of the output model.
    pub options: IndexMap<String, Value>,
}

/// An open channel.
#[derive(Debug)]
pub struct Opened {
    /// Takes deliveries.
    pub sink: Arc<dyn Sink>,
    /// Serves the channel's reads, with paths relative to `/v1/out/{channel}` (`/` is the channel
    /// itself). Mounted by the data listener behind authentication and request limits.
    pub router: Option<Addresses>,
}

/// The writing end of one channel. Calls for different flows may overlap; calls for one flow
/// never do, and come in offset order.
#[async_trait]
pub trait Sink: fmt::Debug + Send + Sync {
    /// The place the target itself holds for a flow, for targets that commit their cursor together
    /// with the data (rules 25 and 31). `None`: the target keeps none, the platform's row decides.
    async fn cursor(&self, flow: FlowKey) -> Result<Option<Committed>, SinkError>;

    /// Writes a range. Idempotent: a range, or a part of it, that the target already holds is
    /// skipped. A delivery without records still moves the target's cursor where it keeps one.
    /// Returns how far the target holds the flow durably, which may be behind the end of the
    /// range for a target that collects (files), is never behind an earlier answer, and is always
    /// the end of some range that was written.
    async fn write(&self, delivery: &Delivery) -> Result<Written, SinkError>;

    /// Publishes what `write` collected, as far as `why` asks for; everything written for
    /// [`Flush::Now`]. A target that holds all that was written answers [`Written::ALL`].
    async fn flush(&self, flow: FlowKey, why: Flush) -> Result<Written, SinkError>;

    /// Bytes the channel's resource occupies.
    async fn stored_bytes(&self) -> u64;

    /// Ends the channel's writing and reading: waits for what is in flight, ends open connections
    /// and lets go of files. Nothing is removed. The sink is not used afterwards.
    async fn close(&self);

    /// Nothing was written for some time: lets go of what can be had again and was not used for
    /// `quiet` by readers either. Says whether the sink can do without being open until something is
    /// written or read; requests that the data listener answers are not its concern.
    async fn rest(&self, _quiet: Duration) -> Rest {
        Rest::Until(None)
    }

    /// Records per delivery the target takes best; the loop splits larger ranges.
    fn batch_records(&self) -> usize {
        10_000
    }
}

/// One flow into a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey {
    /// The element.
    pub element: ElementId,
    /// The lane.
    pub lane: Lane,
}

/// Why collected records are to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// Time passed: publish what is older than the technology's limit of age.
    Age,
    /// A tick, a pause, the end of a lane or of the channel: publish everything.
    Now,
}

/// The place a target holds for a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The last offset it holds; 0: nothing.
    pub offset: u64,
    /// Whether the target itself let go of what it held, because that was shaped by other terms: it gets all of it
    /// again, and nothing was lost.
    pub begun_anew: bool,
}

impl Committed {
    /// Holds everything through `offset`.
    #[must_use]
    pub const fn through(offset: u64) -> Self {
        Self { offset, begun_anew: false }
    }
}

/// How far a sink is at rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Somebody follows what it holds, or it holds something that would be lost.
    Busy,
    /// There is nothing to do for it before this.
    Until(Option<DateTime<Utc>>),
}

/// The answer to a write: `(0, through]` of the flow is durable in the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The last offset held.
    pub through: u64,
}

impl Written {
    /// Everything that was written so far is durable.
    pub const ALL: Self = Self { through: u64::MAX };
}

/// A contiguous range of one flow, shaped and encoded.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Which flow.
    pub flow: FlowKey,
    /// The range starts behind this offset.
    pub after: u64,
    /// The last offset of the range. Offsets without a record are out of scope.
    pub to: u64,
    /// The records, in offset order; shared with other channels of the same plan.
    pub parts: Vec<Slice>,
    /// Whether the records are sent again by order or after an ambiguous failure.
    pub repeated: bool,
}

/// Some rows of an encoded batch.
#[derive(Debug, Clone)]
pub struct Slice {
    /// The batch.
    pub encoded: Arc<Encoded>,
    /// Its rows.
    pub rows: Range<usize>,
}

impl Delivery {
    /// Every record as its batch and row, in offset order.
    pub fn rows(&self) -> impl Iterator<Item = (&Arc<Encoded>, usize)> {
        self.parts.iter().flat_map(|part| part.rows.clone().map(move |row| (&part.encoded, row)))
    }

    /// The number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.rows.len()).sum()
    }

    /// Billed bytes of all records.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.encoded.bytes(part.rows.clone())).sum()
    }

    /// Whether the range holds no record in scope.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Why a write did not happen.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SinkError {
    /// The target is in the way: connect errors, time-outs, 5xx, 429, a full disk. Uses up no
    /// tries; the loop waits and repeats the same range.
    #[error("{reason}")]
    Retry {
        /// What the target asked for, if it did.
        after: Option<Duration>,
        /// What happened and what helps, for the owner of the channel.
        reason: String,
    },
    /// The channel is not complete yet, which is no failure: its order is still being carried out.
    /// The loop looks again before long.
    #[error("{0}")]
    NotYet(&'static str),
    /// The target refuses records. The loop bisects until it knows which, makes dead letters of
    /// them and goes on.
    #[error("{reason}")]
    Reject {
        /// Offsets of the refused records; empty when the target did not say.
        records: Vec<u64>,
        /// What the target said.
        reason: String,
    },
}

impl SinkError {
    /// Try again, without a hint when.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry { after: None, reason: reason.into() }
    }

    /// A range of an element that the channel was opened without.
    #[must_use]
    pub fn not_carried() -> Self {
        Self::retry("the element is not part of the channel any more")
    }

    /// Refused, without a hint which record.
    pub fn reject(reason: impl Into<String>) -> Self {
        Self::Reject { records: Vec::new(), reason: reason.into() }
    }
}
