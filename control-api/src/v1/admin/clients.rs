//! Clients: what tenants, and the platform itself, log in with.

use axum::Json;
use axum::extract::State;
use chrono::TimeDelta;
use headgate_access::clients::{self, Client, NewClient};
use headgate_access::{AdminCaller, PLATFORM, Scopes, identities, tenants};
use headgate_types::{ClientId, ErrorKind, FieldError, TenantId};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::app_clients;
use crate::http::audit::by_admin;
use crate::http::body::Body;
use crate::http::caller::Admin;
use crate::http::idempotency::{Answer, IdempotencyKey, Once, Pending};
use crate::http::problem::ApiError;
use crate::http::query::Path;
use crate::state::ApiState;

const MAX_GRACE_SECONDS: i64 = 30 * 24 * 60 * 60;

/// A client to be created.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientBody {
    /// What people call it.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// What its tokens can have at most. Absent: everything a client of its kind can have.
    #[serde(default)]
    scopes: Option<Scopes>,
}

/// How a client's secret is rotated.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateSecretBody {
    /// How long the old secret stays valid beside the new one; an hour when absent.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 2_592_000)]
    grace_seconds: Option<i64>,
}

/// A client with its secret, this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct ClientWithSecret {
    #[serde(flatten)]
    client: Client,
    /// Keep it: it cannot be shown again, not even to a retry with the same idempotency key.
    #[schema(format = Password)]
    client_secret: String,
    /// Where it gets tokens, if its login is at another issuer and the operator said where.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_url: Option<String>,
    /// The `scope` to ask for there.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_scope: Option<String>,
}

/// The clients of a tenant, or of the platform.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClientsView {
    /// Oldest first, revoked ones included; there are never many.
    items: Vec<Client>,
}

/// Create a client for a tenant. The secret is in this answer and nowhere else. Where the operator configured a
/// pool the client logs in there: `login` says where.
#[utoipa::path(post, path = "/v1/admin/tenants/{tenant}/clients", operation_id = "create_tenant_client", tag = "admin",
    security(("oauth2" = ["admin"]), ("bearer" = [])),
    params(("tenant" = TenantId, Path, description = "The tenant"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a retry harmless")),
    request_body = ClientBody,
    responses((status = 201, description = "The client and its secret", body = ClientWithSecret)))]
pub(crate) async fn create(
    State(state): State<ApiState>,
    admin: Admin,
    Path(tenant): Path<TenantId>,
    key: IdempotencyKey,
    body: Body<ClientBody>,
) -> Result<Answer, ApiError> {
    create_for(&state, &admin, Some(tenant), key, body).await
}

/// Create a client of the platform: an administrator.
#[utoipa::path(post, path = "/v1/admin/clients", operation_id = "create_admin_client", tag = "admin",
    security(("oauth2" = ["admin"]), ("bearer" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a retry harmless")),
    request_body = ClientBody,
    responses((status = 201, description = "The client and its secret", body = ClientWithSecret)))]
pub(crate) async fn create_admin(
    State(state): State<ApiState>,
    admin: Admin,
    key: IdempotencyKey,
    body: Body<ClientBody>,
) -> Result<Answer, ApiError> {
    create_for(&state, &admin, None, key, body).await
}

/// List the clients of a tenant.
#[utoipa::path(get, path = "/v1/admin/tenants/{tenant}/clients", operation_id = "list_tenant_clients", tag = "admin",
    security(("oauth2" = ["admin"]), ("bearer" = [])),
    params(("tenant" = TenantId, Path, description = "The tenant")),
    responses((status = 200, description = "The clients", body = ClientsView)))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    _admin: Admin,
    Path(tenant): Path<TenantId>,
) -> Result<Json<ClientsView>, ApiError> {
    let mut tx = state.control.read_platform().await?;
    tenants::get(&mut tx, tenant).await?;
    Ok(Json(ClientsView { items: clients::list(&mut tx, Some(tenant)).await? }))
}

/// List the administrators.
#[utoipa::path(get, path = "/v1/admin/clients", operation_id = "list_admin_clients", tag = "admin",
    security(("oauth2" = ["admin"]), ("bearer" = [])),
    responses((status = 200, description = "The clients", body = ClientsView)))]
