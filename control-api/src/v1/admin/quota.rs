//! What a tenant may use.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use headgate_access::tenants::{self, Quotas, Tenant};
use headgate_types::TenantId;
use http::header;
use serde_json::json;

use crate::http::audit::by_admin;
use crate::http::body::Body;
use crate::http::caller::Admin;
use crate::http::etag::{ETag, IfMatch};
use crate::http::problem::ApiError;
use crate::http::query::Path;
use crate::state::ApiState;

/// Replace what a tenant may use; absent members become unlimited. What it has already stays.
#[utoipa::path(put, path = "/v1/admin/tenants/{tenant}/quota", operation_id = "set_tenant_quota", tag = "admin",
    security(("oauth2" = ["admin"]), ("bearer" = [])),
    params(("tenant" = TenantId, Path, description = "The tenant"),
        ("If-Match" = String, Header, description = "The tenant's `ETag` that was read, or `*`")),
    request_body = Quotas,
    responses((status = 200, description = "The tenant", body = Tenant)))]
pub(crate) async fn set(
    State(state): State<ApiState>,
    admin: Admin,
    Path(id): Path<TenantId>,
    if_match: IfMatch,
    body: Body<Quotas>,
) -> Result<Response, ApiError> {
    let mut tx = state.control.platform().await?;
    if_match.check(&ETag::of(&tenants::get(&mut tx, id).await?))?;
    let tenant = tenants::set_quota(&mut tx, id, body.value, &state.clock).await?;
    by_admin(&state, &mut tx, &admin, id, "tenant.set_quota", id, json!({"quotas": tenant.quotas})).await?;
    tx.commit().await?;
    state.access.forget();
    state.tenant_limits.forget();
    Ok(([(header::ETAG, ETag::of(&tenant).header())], axum::Json(tenant)).into_response())
}
