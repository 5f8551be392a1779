//! What the clients, groups and people of other issuers are here. A token of such an issuer leads to a tenant
//! by these rows and by nothing else.

mod store;

use chrono::{DateTime, Utc};
use headgate_database::Tx;
use headgate_types::{ClientId, FieldError, IdentityId, TenantId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::Access;
use crate::error::AccessError;
use crate::foreign::{MAX_NAME_BYTES, is_name};
use crate::scopes::Scopes;
use crate::tenants::{self, PLATFORM};

pub(crate) use store::{Bound, find_bound, remove_all};

/// How many identities one tenant can have.
pub const MAX_IDENTITIES: usize = 200;

/// What of a token an identity is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum IdentityKind {
    /// A machine, by its `client_id`.
    Client,
    /// The people of a group.
    Group,
    /// One person, or a service without a client of its own, by `sub`.
    Subject,
}

impl IdentityKind {
    const ALL: [Self; 3] = [Self::Client, Self::Group, Self::Subject];

    /// The word in tables and documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Group => "group",
            Self::Subject => "subject",
        }
    }

    /// None for a word that this version does not know: such a row binds nobody.
    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// Somebody of another issuer, bound to a tenant or to the platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Identity {
    /// Its id.
    pub id: IdentityId,
    /// Whom it acts for; none for the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// The `iss` of its tokens.
    pub issuer: String,
    /// What of a token it is found by.
    pub kind: IdentityKind,
    /// The `client_id`, group or `sub`.
    pub name: String,
    /// What its bearer may do at most.
    pub scopes: Scopes,
    /// When it was bound.
    pub created_at: DateTime<Utc>,
}

/// Somebody to be bound.
#[derive(Debug, Clone)]
pub struct NewIdentity {
    /// Whom it acts for; none for the platform.
    pub tenant: Option<TenantId>,
    /// The `iss` of its tokens: one of the configured issuers.
    pub issuer: String,
    /// What of a token it is found by.
    pub kind: IdentityKind,
    /// The `client_id`, group or `sub`.
    pub name: String,
    /// What its bearer may do at most.
    pub scopes: Scopes,
}

impl Access {
    /// Binds somebody of another issuer. The transaction acts for the tenant (`act_for`), or for [`PLATFORM`].
    ///
    /// # Errors
    /// [`AccessError::Invalid`], [`AccessError::AlreadyExists`] when it is bound already, to whomever.
    pub async fn bind(&self, tx: &mut Tx, new: NewIdentity) -> Result<Identity, AccessError> {
        let mut wrong = Vec::new();
        if !self.0.foreign.is_known(&new.issuer) {
            let detail = "no issuer of this name is configured; it is compared letter by letter";
            wrong.push(FieldError::new("/issuer", "unknown_issuer", detail));
        }
        if !is_name(&new.name) {
            let detail = format!("a name has 1 to {MAX_NAME_BYTES} bytes and no control characters");
            wrong.push(FieldError::new("/name", "invalid_name", detail));
        }
        wrong.extend(new.scopes.errors(new.tenant, "an identity", "identities"));
        if !wrong.is_empty() {
            return Err(AccessError::Invalid(wrong));
        }
        tenants::refuse_ended(tx, new.tenant).await?;
        let owner = new.tenant.unwrap_or(PLATFORM);
        if store::list(tx, owner).await?.len() >= MAX_IDENTITIES {
            let detail = format!("a tenant has at most {MAX_IDENTITIES} identities; bind a group instead");
            return Err(AccessError::Invalid(vec![FieldError::new("", "too_many_identities", detail)]));
        }
        let NewIdentity { tenant, issuer, kind, name, scopes } = new;
        let created_at = self.0.clock.now();
        let identity = Identity { id: IdentityId::new(), tenant, issuer, kind, name, scopes, created_at };
        if !store::insert(tx, owner, &identity, None).await? {
            return Err(AccessError::AlreadyExists("identity"));
        }
        Ok(identity)
    }
}

/// The identities of a tenant (none: of the platform), oldest first; app clients of its own clients are
/// not among them.
///
/// # Errors
/// When the database fails.
pub async fn list(tx: &mut Tx, tenant: Option<TenantId>) -> Result<Vec<Identity>, AccessError> {
    Ok(store::list(tx, tenant.unwrap_or(PLATFORM)).await?)
}

/// Unbinds: its tokens are refused. Returns what it was.
///
/// # Errors
/// [`AccessError::NotFound`].
pub async fn unbind(tx: &mut Tx, tenant: Option<TenantId>, id: IdentityId) -> Result<Identity, AccessError> {
    let owner = tenant.unwrap_or(PLATFORM);
    let found = store::list(tx, owner).await?.into_iter().find(|identity| identity.id == id);
    let found = found.ok_or(AccessError::NotFound("identity"))?;
    store::remove(tx, owner, id).await?;
    Ok(found)
}

/// An app client that stands for a client of ours at a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppClient {
    /// Its row here.
    pub id: IdentityId,
    /// Whose client.
    pub tenant: TenantId,
    /// The client of ours.
    pub client: ClientId,
    /// The `iss` of its tokens.
    pub issuer: String,
    /// Its `client_id` at the issuer.
    pub client_id: String,
}

/// Lets a client of ours log in by an app client from now on; one that it had before is good until
/// `previous_until`. The transaction acts for the client's tenant.
///
/// # Errors
/// When the database fails.
pub async fn attach(
    tx: &mut Tx,
    app: &AppClient,
    previous_until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(), AccessError> {
    store::retire(tx, app.tenant, app.client, previous_until, now).await?;
    let identity = Identity {
        id: app.id,
        tenant: Some(app.tenant),
        issuer: app.issuer.clone(),
        kind: IdentityKind::Client,
        name: app.client_id.clone(),
        scopes: Scopes::default(),
        created_at: now,
    };
    match store::insert(tx, app.tenant, &identity, Some(app.client)).await? {
        true => Ok(()),
        false => Err(AccessError::AlreadyExists("identity")),
    }
}

/// Forgets an app client that is gone from its pool. The transaction acts for its tenant.
///
/// # Errors
/// When the database fails.
pub async fn detach(tx: &mut Tx, app: &AppClient) -> Result<(), AccessError> {
    Ok(store::remove(tx, app.tenant, app.id).await?)
}

/// The app clients that stand for one client, those that were replaced included.
///
/// # Errors
/// When the database fails.
pub async fn app_clients_of(tx: &mut Tx, tenant: TenantId, client: ClientId) -> Result<Vec<AppClient>, AccessError> {
    Ok(store::app_clients_of(tx, tenant, client).await?)
}

/// The app clients of an issuer, and whether each is still good at `now`.
///
/// # Errors
/// When the database fails.
pub async fn app_clients(tx: &mut Tx, issuer: &str, now: DateTime<Utc>) -> Result<Vec<(AppClient, bool)>, AccessError> {
    Ok(store::app_clients(tx, issuer, now).await?)
}
