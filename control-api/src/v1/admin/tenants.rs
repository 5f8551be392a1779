//! Tenants: create, list, get.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use headgate_access::tenants::{self, Quotas, Tenant};
use headgate_types::TenantId;
use headgate_types::page::Page;
use http::header;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::http::audit::by_admin;
use crate::http::body::Body;
use crate::http::caller::Admin;
use crate::http::etag::ETag;
use crate::http::idempotency::{Answer, IdempotencyKey, Once};
use crate::http::list::ListQuery;
use crate::http::problem::ApiError;
use crate::http::query::{Path, Query};
use crate::state::ApiState;

/// A tenant to be created.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantBody {
    /// What people call it.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// What it may use; absent members are unlimited.
    #[serde(default)]
    quotas: Quotas,
}

/// Create a tenant. It is ACTIVE at once; give it a client to log in with.
#[utoipa::path(post, path = "/v1/admin/tenants", operation_id = "create_tenant", tag = "admin",
    security(("oauth2" = ["admin"]), ("bearer" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a retry harmless")),
    request_body = TenantBody,
    responses((status = 201, description = "The tenant", body = Tenant)))]
pub(crate) async fn create(
    State(state): State<ApiState>,
    admin: Admin,
    key: IdempotencyKey,
    body: Body<TenantBody>,
) -> Result<Answer, ApiError> {
    let once = match state.once_admin(&admin, key, &body.fingerprint).await? {
        Once::Replay(answer) => return Ok(answer),
        Once::New(once) => once,
    };
    let TenantBody { name, quotas } = body.value;
    let mut tx = state.control.platform().await?;
    let tenant = tenants::create(&mut tx, &name, quotas, &state.clock).await?;
    by_admin(&state, &mut tx, &admin, tenant.id, "tenant.create", tenant.id, json!({"name": tenant.name})).await?;
    let answer = Answer::created(format!("/v1/admin/tenants/{}", tenant.id), &tenant).with_etag(&ETag::of(&tenant));
    once.commit(tx, answer).await
}

/// List tenants in the order of their creation. Filter by `id name state created_at`.
#[utoipa::path(get, path = "/v1/admin/tenants", operation_id = "list_tenants", tag = "admin",
    security(("oauth2" = ["admin"]), ("bearer" = [])), params(ListQuery),
    responses((status = 200, description = "A page of tenants", body = Page<Tenant>)))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    _admin: Admin,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<Tenant>>, ApiError> {
    let listing = query.listing(&state.pages, "platform", "tenants")?;
    let mut tx = state.control.read_platform().await?;
    let rows = tenants::list(&mut tx, listing.filter.as_ref(), listing.after()?, listing.fetch()).await?;
    Ok(Json(listing.page(rows, |tenant| tenant.id, |tenant| tenant)))
}

/// Get a tenant.
#[utoipa::path(get, path = "/v1/admin/tenants/{tenant}", operation_id = "get_tenant", tag = "admin",
    security(("oauth2" = ["admin"]), ("bearer" = [])),
    params(("tenant" = TenantId, Path, description = "The tenant")),
    responses((status = 200, description = "The tenant", body = Tenant,
        headers(("ETag" = String, description = "For `If-Match`")))))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    _admin: Admin,
    Path(id): Path<TenantId>,
) -> Result<Response, ApiError> {
    let mut tx = state.control.read_platform().await?;
    let tenant = tenants::get(&mut tx, id).await?;
    Ok(([(header::ETAG, ETag::of(&tenant).header())], Json(tenant)).into_response())
}
