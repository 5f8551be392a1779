//! Machine clients: what logs in at the token endpoint, or at a pool.

mod store;

use chrono::{DateTime, TimeDelta, Utc};
use headgate_database::Tx;
use headgate_types::{ClientId, FieldError, SharedClock, TenantId};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::AccessError;
use crate::identities::{self, AppClient};
use crate::scopes::Scopes;
use crate::tenants::{self, PLATFORM};
use crate::text::{checked_name, new_secret, secret_hash};

pub(crate) use store::{LoginRow, find_for_login, owner, scopes};

const SECRET_PREFIX: &str = "hgs_";
/// How many clients one tenant can have that are not revoked.
pub const MAX_CLIENTS: usize = 100;

/// Where a client logs in that has its login at another issuer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Login {
    /// The `iss` of its tokens.
    pub issuer: String,
    /// Its `client_id` there.
    pub client_id: String,
}

/// A machine client. Its secret is shown once, when it is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Client {
    /// The `client_id` at the token endpoint, unless it has a `login`.
    pub id: ClientId,
    /// Whose client it is; none for a platform administrator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// What people call it.
    pub name: String,
    /// What its tokens can have at most.
    pub scopes: Scopes,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<DateTime<Utc>>,
    /// Where it logs in; absent: at the built-in issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<Login>,
}

/// A client to be created.
#[derive(Debug, Clone)]
pub struct NewClient {
    /// Whose client; none for a platform administrator.
    pub tenant: Option<TenantId>,
    /// What people call it.
    pub name: String,
    /// What its tokens can have at most.
    pub scopes: Scopes,
}

/// Creates a client; the secret is not kept and cannot be shown again. The transaction acts for
/// the client's tenant (`act_for`), or for [`PLATFORM`].
///
/// # Errors
/// When name or scopes do not serve, the tenant is unknown or offboarded, or it has too many.
pub async fn create(tx: &mut Tx, new: NewClient, clock: &SharedClock) -> Result<(Client, SecretString), AccessError> {
    let name = check(tx, &new).await?;
    let secret = new_secret(SECRET_PREFIX);
    let client = client(ClientId::new(), new, name, clock);
    store::insert(tx, client.tenant.unwrap_or(PLATFORM), &client, &secret_hash(&secret)).await?;
    Ok((client, secret))
}

/// Creates a client that logs in by an app client of a pool, made before. The transaction acts for its
/// tenant.
///
/// # Errors
/// As [`create`].
pub async fn create_in_pool(
    tx: &mut Tx,
    new: NewClient,
    app: &AppClient,
    clock: &SharedClock,
) -> Result<Client, AccessError> {
    let name = check(tx, &new).await?;
    let mut client = client(app.client, new, name, clock);
    // No secret has this hash, so the built-in issuer lets nobody in.
    store::insert(tx, app.tenant, &client, &[]).await?;
    identities::attach(tx, app, client.created_at, client.created_at).await?;
    client.login = Some(Login { issuer: app.issuer.clone(), client_id: app.client_id.clone() });
    Ok(client)
}

fn client(id: ClientId, new: NewClient, name: String, clock: &SharedClock) -> Client {
    let NewClient { tenant, scopes, .. } = new;
    Client { id, tenant, name, scopes, created_at: clock.now(), revoked_at: None, login: None }
}

/// Checks whether a client could be created, and returns its name as it will be kept.
///
/// # Errors
/// As [`create`].
pub async fn check(tx: &mut Tx, new: &NewClient) -> Result<String, AccessError> {
    let mut wrong = Vec::new();
    let name = checked_name("/name", &new.name).map_err(|error| wrong.push(error)).unwrap_or_default();
    wrong.extend(new.scopes.errors(new.tenant, "a client", "clients"));
    if !wrong.is_empty() {
        return Err(AccessError::Invalid(wrong));
    }
    tenants::refuse_ended(tx, new.tenant).await?;
    let owner = new.tenant.unwrap_or(PLATFORM);
    if store::list(tx, owner).await?.iter().filter(|client| client.revoked_at.is_none()).count() >= MAX_CLIENTS {
        let detail = format!("a tenant has at most {MAX_CLIENTS} clients; revoke one first");
        return Err(AccessError::Invalid(vec![FieldError::new("", "too_many_clients", detail)]));
    }
    Ok(name)
}

/// The clients of a tenant (none: of the platform), oldest first, revoked ones included.
///
/// # Errors
/// When the database fails.
pub async fn list(tx: &mut Tx, tenant: Option<TenantId>) -> Result<Vec<Client>, AccessError> {
    Ok(store::list(tx, tenant.unwrap_or(PLATFORM)).await?)
}

/// One client of a tenant (none: of the platform).
///
/// # Errors
/// [`AccessError::NotFound`].
pub async fn get(tx: &mut Tx, tenant: Option<TenantId>, id: ClientId) -> Result<Client, AccessError> {
    let client = store::find(tx, tenant.unwrap_or(PLATFORM), id).await?;
    client.ok_or(AccessError::NotFound("client"))
}

/// Revokes a client: no new tokens, and those it has are refused. Repeatable.
///
/// # Errors
/// [`AccessError::NotFound`].
pub async fn revoke(
    tx: &mut Tx,
    tenant: Option<TenantId>,
    id: ClientId,
    clock: &SharedClock,
) -> Result<Client, AccessError> {
    store::revoke(tx, tenant.unwrap_or(PLATFORM), id, clock.now()).await?;
    get(tx, tenant, id).await
}

/// Gives a client a new secret; the one before it is good for `grace` more.
///
/// # Errors
/// [`AccessError::NotFound`], also for a revoked client.
pub async fn rotate_secret(
    tx: &mut Tx,
    tenant: Option<TenantId>,
    id: ClientId,
    grace: TimeDelta,
    clock: &SharedClock,
) -> Result<(Client, SecretString), AccessError> {
    let secret = new_secret(SECRET_PREFIX);
    let until = clock.now() + grace;
    if store::rotate(tx, tenant.unwrap_or(PLATFORM), id, &secret_hash(&secret), until).await? == 0 {
        return Err(AccessError::NotFound("client"));
    }
    Ok((get(tx, tenant, id).await?, secret))
}

pub(crate) async fn revoke_all(tx: &mut Tx, tenant: TenantId, now: DateTime<Utc>) -> Result<(), AccessError> {
    Ok(store::revoke_all(tx, tenant, now).await?)
}
