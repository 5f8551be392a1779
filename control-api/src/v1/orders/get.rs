//! One order.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use headgate_provisioning::orders;
use headgate_types::OrderId;
use http::{HeaderValue, header};

use super::view::{LOOK_AGAIN_SECONDS, OrderView};
use crate::http::caller::{Caller, ChannelsRead};
use crate::http::problem::ApiError;
use crate::http::query::Path;
use crate::state::ApiState;

/// Get an order with its steps. `Retry-After` says when to look again, until it is over.
#[utoipa::path(get, path = "/v1/orders/{order}", operation_id = "get_order", tag = "orders",
    security(("oauth2" = ["channels.read"]), ("bearer" = [])),
    params(("order" = OrderId, Path, description = "The order")),
    responses((status = 200, description = "The order", body = OrderView,
        headers(("Retry-After" = u64, description = "Seconds; absent when the order is over")))))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    caller: Caller<ChannelsRead>,
    Path(id): Path<OrderId>,
) -> Result<Response, ApiError> {
    let mut tx = state.control.read_tenant(caller.tenant).await?;
    let order = OrderView::from(orders::get(&mut tx, caller.tenant, id).await?);
    let over = order.state.is_final();
    let mut response = axum::Json(order).into_response();
    if !over {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(LOOK_AGAIN_SECONDS));
    }
    Ok(response)
}
