//! An order as it is shown.

use chrono::{DateTime, Utc};
use headgate_provisioning::orders::{Order, OrderFailure, OrderKind, OrderResult, OrderState, OrderStep, StepName};
use headgate_types::{ChannelId, OrderId, TenantId};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// Seconds after which looking again at an order that is not over makes sense.
pub(crate) const LOOK_AGAIN_SECONDS: u64 = 1;

/// An order: what was asked for, and how far it is.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct OrderView {
    /// Its id.
    pub id: OrderId,
    /// The tenant.
    pub tenant: TenantId,
    /// The channel it is about.
    pub channel: ChannelId,
    /// What was asked for.
    pub kind: OrderKind,
    /// Where it is. An open enum.
    pub state: OrderState,
    /// The step it is at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<StepName>,
    /// Whether it is being undone.
    pub undoing: bool,
    /// Whether cancelling it would be accepted now.
    pub cancellable: bool,
    /// Its steps; absent in lists.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<OrderStep>,
    /// What it has brought about.
    pub result: OrderResult,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<OrderFailure>,
    /// The quote it was accepted at.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object)]
    pub price: Option<Value>,
    /// Revision of the profiles it was priced with.
    pub profile_revision: u32,
    /// Who placed it.
    pub requested_by: String,
    /// The request that placed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The delete order that took its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<OrderId>,
    /// When it was placed.
    pub created_at: DateTime<Utc>,
    /// When it was taken up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<DateTime<Utc>>,
    /// When anything of it changed.
    pub updated_at: DateTime<Utc>,
}

impl OrderView {
    /// Where an order is looked at.
    pub(crate) fn location(id: OrderId) -> String {
        format!("/v1/orders/{id}")
    }
}

impl From<Order> for OrderView {
    fn from(order: Order) -> Self {
        Self {
            kind: order.kind(),
            undoing: order.ending.is_some(),
            cancellable: order.is_cancellable(),
            id: order.id,
            tenant: order.tenant,
            channel: order.channel,
            state: order.state,
            step: order.step,
            steps: order.steps,
            result: order.result,
            error: order.error,
            price: order.price,
            profile_revision: order.profile_revision,
            requested_by: order.requested_by,
            request_id: order.request_id,
            superseded_by: order.superseded_by,
            created_at: order.created_at,
            started_at: order.started_at,
            finished_at: order.finished_at,
            updated_at: order.updated_at,
        }
    }
}
