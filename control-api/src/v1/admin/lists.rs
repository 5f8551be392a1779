//! Orders, channels and audit rows across tenants.

use axum::Json;
use axum::extract::State;
use headgate_access::PLATFORM;
use headgate_access::audit::{self, AuditRow};
use headgate_catalog::channels::{self, ChannelFilter};
use headgate_provisioning::orders;
use headgate_types::TenantId;
use headgate_types::page::Page;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::http::caller::Admin;
use crate::http::list::{ListQuery, PageQuery};
use crate::http::problem::ApiError;
use crate::http::query::{Query, at_most, rows};
use crate::state::ApiState;
use crate::v1::channels::view::ChannelView;
use crate::v1::orders::list::narrowed;
use crate::v1::orders::view::OrderView;

/// A list across tenants, or of one.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantListQuery {
    /// Of this tenant only.
    tenant: Option<TenantId>,
    /// Rows per page; 50 when absent, coerced to 1,000.
    #[serde(default, deserialize_with = "rows")]
    #[param(minimum = 1, maximum = 2147483647)]
    page_size: Option<u32>,
    /// `next_page_token` of the page before.
    #[serde(default, deserialize_with = "at_most::<2048, _>")]
    #[param(max_length = 2048)]
    page_token: Option<String>,
    /// AIP-160 subset, as in the tenant's own list.
    #[serde(default, deserialize_with = "at_most::<4096, _>")]
    #[param(max_length = 4096)]
    filter: Option<String>,
}

/// Which chain of the audit log.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditQuery {
    /// The tenant's chain; the platform's own when absent.
    tenant: Option<TenantId>,
    /// Rows per page; 50 when absent, coerced to 1,000.
    #[serde(default, deserialize_with = "rows")]
    #[param(minimum = 1, maximum = 2147483647)]
    page_size: Option<u32>,
    /// `next_page_token` of the page before.
    #[serde(default, deserialize_with = "at_most::<2048, _>")]
    #[param(max_length = 2048)]
    page_token: Option<String>,
}

fn scope(tenant: Option<TenantId>) -> String {
    tenant.map_or_else(|| "platform".to_owned(), |tenant| format!("platform/{tenant}"))
}

/// List the orders of all tenants, or of one, newest first.
#[utoipa::path(get, path = "/v1/admin/orders", operation_id = "list_all_orders", tag = "admin",
    security(("oauth2" = ["admin"]), ("bearer" = [])), params(TenantListQuery),
    responses((status = 200, description = "A page of orders", body = Page<OrderView>)))]
pub(crate) async fn orders(
    State(state): State<ApiState>,
    _admin: Admin,
    Query(query): Query<TenantListQuery>,
) -> Result<Json<Page<OrderView>>, ApiError> {
    let TenantListQuery { tenant, page_size, page_token, filter } = query;
    let listing = ListQuery::of(page_size, page_token, filter).listing(&state.pages, scope(tenant), "orders")?;
    let filter = narrowed(listing.filter.as_ref(), listing.after()?)?;
    let mut tx = state.control.read_platform().await?;
    let rows = orders::list_all(&mut tx, tenant, &filter, listing.fetch()).await?;
    Ok(Json(listing.page(rows, |order| order.id, OrderView::from)))
}

/// List the channels of all tenants, or of one, newest first. Filter by `id name direction
/// channel_profile performance_profile state created_at updated_at`.
#[utoipa::path(get, path = "/v1/admin/channels", operation_id = "list_all_channels", tag = "admin",
    security(("oauth2" = ["admin"]), ("bearer" = [])), params(TenantListQuery),
    responses((status = 200, description = "A page of channels", body = Page<ChannelView>)))]
pub(crate) async fn channels(
    State(state): State<ApiState>,
    _admin: Admin,
    Query(query): Query<TenantListQuery>,
) -> Result<Json<Page<ChannelView>>, ApiError> {
    let TenantListQuery { tenant, page_size, page_token, filter } = query;
    let listing = ListQuery::of(page_size, page_token, filter).listing(&state.pages, scope(tenant), "channels")?;
    let wanted = ChannelFilter {
        tenant,
        direction: None,
        filter: listing.filter.clone(),
        before: listing.after()?,
        limit: listing.fetch(),
    };
    let mut tx = state.control.read_platform().await?;
    let rows = channels::list(&mut tx, &wanted).await?;
    Ok(Json(listing.page(rows, |channel| channel.id, ChannelView::from)))
}

/// List the audit log, newest first: the platform's chain, or a tenant's.
#[utoipa::path(get, path = "/v1/admin/audit", operation_id = "list_audit", tag = "admin",
    security(("oauth2" = ["admin"]), ("bearer" = [])), params(AuditQuery),
    responses((status = 200, description = "A page of audit rows", body = Page<AuditRow>)))]
pub(crate) async fn audit(
    State(state): State<ApiState>,
    _admin: Admin,
    Query(query): Query<AuditQuery>,
) -> Result<Json<Page<AuditRow>>, ApiError> {
    let AuditQuery { tenant, page_size, page_token } = query;
    let listing = PageQuery::of(page_size, page_token).listing(&state.pages, scope(tenant), "audit", String::new());
    let mut tx = state.control.read_platform().await?;
    let rows = audit::list(&mut tx, tenant.unwrap_or(PLATFORM), listing.after()?, listing.fetch()).await?;
    Ok(Json(listing.page(rows, |row| row.sequence, |row| row)))
}
