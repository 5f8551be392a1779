//! Lists of orders.

use axum::Json;
use axum::extract::State;
use headgate_provisioning::orders::{self, OrderFilter, OrderKind, OrderState};
use headgate_types::filter::{Comparator, Filter, Literal};
use headgate_types::page::Page;
use headgate_types::{FieldError, OrderId};

use super::view::OrderView;
use crate::http::caller::{Caller, ChannelsRead};
use crate::http::list::ListQuery;
use crate::http::problem::ApiError;
use crate::http::query::Query;
use crate::state::ApiState;

/// List the tenant's orders, newest first, without their steps. The filter joins `channel`, `kind`
/// and `state` by `=` and `AND`.
#[utoipa::path(get, path = "/v1/orders", operation_id = "list_orders", tag = "orders",
    security(("oauth2" = ["channels.read"]), ("bearer" = [])), params(ListQuery),
    responses((status = 200, description = "A page of orders", body = Page<OrderView>)))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller<ChannelsRead>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<OrderView>>, ApiError> {
    let listing = query.listing(&state.pages, caller.tenant, "orders")?;
    let filter = narrowed(listing.filter.as_ref(), listing.after()?)?;
    let mut tx = state.control.read_tenant(caller.tenant).await?;
    let rows = orders::list(&mut tx, caller.tenant, &filter, listing.fetch()).await?;
    Ok(Json(listing.page(rows, |order| order.id, OrderView::from)))
}

/// The filter of a list of orders as the owner of the table takes it.
pub(crate) fn narrowed(filter: Option<&Filter>, before: Option<OrderId>) -> Result<OrderFilter, ApiError> {
    let mut wanted = OrderFilter { before, ..OrderFilter::default() };
    let parts = match filter {
        None => return Ok(wanted),
        Some(Filter::And(parts)) => parts.as_slice(),
        Some(one) => std::slice::from_ref(one),
    };
    for part in parts {
        let Filter::Compare { name, comparator: Comparator::Equal, value: Literal::Text(text) } = part else {
            return Err(refused("orders are filtered by channel, kind and state, with = and AND"));
        };
        let fits = match name.as_str() {
            "channel" => {
                wanted.channel = text.parse().ok();
                wanted.channel.is_some()
            }
            "kind" => {
                wanted.kind = OrderKind::from_word(text);
                wanted.kind.is_some()
            }
            "state" => {
                wanted.state = OrderState::from_word(text);
                wanted.state.is_some()
            }
            other => return Err(refused(&format!("{other:?} cannot be filtered; known are channel, kind, state"))),
        };
        if !fits {
            return Err(refused(&format!("{text:?} is not a {name}")));
        }
    }
    Ok(wanted)
}

fn refused(detail: &str) -> ApiError {
    ApiError::parameter(FieldError::new("filter", "invalid_filter", detail))
}

#[cfg(test)]
mod tests {
    use headgate_types::filter::parse;

    use super::*;

    fn read(text: &str) -> Result<OrderFilter, ApiError> {
        narrowed(Some(&parse(text).unwrap()), None)
    }

    #[test]
    fn order_filters_are_read_or_refused() {
        let wanted = read("state = RUNNING AND kind = create").unwrap();
        assert_eq!((wanted.state, wanted.kind), (Some(OrderState::Running), Some(OrderKind::Create)));
        for wrong in ["state = ODD", "state != RUNNING", "size = 3", "kind = create OR kind = delete", "channel = x"] {
            assert_eq!(read(wrong).unwrap_err().problem.errors[0].code, "invalid_filter", "{wrong}");
        }
    }
}
