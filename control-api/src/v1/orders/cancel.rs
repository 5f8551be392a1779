//! Withdrawing an order.

use axum::extract::State;
use headgate_access::audit::{self, Entry};
use headgate_provisioning::orders;
use headgate_types::OrderId;
use serde_json::json;

use super::view::OrderView;
use crate::http::caller::{Caller, OrdersWrite};
use crate::http::idempotency::{Answer, IdempotencyKey, Once};
use crate::http::problem::ApiError;
use crate::http::query::Path;
use crate::state::ApiState;

/// Cancel an order. What it did so far is undone, and it ends CANCELLED; cancelling it again
/// changes nothing.
#[utoipa::path(post, path = "/v1/orders/{order}/cancel", operation_id = "cancel_order", tag = "orders",
    security(("oauth2" = ["orders.write"]), ("bearer" = [])),
    params(("order" = OrderId, Path, description = "The order"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a retry harmless")),
    responses((status = 202, description = "It is being undone", body = OrderView)))]
pub(crate) async fn cancel(
    State(state): State<ApiState>,
    caller: Caller<OrdersWrite>,
    Path(id): Path<OrderId>,
    key: IdempotencyKey,
) -> Result<Answer, ApiError> {
    let once = match state.once(&caller, key, &[0; 32]).await? {
        Once::Replay(answer) => return Ok(answer),
        Once::New(once) => once,
    };
    let mut tx = state.control.tenant(caller.tenant).await?;
    let order = orders::cancel(&mut tx, &state.clock, caller.tenant, id).await?;
    let entry = Entry::by(&caller, "order.cancel", id).detail(json!({"channel": order.channel}));
    audit::record(&mut tx, entry, &state.clock).await?;
    let answer = Answer::accepted(OrderView::location(id), &OrderView::from(order));
    let answer = once.commit(tx, answer).await?;
    state.wake().await;
    Ok(answer)
}
