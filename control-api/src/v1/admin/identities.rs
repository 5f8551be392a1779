//! Identities: what clients, groups and people of other issuers are here.

use axum::Json;
use axum::extract::State;
use headgate_access::identities::{self, Identity, IdentityKind, NewIdentity};
use headgate_access::{AdminCaller, PLATFORM, Scopes, tenants};
use headgate_types::{IdentityId, TenantId};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::http::audit::by_admin;
use crate::http::body::Body;
use crate::http::caller::Admin;
use crate::http::idempotency::{Answer, IdempotencyKey, Once};
use crate::http::problem::ApiError;
use crate::http::query::Path;
use crate::state::ApiState;

/// Somebody of another issuer to be bound.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct IdentityBody {
    /// The `iss` of its tokens, letter by letter: one of the issuers that the operator configured.
    #[schema(min_length = 1, max_length = 2048)]
    issuer: String,
    /// What of a token it is found by.
    kind: IdentityKind,
    /// The `client_id`, group or `sub`.
    #[schema(min_length = 1, max_length = 255)]
    name: String,
    /// What its bearer may do at most. Absent: everything that a client of its kind can have.
    #[serde(default)]
    scopes: Option<Scopes>,
}

/// The identities of a tenant, or of the platform.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IdentitiesView {
    /// Oldest first; there are never many.
    items: Vec<Identity>,
}

/// Let a client, a group or a person of another issuer act for a tenant. Groups are how people get roles: a
/// person has the scopes of all its groups. Whoever is bound by name acts for that tenant alone.
#[utoipa::path(post, path = "/v1/admin/tenants/{tenant}/identities", operation_id = "create_tenant_identity",
    tag = "admin", security(("oauth2" = ["admin"]), ("bearer" = [])),
    params(("tenant" = TenantId, Path, description = "The tenant"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a retry harmless")),
    request_body = IdentityBody,
    responses((status = 201, description = "The identity", body = Identity)))]
pub(crate) async fn create(
    State(state): State<ApiState>,
    admin: Admin,
    Path(tenant): Path<TenantId>,
    key: IdempotencyKey,
    body: Body<IdentityBody>,
) -> Result<Answer, ApiError> {
    create_for(&state, &admin, Some(tenant), key, body).await
}

/// Let a client, a group or a person of another issuer run the platform.
#[utoipa::path(post, path = "/v1/admin/identities", operation_id = "create_admin_identity", tag = "admin",
    security(("oauth2" = ["admin"]), ("bearer" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a retry harmless")),
    request_body = IdentityBody,
    responses((status = 201, description = "The identity", body = Identity)))]
pub(crate) async fn create_admin(
    State(state): State<ApiState>,
    admin: Admin,
    key: IdempotencyKey,
    body: Body<IdentityBody>,
) -> Result<Answer, ApiError> {
    create_for(&state, &admin, None, key, body).await
}

/// List the identities of a tenant. App clients of its own clients are with those.
#[utoipa::path(get, path = "/v1/admin/tenants/{tenant}/identities", operation_id = "list_tenant_identities",
    tag = "admin", security(("oauth2" = ["admin"]), ("bearer" = [])),
    params(("tenant" = TenantId, Path, description = "The tenant")),
    responses((status = 200, description = "The identities", body = IdentitiesView)))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    _admin: Admin,
    Path(tenant): Path<TenantId>,
) -> Result<Json<IdentitiesView>, ApiError> {
    let mut tx = state.control.read_platform().await?;
    tenants::get(&mut tx, tenant).await?;
    Ok(Json(IdentitiesView { items: identities::list(&mut tx, Some(tenant)).await? }))
}

/// List the identities that run the platform.
#[utoipa::path(get, path = "/v1/admin/identities", operation_id = "list_admin_identities", tag = "admin",
    security(("oauth2" = ["admin"]), ("bearer" = [])),
    responses((status = 200, description = "The identities", body = IdentitiesView)))]
pub(crate) async fn list_admins(
    State(state): State<ApiState>,
    _admin: Admin,
) -> Result<Json<IdentitiesView>, ApiError> {
    let mut tx = state.control.read_platform().await?;
    Ok(Json(IdentitiesView { items: identities::list(&mut tx, None).await? }))
}

/// Unbind somebody from a tenant: the tokens it has are refused.
#[utoipa::path(delete, path = "/v1/admin/tenants/{tenant}/identities/{identity}",
    operation_id = "delete_tenant_identity", tag = "admin",
    security(("oauth2" = ["admin"]), ("bearer" = [])),
    params(("tenant" = TenantId, Path, description = "The tenant"),
        ("identity" = IdentityId, Path, description = "The identity")),
    responses((status = 204, description = "It is gone")))]
pub(crate) async fn delete(
    State(state): State<ApiState>,
    admin: Admin,
    Path((tenant, id)): Path<(TenantId, IdentityId)>,
) -> Result<StatusCode, ApiError> {
    delete_of(&state, &admin, Some(tenant), id).await
}

/// Unbind somebody from the platform.
#[utoipa::path(delete, path = "/v1/admin/identities/{identity}", operation_id = "delete_admin_identity",
    tag = "admin", security(("oauth2" = ["admin"]), ("bearer" = [])),
    params(("identity" = IdentityId, Path, description = "The identity")),
    responses((status = 204, description = "It is gone")))]
pub(crate) async fn delete_admin(
    State(state): State<ApiState>,
    admin: Admin,
    Path(id): Path<IdentityId>,
) -> Result<StatusCode, ApiError> {
    delete_of(&state, &admin, None, id).await
}

async fn create_for(
    state: &ApiState,
    admin: &AdminCaller,
    tenant: Option<TenantId>,
    key: IdempotencyKey,
    body: Body<IdentityBody>,
) -> Result<Answer, ApiError> {
    let once = match state.once_admin(admin, key, &body.fingerprint).await? {
        Once::Replay(answer) => return Ok(answer),
        Once::New(once) => once,
    };
    let IdentityBody { issuer, kind, name, scopes } = body.value;
    let scopes = scopes.unwrap_or_else(|| if tenant.is_some() { Scopes::tenant() } else { Scopes::admin() });
    let owner = tenant.unwrap_or(PLATFORM);
    let mut tx = state.control.platform().await?;
    tx.act_for(owner).await?;
    let identity = state.access.bind(&mut tx, NewIdentity { tenant, issuer, kind, name, scopes }).await?;
    by_admin(state, &mut tx, admin, owner, "identity.create", identity.id, detail(&identity)).await?;
    let collection = tenant.map_or_else(|| "/v1/admin".to_owned(), |tenant| format!("/v1/admin/tenants/{tenant}"));
    let location = format!("{collection}/identities/{}", identity.id);
    let answer = once.commit(tx, Answer::created(location, &identity)).await?;
    state.access.forget();
    Ok(answer)
}

async fn delete_of(
    state: &ApiState,
    admin: &AdminCaller,
    tenant: Option<TenantId>,
    id: IdentityId,
) -> Result<StatusCode, ApiError> {
    let owner = tenant.unwrap_or(PLATFORM);
    let mut tx = state.control.platform().await?;
    tx.act_for(owner).await?;
    let identity = identities::unbind(&mut tx, tenant, id).await?;
    by_admin(state, &mut tx, admin, owner, "identity.delete", id, detail(&identity)).await?;
    tx.commit().await?;
    state.access.forget();
    Ok(StatusCode::NO_CONTENT)
}

fn detail(identity: &Identity) -> serde_json::Value {
    json!({
        "issuer": identity.issuer, "kind": identity.kind, "name": identity.name, "scopes": identity.scopes,
    })
}
