//! Withdrawing an order.

use headgate_database::Tx;
use headgate_types::{OrderId, SharedClock, TenantId};

use super::advance::{Move, advance};
use super::order::Order;
use super::read::get;
use super::state::Ending;
use crate::error::OrderError;

/// Withdraws an order. It ends CANCELLED once what it did is undone; the worker does that, so wake
/// it after the commit. Withdrawing it again changes nothing.
///
/// # Errors
/// [`OrderError::NotFound`], [`OrderError::Finished`] with how it ended,
/// [`OrderError::NotCancellable`] behind the point of no return.
pub async fn cancel(tx: &mut Tx, clock: &SharedClock, tenant: TenantId, id: OrderId) -> Result<Order, OrderError> {
    loop {
        let mut order = get(tx, tenant, id).await?;
        if order.state.is_final() {
            return Err(OrderError::Finished(order.state));
        }
        if order.ending == Some(Ending::Cancelled) {
            return Ok(order);
        }
        if !order.is_cancellable() {
            return Err(OrderError::NotCancellable(order.kind()));
        }
        if advance(tx, clock, &mut order, Move::Undo(Ending::Cancelled)).await? {
            return get(tx, tenant, id).await;
        }
        // The worker moved it on between the read and the write: look again where it is.
    }
}
