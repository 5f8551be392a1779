//! Reading orders.

use headgate_database::{Argument, Arguments, Tx};
use headgate_types::{ChannelId, OrderId, TenantId};

use super::kind::OrderKind;
use super::order::Order;
use super::state::OrderState;
use super::store;
use crate::error::OrderError;

/// Which orders to list; absent members do not narrow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrderFilter {
    /// Of this channel.
    pub channel: Option<ChannelId>,
    /// In this state.
    pub state: Option<OrderState>,
    /// Of this kind.
    pub kind: Option<OrderKind>,
    /// Older than this one: the last of the page before.
    pub before: Option<OrderId>,
}

/// An order with its steps.
///
/// # Errors
/// [`OrderError::NotFound`] also for another tenant's order.
pub async fn get(tx: &mut Tx, tenant: TenantId, id: OrderId) -> Result<Order, OrderError> {
    let mut order = store::get(tx, tenant, id).await?.ok_or(OrderError::NotFound)?.order()?;
    order.steps = store::steps(tx, tenant, id).await?;
    Ok(order)
}

/// A tenant's orders, newest first, without their steps.
///
/// # Errors
/// When the database fails.
pub async fn list(tx: &mut Tx, tenant: TenantId, filter: &OrderFilter, limit: u32) -> Result<Vec<Order>, OrderError> {
    page(tx, Some(tenant), filter, limit).await
}

/// Orders of every tenant, or of one, newest first, without their steps. For administrators, in a
/// transaction of the platform.
///
/// # Errors
/// When the database fails.
pub async fn list_all(
    tx: &mut Tx,
    tenant: Option<TenantId>,
    filter: &OrderFilter,
    limit: u32,
) -> Result<Vec<Order>, OrderError> {
    page(tx, tenant, filter, limit).await
}

async fn page(
    tx: &mut Tx,
    tenant: Option<TenantId>,
    filter: &OrderFilter,
    limit: u32,
) -> Result<Vec<Order>, OrderError> {
    let mut conditions = Vec::new();
    let mut arguments: Arguments = Vec::new();
    let mut narrow = |column: &str, operator: &str, value: Option<Argument>| {
        if let Some(value) = value {
            arguments.push(value);
            conditions.push(format!("{column} {operator} ${}", arguments.len()));
        }
    };
    narrow("tenant_id", "=", tenant.map(Argument::from));
    narrow("channel_id", "=", filter.channel.map(Argument::from));
    narrow("state", "=", filter.state.map(|state| state.as_str().into()));
    narrow("kind", "=", filter.kind.map(|kind| kind.as_str().into()));
    narrow("id", "<", filter.before.map(Argument::from));
    let rows = store::page(tx, &conditions, arguments, limit).await?;
    rows.iter().map(store::OrderRow::order).collect()
}
