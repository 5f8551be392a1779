//! Where a tenant's events are sent: endpoints, and what became of each event at each.

mod change;
mod recover;
pub(crate) mod store;

use chrono::{DateTime, Utc};
use headgate_database::Tx;
use headgate_types::{EndpointId, EventId, TenantId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::error::EventsError;
use crate::event::EventType;

pub use change::{delete, delete_all};
pub use recover::{recover, resend};

/// How many endpoints one tenant can have.
pub const MAX_ENDPOINTS: usize = 50;

/// Whether an endpoint is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EndpointState {
    /// It is.
    Active,
    /// It is not: its owner, an answer 410 or five days of failures said so.
    Disabled,
}

impl EndpointState {
    /// The word in the table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Disabled => "DISABLED",
        }
    }
}

/// Where a tenant's events are sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// Where.
    pub url: String,
    /// What people call it.
    pub description: String,
    /// Only events of these types; empty: all.
    pub types: Vec<EventType>,
    /// Whether it is sent to.
    pub state: EndpointState,
    /// Why it is disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_reason: Option<String>,
    /// The first failure since the last success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<DateTime<Utc>>,
    /// Changes with every change of its owner; the ETag.
    pub version: i64,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When its owner last changed it.
    pub updated_at: DateTime<Utc>,
}

/// An endpoint to be created.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEndpoint {
    /// Where: https, a public address.
    pub url: String,
    /// What people call it.
    #[serde(default)]
    pub description: String,
    /// Only events of these types; empty: all.
    #[serde(default)]
    pub types: Vec<EventType>,
}

/// A change of an endpoint; what is absent stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointPatch {
    /// Where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Only events of these types; empty: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub types: Option<Vec<EventType>>,
    /// Enabling one again starts with the next event; ask to recover for those it missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<EndpointState>,
}

/// What became of an event at an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DeliveryState {
    /// It will be tried (again).
    Pending,
    /// It was taken.
    Delivered,
    /// It was given up; resend and recover start anew.
    Failed,
}

impl DeliveryState {
    /// The word in the table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Delivered => "DELIVERED",
            Self::Failed => "FAILED",
        }
    }

    pub(crate) fn from_word(word: &str) -> Self {
        match word {
            "DELIVERED" => Self::Delivered,
            "FAILED" => Self::Failed,
            _ => Self::Pending,
        }
    }
}

/// An event on its way to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Delivery {
    /// The event.
    pub event: EventId,
    /// Its place in the tenant's log.
    pub sequence: u64,
    /// What became of it.
    pub state: DeliveryState,
    /// How often it was tried.
    pub attempts: i64,
    /// When it will be tried next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// When it was put on its way.
    pub created_at: DateTime<Utc>,
}

/// One try to send an event to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// Its id; where a list goes on.
    pub id: Uuid,
    /// The event.
    pub event: EventId,
    /// Counts the tries of this event at this endpoint, from 1.
    pub attempt: i64,
    /// When.
    pub created_at: DateTime<Utc>,
    /// The status of the answer; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why there was no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The first 4 KiB of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<String>,
    /// How long it took.
    pub milliseconds: i64,
}

/// The endpoints of a tenant, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn list(tx: &mut Tx, tenant: TenantId) -> Result<Vec<Endpoint>, EventsError> {
    Ok(store::list(tx, tenant).await?.into_iter().map(Endpoint::from).collect())
}

/// One endpoint.
///
/// # Errors
/// [`EventsError::NotFound`].
pub async fn get(tx: &mut Tx, tenant: TenantId, id: EndpointId) -> Result<Endpoint, EventsError> {
    store::find(tx, tenant, id).await?.map(Endpoint::from).ok_or(EventsError::NotFound("endpoint"))
}

/// Tries of an endpoint, newest first, older than `before`.
///
/// # Errors
/// [`EventsError::NotFound`].
pub async fn attempts(
    tx: &mut Tx,
    tenant: TenantId,
    id: EndpointId,
    before: Option<Uuid>,
    limit: u32,
) -> Result<Vec<Attempt>, EventsError> {
    get(tx, tenant, id).await?;
    Ok(store::attempts(tx, tenant, id, before.unwrap_or(Uuid::max()), limit).await?)
}

/// Events on their way to an endpoint or arrived there, newest first, before the sequence `before`.
///
/// # Errors
/// [`EventsError::NotFound`].
pub async fn deliveries(
    tx: &mut Tx,
    tenant: TenantId,
    id: EndpointId,
    before: Option<u64>,
    limit: u32,
) -> Result<Vec<Delivery>, EventsError> {
    get(tx, tenant, id).await?;
    Ok(store::deliveries(tx, tenant, id, before.unwrap_or(u64::MAX), limit).await?)
}
