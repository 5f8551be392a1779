//! The engine's internal API: all that the control plane may ask the data plane.
//!
//! Two implementations exist, in-process and over HTTP (`/internal/v1`), and one conformance suite
//! runs over both. Requests and answers are plain data for that reason.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::channel::Lane;
use crate::checksum::Checksum;
use crate::error::{Coded, ErrorKind, FieldError};
use crate::id::{ChannelId, DeadLetterId, ElementId, ReceiptId, TenantId};
use crate::model::{InputModel, PayloadFormat};
use crate::page::Page;
use crate::schema::{ElementKind, Schema};
use crate::selection::Scope;
use crate::technology::TechnologyDescriptor;

/// A failure of the engine, as the control plane sees it. It travels as a problem document.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", .0.detail)]
pub struct EngineError(pub crate::Problem);

impl EngineError {
    /// A failure of `kind` under a stable code.
    pub fn new(kind: ErrorKind, code: &'static str, detail: impl Into<String>) -> Self {
        Self(crate::Problem::new(kind, code, detail))
    }

    /// The engine cannot be reached.
    pub fn unreachable(detail: impl Into<String>) -> Self {
        Self(crate::Problem::new(ErrorKind::Unavailable, "engine_unreachable", detail).with_retry_after(2))
    }
}

impl<E: Coded> From<&E> for EngineError {
    fn from(error: &E) -> Self {
        Self(crate::Problem::from_error(error))
    }
}

/// Whether a scope can be served, and what it would deliver.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CheckScope {
    /// The scope to compile. Errors point into it: `/filter`, `/columns/0`, `/model/fields/2/expression`.
    pub scope: Scope,
    /// The technology that would carry it.
    pub technology: String,
    /// What to look at besides compiling it; nothing when absent.
    pub look: Option<Look>,
}

/// What is wanted of the rows in a scope.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Look {
    /// How many shaped sample records to return.
    pub preview_records: u32,
}

/// The answer to [`CheckScope`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScopeReport {
    /// What is wrong; empty means that it can be served.
    pub errors: Vec<FieldError>,
    /// The schema the receiver gets.
    pub output_schema: Schema,
    /// Shaped records from the lake.
    pub preview: Vec<Value>,
    /// Records in scope at present; of an element with more than a million rows estimated from those looked at.
    pub records_in_scope: u64,
    /// Their canonical encoded size in bytes, estimated from the records looked at.
    pub bytes_in_scope: u64,
}

/// A sample to infer a schema from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InferSchema {
    /// The sample itself, at most 64 MiB, as text.
    pub sample: String,
    /// Its format.
    pub format: PayloadFormat,
    /// Names of the fields that identify a record.
    pub keys: Vec<String>,
}

/// What a sample tells.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct InferredSchema {
    /// The schema.
    pub schema: Schema,
    /// A model that reads the sample under that schema, with the null markers that were found.
    pub input_model: InputModel,
    /// Records looked at.
    pub records: u64,
}

/// Whether an input model fits a schema.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CheckInput {
    /// Kind of the element.
    pub kind: ElementKind,
    /// The element's schema.
    pub schema: Schema,
    /// The model to compile.
    pub model: InputModel,
}

/// What is observed of one element of a channel.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FlowStatistics {
    /// The element.
    pub element: ElementId,
    /// The lane.
    pub lane: Lane,
    /// Records delivered into the channel's resource.
    pub records: u64,
    /// Their canonical encoded size in bytes.
    pub bytes: u64,
    /// Delivery checksum over them.
    #[schema(value_type = String)]
    pub checksum: Checksum,
    /// Whether nothing waits: of a data-out channel all there is was looked at, and what is in
    /// scope was delivered; of a data-in channel every payload is decided.
    pub caught_up: bool,
    /// Records not looked at yet, in and out of scope alike. `null` where a grant withholds rows
    /// or columns: it would tell how much there is of them. Of a data-in channel always `null`.
    pub lag_records: Option<u64>,
    /// Age in seconds of the oldest record known to wait.
    pub lag_seconds: u64,
    /// When the last delivery succeeded.
    pub last_delivery_at: Option<DateTime<Utc>>,
}

