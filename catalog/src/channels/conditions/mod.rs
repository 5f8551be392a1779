//! What is observed of a channel, in the form of Kubernetes conditions: the engine writes them, the
//! steps of an order wait for them.

mod store;

use chrono::{DateTime, Utc};
use headgate_database::Tx;
use headgate_types::channel::{ConditionStatus, ConditionType};
use headgate_types::{ChannelId, TenantId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::CatalogError;

/// One observation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Condition {
    /// What is observed.
    #[serde(rename = "type")]
    pub condition: ConditionType,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Stable word in PascalCase.
    pub reason: String,
    /// For a person.
    pub message: String,
    /// When the status last changed.
    pub last_transition_time: DateTime<Utc>,
}

/// An observation to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCondition<'a> {
    /// What is observed.
    pub condition: ConditionType,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Stable word in PascalCase.
    pub reason: &'a str,
    /// For a person.
    pub message: &'a str,
}

/// Writes an observation; `last_transition_time` moves only with the status. Returns whether
/// anything changed, so that the writer wakes those who wait only when there is something to see.
///
/// # Errors
/// `NotFound` for a channel the tenant does not have.
pub async fn set_condition(
    tx: &mut Tx,
    tenant: TenantId,
    channel: ChannelId,
    new: NewCondition<'_>,
    now: DateTime<Utc>,
) -> Result<bool, CatalogError> {
    let Some(old) = store::get(tx, tenant, channel, new.condition).await? else {
        store::insert(tx, tenant, channel, &new, now).await?;
        return Ok(true);
    };
    if old.status == new.status && old.reason == new.reason && old.message == new.message {
        return Ok(false);
    }
    let since = if old.status == new.status { old.last_transition_time } else { now };
    store::update(tx, tenant, channel, &new, since).await?;
    Ok(true)
}

/// The observations of a channel, in the order of `ConditionType::ALL`.
///
/// # Errors
/// When the database fails.
pub async fn conditions(tx: &mut Tx, tenant: TenantId, channel: ChannelId) -> Result<Vec<Condition>, CatalogError> {
    let mut conditions = store::list(tx, tenant, channel).await?;
    conditions.sort_by_key(|condition| condition.condition);
    Ok(conditions)
}

/// Whether a condition is `True`.
///
/// # Errors
/// When the database fails.
pub async fn condition_holds(
    tx: &mut Tx,
    tenant: TenantId,
    channel: ChannelId,
    condition: ConditionType,
) -> Result<bool, CatalogError> {
    let found = store::get(tx, tenant, channel, condition).await?;
    Ok(found.is_some_and(|found| found.status == ConditionStatus::True))
}