pub(crate) async fn list_admins(State(state): State<ApiState>, _admin: Admin) -> Result<Json<ClientsView>, ApiError> {
    let mut tx = state.control.read_platform().await?;
    Ok(Json(ClientsView { items: clients::list(&mut tx, None).await? }))
}

/// Revoke a tenant's client: it gets no new tokens, and those it has are refused.
#[utoipa::path(post, path = "/v1/admin/tenants/{tenant}/clients/{client}/revoke",
    operation_id = "revoke_tenant_client", tag = "admin",
    security(("oauth2" = ["admin"]), ("bearer" = [])),
    params(("tenant" = TenantId, Path, description = "The tenant"),
        ("client" = ClientId, Path, description = "The client"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a retry harmless")),
    responses((status = 200, description = "The client", body = Client)))]
pub(crate) async fn revoke(
    State(state): State<ApiState>,
    admin: Admin,
    Path((tenant, id)): Path<(TenantId, ClientId)>,
    key: IdempotencyKey,
) -> Result<Answer, ApiError> {
    revoke_of(&state, &admin, Some(tenant), id, key).await
}

/// Revoke another administrator.
#[utoipa::path(post, path = "/v1/admin/clients/{client}/revoke", operation_id = "revoke_admin_client", tag = "admin",
    security(("oauth2" = ["admin"]), ("bearer" = [])),
    params(("client" = ClientId, Path, description = "The client"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a retry harmless")),
    responses((status = 200, description = "The client", body = Client)))]
pub(crate) async fn revoke_admin(
    State(state): State<ApiState>,
    admin: Admin,
    Path(id): Path<ClientId>,
    key: IdempotencyKey,
) -> Result<Answer, ApiError> {
    // The last administrator would lock everybody out, and nobody means to end their own login.
    if admin.principal.issuer.is_none() && admin.principal.client == id {
        let detail = "you are logged in with this client: have another administrator revoke it";
        return Err(ApiError::new(ErrorKind::Conflict, "own_client", detail));
    }
    revoke_of(&state, &admin, None, id, key).await
}

/// Give a tenant's client a new secret; the old one stays valid for the grace period. A client that logs in at a
/// pool gets a new app client: its `login` changes as well.
#[utoipa::path(post, path = "/v1/admin/tenants/{tenant}/clients/{client}/rotate-secret",
    operation_id = "rotate_tenant_client_secret", tag = "admin",
    security(("oauth2" = ["admin"]), ("bearer" = [])),
    params(("tenant" = TenantId, Path, description = "The tenant"),
        ("client" = ClientId, Path, description = "The client"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a retry harmless")),
    request_body = RotateSecretBody,
    responses((status = 200, description = "The client and its new secret", body = ClientWithSecret)))]
pub(crate) async fn rotate(
    State(state): State<ApiState>,
    admin: Admin,
    Path((tenant, id)): Path<(TenantId, ClientId)>,
    key: IdempotencyKey,
    body: Body<RotateSecretBody>,
) -> Result<Answer, ApiError> {
    let grace = body.value.grace_seconds.unwrap_or(3_600);
    if !(0..=MAX_GRACE_SECONDS).contains(&grace) {
        let detail = format!("0 to {MAX_GRACE_SECONDS} seconds");
        return Err(ApiError::refused(vec![FieldError::new("/grace_seconds", "out_of_range", detail)]));
    }
    let once = match state.once_admin(&admin, key, &body.fingerprint).await? {
        Once::Replay(answer) => return Ok(answer),
        Once::New(once) => once,
    };
    let grace = TimeDelta::seconds(grace);
    let mut tx = state.control.read_platform().await?;
    let client = clients::get(&mut tx, Some(tenant), id).await?;
    drop(tx);
    let made = match client.login.as_ref().filter(|_| client.revoked_at.is_none()) {
        Some(login) => Some(app_clients::make_another(&state, tenant, &client, login).await?),
        None => None,
    };
    let written = async {
        let mut tx = state.control.platform().await?;
        tx.act_for(tenant).await?;
        let shown = match &made {
            Some(made) => (app_clients::replace(&state, &mut tx, &made.app, grace).await?, made.secret.clone()),
            None => clients::rotate_secret(&mut tx, Some(tenant), id, grace, &state.clock).await?,
        };
        by_admin(&state, &mut tx, &admin, tenant, "client.rotate_secret", id, json!({})).await?;
        shown_once(&state, once, tx, shown, Answer::ok).await
    };
    let answer = or_expel(&state, made.as_ref(), written.await).await?;
    state.access.forget();
    Ok(answer)
}