/// What is observed of a channel.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct ChannelStatistics {
    /// Per element and lane.
    pub flows: Vec<FlowStatistics>,
    /// The last failure with its fix, if the last attempt failed.
    pub last_error: Option<String>,
    /// Milliseconds spent waiting for the size's limits since the engine started.
    pub throttled_ms: u64,
    /// Dead letters not yet dealt with.
    pub dead_letters: u64,
    /// Bytes held by the channel's resource, or landed and not yet conformed.
    pub stored_bytes: u64,
}

/// What is known of one column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ColumnStatistics {
    /// The column.
    pub name: String,
    /// Records without a value.
    pub nulls: u64,
    /// Distinct values, exact up to 1,000 and estimated above.
    pub distinct: u64,
    /// Smallest value.
    pub min: Option<Value>,
    /// Largest value.
    pub max: Option<Value>,
}

/// What is known of an element's records.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ElementStatistics {
    /// Live rows of an entity, records of events.
    pub rows: u64,
    /// Their encoded size in bytes.
    pub bytes: u64,
    /// When the newest record was committed.
    pub fresh_at: Option<DateTime<Utc>>,
    /// Per column, as far as computed.
    pub columns: Vec<ColumnStatistics>,
}

/// On which side a record was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeadLetterSide {
    /// While it was conformed.
    In,
    /// By the receiver of a data-out channel.
    Out,
}

/// A refused record, kept whole.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DeadLetter {
    /// Its id.
    pub id: DeadLetterId,
    /// The channel.
    pub channel: ChannelId,
    /// The feed, for data-in.
    pub feed: Option<String>,
    /// The element.
    pub element: ElementId,
    /// Where it was refused.
    pub side: DeadLetterSide,
    /// Stable code of the reason.
    pub code: String,
    /// The reason, for a person.
    pub reason: String,
    /// Path of the field at fault, where one is.
    pub field_path: Option<String>,
    /// Version of the model that refused it.
    pub model_version: u32,
    /// The payload it came in, for data-in.
    pub receipt: Option<ReceiptId>,
    /// Its place in the payload, counting from 1, for data-in.
    pub ordinal: Option<u64>,
    /// The record as it was received or would have been sent.
    pub raw: String,
    /// When it was refused.
    pub created_at: DateTime<Utc>,
}

/// Which dead letters to list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ListDeadLetters {
    /// The tenant whose channel it is.
    pub tenant: TenantId,
    /// The channel.
    pub channel: ChannelId,
    /// Rows wanted; of large ones fewer come, and the page says that there are more.
    pub page_size: u32,
    /// Only those before this one; the newest come first.
    pub before: Option<DeadLetterId>,
}

/// The engine's internal API.
#[async_trait]
pub trait Engine: std::fmt::Debug + Send + Sync {
    /// The technologies it can serve.
    async fn technologies(&self) -> Result<Vec<TechnologyDescriptor>, EngineError>;

    /// Compiles a scope against the lake and shapes a sample.
    async fn check_scope(&self, request: CheckScope) -> Result<ScopeReport, EngineError>;

    /// Compiles an input model; the answer lists what is wrong with it.
    async fn check_input(&self, request: CheckInput) -> Result<Vec<FieldError>, EngineError>;

    /// Infers a schema and a model from a sample.
    async fn infer_schema(&self, request: InferSchema) -> Result<InferredSchema, EngineError>;

    /// What is observed of a channel; all zero for one it does not serve.
    async fn channel_statistics(&self, channel: ChannelId) -> Result<ChannelStatistics, EngineError>;

    /// What is known of an element's records.
    async fn element_statistics(&self, element: ElementId) -> Result<ElementStatistics, EngineError>;

    /// Dead letters of a channel, newest first.
    async fn list_dead_letters(&self, request: ListDeadLetters) -> Result<Page<DeadLetter>, EngineError>;

    /// One dead letter; `not_found` when the tenant has no such.
    async fn dead_letter(&self, tenant: TenantId, id: DeadLetterId) -> Result<DeadLetter, EngineError>;

    /// Says that the desired state of channels changed. Only wakes: the work is found in the
    /// catalog's tables, and would be found without the call a little later.
    async fn wake(&self) -> Result<(), EngineError>;

    /// Waits until what runs follows the catalog as it stands now: nothing is taken in, delivered or
    /// served any more under terms that were taken back before the call. What was on its way to a
    /// receiver already is not called back.
    async fn follow(&self) -> Result<(), EngineError>;
}
