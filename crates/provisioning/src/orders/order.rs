//! An order as its owner sees it.

use chrono::{DateTime, Utc};
use headgate_types::channel::Direction;
use headgate_types::{ChannelId, ClaimId, CredentialId, OrderId, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::kind::OrderKind;
use super::plan::{Phase, StepName, cancellable};
use super::request::OrderRequest;
use super::state::{Ending, OrderState};
use crate::endpoint::ChannelEndpoint;

/// An order with its steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// Its id.
    pub id: OrderId,
    /// The owner of its channel.
    pub tenant: TenantId,
    /// The channel it is about.
    pub channel: ChannelId,
    /// The direction of the channel.
    pub direction: Direction,
    /// What was asked for.
    pub request: OrderRequest,
    /// Where it is.
    pub state: OrderState,
    /// How it will end, while it is being undone.
    pub ending: Option<Ending>,
    /// Which way it goes.
    pub phase: Phase,
    /// The step it is at; None when it is over.
    pub step: Option<StepName>,
    /// What it has brought about so far.
    pub result: OrderResult,
    /// Why it failed.
    pub error: Option<OrderFailure>,
    /// The quote it was accepted at.
    pub price: Option<Value>,
    /// Revision of the profiles it was priced with.
    pub profile_revision: u32,
    /// The principal that placed it.
    pub requested_by: String,
    /// The request that placed it.
    pub request_id: Option<String>,
    /// The delete order that took its place.
    pub superseded_by: Option<OrderId>,
    /// When it was placed.
    pub created_at: DateTime<Utc>,
    /// When a worker took it up.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// When anything of it changed.
    pub updated_at: DateTime<Utc>,
    /// When the worker will look at it again.
    pub run_at: DateTime<Utc>,
    /// Its steps, in the order they are taken; empty in lists.
    pub steps: Vec<OrderStep>,
}

impl Order {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> OrderKind {
        self.request.kind()
    }

    /// Whether [`crate::orders::cancel`] would be accepted now.
    #[must_use]
    pub fn is_cancellable(&self) -> bool {
        !self.state.is_final() && self.ending.is_none() && self.step.is_none_or(|step| cancellable(self.kind(), step))
    }
}

/// Where a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StepState {
    /// Not begun.
    Pending,
    /// Begun.
    Running,
    /// Done.
    Done,
    /// Could not be done.
    Failed,
    /// Not needed, because the order ended before it.
    Skipped,
}

impl StepState {
    /// Every state, in order.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Running, Self::Done, Self::Failed, Self::Skipped];

    /// The word in tables and documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Done => "DONE",
            Self::Failed => "FAILED",
            Self::Skipped => "SKIPPED",
        }
    }

    /// The state with that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// One step of an order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OrderStep {
    /// Which step.
    pub name: StepName,
    /// Whether it leads towards what was ordered or back.
    pub phase: Phase,
    /// Where it is.
    pub state: StepState,
    /// Times it failed and was tried again.
    pub attempts: u32,
    /// What it waits for, or why the last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How far it is, where that can be counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<DateTime<Utc>>,
}

/// How far a step is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// Units done.
    pub done: u64,
    /// Units in all, as far as known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// What is counted, for example `records`.
    pub unit: String,
}

/// A credential that an order issued. The claim is an identifier, not a secret: only the owner can
/// redeem it, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IssuedCredential {
    /// The credential.
    pub credential: CredentialId,
    /// `channel_key`, `signing_secret` or `access_key`.
    pub kind: String,
    /// Reveals it, once.
    pub claim: ClaimId,
    /// Until when.
    pub claim_expires_at: DateTime<Utc>,
}

/// What an order has brought about.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct OrderResult {
    /// Where the channel is reached, for channels that are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<ChannelEndpoint>,
    /// The credentials issued.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<IssuedCredential>,
}

/// Something a driver could not remove yet. The sweep goes on trying.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Leftover {
    /// The driver in charge.
    pub driver: String,
    /// The channel whose resource it is.
    pub channel: ChannelId,
    /// Why it is still there.
    pub reason: String,
}

/// Why an order failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderFailure {
    /// Stable code, `snake_case`.
    pub code: String,
    /// What went wrong, for a person.
    pub detail: String,
    /// The step that could not be done.
    pub step: StepName,
    /// What is left of it, if anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leftovers: Vec<Leftover>,
}