async fn create_for(
    state: &ApiState,
    admin: &AdminCaller,
    tenant: Option<TenantId>,
    key: IdempotencyKey,
    body: Body<ClientBody>,
) -> Result<Answer, ApiError> {
    let once = match state.once_admin(admin, key, &body.fingerprint).await? {
        Once::Replay(answer) => return Ok(answer),
        Once::New(once) => once,
    };
    let ClientBody { name, scopes } = body.value;
    let scopes = scopes.unwrap_or_else(|| if tenant.is_some() { Scopes::tenant() } else { Scopes::admin() });
    let owner = tenant.unwrap_or(PLATFORM);
    let new = NewClient { tenant, name, scopes };
    // Administrators log in at the built-in issuer: they have to get in when a pool does not answer.
    let made = match tenant.zip(state.pool.as_deref()) {
        Some((tenant, pool)) => Some(app_clients::make(state, pool, tenant, &new).await?),
        None => None,
    };
    let written = async {
        let mut tx = state.control.platform().await?;
        tx.act_for(owner).await?;
        let shown = match &made {
            Some(made) => (clients::create_in_pool(&mut tx, new, &made.app, &state.clock).await?, made.secret.clone()),
            None => clients::create(&mut tx, new, &state.clock).await?,
        };
        let client = &shown.0;
        let (id, mut detail) = (client.id, json!({"name": client.name, "scopes": client.scopes}));
        if let Some(login) = &client.login {
            detail["login"] = json!(login);
        }
        by_admin(state, &mut tx, admin, owner, "client.create", id, detail).await?;
        let collection = tenant.map_or_else(|| "/v1/admin".to_owned(), |tenant| format!("/v1/admin/tenants/{tenant}"));
        shown_once(state, once, tx, shown, |view| Answer::created(format!("{collection}/clients/{id}"), view)).await
    };
    or_expel(state, made.as_ref(), written.await).await
}

/// An app client whose client was not written down is nobody's.
async fn or_expel<T>(
    state: &ApiState,
    made: Option<&app_clients::Made>,
    written: Result<T, ApiError>,
) -> Result<T, ApiError> {
    if let (Err(_), Some(made)) = (&written, made) {
        app_clients::expel(state, std::slice::from_ref(&made.app)).await;
    }
    written
}

async fn revoke_of(
    state: &ApiState,
    admin: &AdminCaller,
    tenant: Option<TenantId>,
    id: ClientId,
    key: IdempotencyKey,
) -> Result<Answer, ApiError> {
    let once = match state.once_admin(admin, key, &[0; 32]).await? {
        Once::Replay(answer) => return Ok(answer),
        Once::New(once) => once,
    };
    let owner = tenant.unwrap_or(PLATFORM);
    let mut tx = state.control.platform().await?;
    tx.act_for(owner).await?;
    let client = clients::revoke(&mut tx, tenant, id, &state.clock).await?;
    let apps = identities::app_clients_of(&mut tx, owner, id).await?;
    by_admin(state, &mut tx, admin, owner, "client.revoke", id, json!({})).await?;
    let answer = once.commit(tx, Answer::ok(&client)).await?;
    state.access.forget();
    app_clients::expel(state, &apps).await;
    Ok(answer)
}

/// Answers with the secret, and remembers the answer without it.
async fn shown_once(
    state: &ApiState,
    once: Pending,
    tx: headgate_database::Tx,
    (client, secret): (Client, SecretString),
    answer: impl FnOnce(&ClientWithSecret) -> Answer,
) -> Result<Answer, ApiError> {
    let pool = client.login.as_ref().and(state.pool.as_deref());
    let (token_url, token_scope) = match pool {
        Some(pool) => (pool.token_url().map(str::to_owned), Some(pool.scope(&client.scopes))),
        None => (None, None),
    };
    let client_secret = secret.expose_secret().to_owned();
    let answer = answer(&ClientWithSecret { client, client_secret, token_url, token_scope });
    let remembered = answer.without("client_secret");
    once.commit_remembering(tx, answer, Some(&remembered)).await
}
