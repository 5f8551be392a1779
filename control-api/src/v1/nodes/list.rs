//! The hierarchies elements are found in.

use axum::Json;
use axum::extract::State;
use headgate_catalog::nodes::{self, Node};
use headgate_types::page::Page;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::http::caller::{Caller, CatalogRead};
use crate::http::list::PageQuery;
use crate::http::problem::ApiError;
use crate::http::query::{Query, at_most, rows};
use crate::state::ApiState;

/// Which nodes.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodesQuery {
    /// Rows per page; 50 when absent, coerced to 1,000.
    #[serde(default, deserialize_with = "rows")]
    #[param(minimum = 1, maximum = 2147483647)]
    page_size: Option<u32>,
    /// `next_page_token` of the page before.
    #[serde(default, deserialize_with = "at_most::<2048, _>")]
    #[param(max_length = 2048)]
    page_token: Option<String>,
    /// Of this tree only, for example `topic`.
    #[serde(default, deserialize_with = "at_most::<64, _>")]
    #[param(max_length = 64)]
    tree: Option<String>,
}

/// List the hierarchy nodes you may see, by tree and path: your own and the platform's.
#[utoipa::path(get, path = "/v1/nodes", operation_id = "list_nodes", tag = "catalog",
    security(("oauth2" = ["catalog.read"]), ("bearer" = [])), params(NodesQuery),
    responses((status = 200, description = "A page of nodes", body = Page<Node>)))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller<CatalogRead>,
    Query(query): Query<NodesQuery>,
) -> Result<Json<Page<Node>>, ApiError> {
    let NodesQuery { page_size, page_token, tree } = query;
    let narrowing = tree.clone().unwrap_or_default();
    let listing = PageQuery::of(page_size, page_token).listing(&state.pages, caller.tenant, "nodes", narrowing);
    let mut tx = state.control.read_tenant(caller.tenant).await?;
    let rows = nodes::list(&mut tx, caller.tenant, tree.as_deref(), listing.after()?, listing.fetch()).await?;
    Ok(Json(listing.page(rows, |node| node.id, |node| node)))
}
