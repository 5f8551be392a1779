//! Client organisations: the unit of isolation, quota and billing.
//!
//! Functions that create or change a tenant act for it from there on (row-level security), so an
//! administrator's transaction that goes on with another tenant calls `act_for` itself.

mod store;

use chrono::{DateTime, Utc};
use headgate_database::{Tx, args};
use headgate_types::filter::Filter;
use headgate_types::{SharedClock, TenantId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::error::AccessError;
use crate::text::checked_name;

/// The nil tenant, under which the platform's own rows stand. It is nobody's, and no tenant has it.
pub const PLATFORM: TenantId = TenantId::from_uuid(Uuid::nil());

/// Where a tenant is in its life. An open enum: readers must expect new words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TenantState {
    /// May do what its clients' scopes allow.
    Active,
    /// Stopped by the platform; nothing is removed.
    Suspended,
    /// Gone for good; its usage and audit rows stay.
    Offboarded,
}

impl TenantState {
    /// The word in tables and documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Suspended => "SUSPENDED",
            Self::Offboarded => "OFFBOARDED",
        }
    }

    pub(crate) fn from_word(word: &str) -> Self {
        match word {
            "ACTIVE" => Self::Active,
            "OFFBOARDED" => Self::Offboarded,
            // Closed is the safe reading of a word from a newer version.
            _ => Self::Suspended,
        }
    }
}

/// What a tenant may use; absent means unlimited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Quotas {
    /// Channels that are not deleted, at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_channels: Option<u32>,
    /// Bytes delivered per calendar month (UTC). Beyond it every data-out channel of the tenant is
    /// held until the month ends or the quota is raised. It is looked at every few seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_month: Option<u64>,
    /// Bytes accepted by data-in channels per calendar month (UTC). Beyond it they answer 429. It is
    /// looked at every few seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingest_bytes_per_month: Option<u64>,
    /// Control API requests per second, over all clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u32>,
}

/// A client organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// What people call it; need not be unique.
    pub name: String,
    /// Where it is in its life.
    pub state: TenantState,
    /// What it may use.
    pub quotas: Quotas,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// Creates a tenant, ACTIVE.
///
/// # Errors
/// When the name does not serve, or the database fails.
pub async fn create(tx: &mut Tx, name: &str, quotas: Quotas, clock: &SharedClock) -> Result<Tenant, AccessError> {
    let name = checked_name("/name", name).map_err(|error| AccessError::Invalid(vec![error]))?;
    let now = clock.now();
    let tenant =
        Tenant { id: TenantId::new(), name, state: TenantState::Active, quotas, created_at: now, updated_at: now };
    tx.act_for(tenant.id).await?;
    store::insert(tx, &tenant).await?;
    Ok(tenant)
}

/// One tenant.
///
/// # Errors
/// [`AccessError::NotFound`] when there is none.
pub async fn get(tx: &mut Tx, id: TenantId) -> Result<Tenant, AccessError> {
    store::find(tx, id).await?.ok_or(AccessError::NotFound("tenant"))
}

/// One tenant, as it stays to the end of the transaction. `None` while another transaction changes
/// it: nobody waits here, so that nobody waits in a circle.
///
/// # Errors
/// [`AccessError::NotFound`] when there is none.
pub async fn hold(tx: &mut Tx, id: TenantId) -> Result<Option<Tenant>, AccessError> {
    if store::share(tx, id).await? { get(tx, id).await.map(Some) } else { Ok(None) }
}

/// Tenants in the order of their creation, after `after`. Filterable: `id`, `name`, `state`,
/// `created_at`.
///
/// # Errors
/// When the filter does not fit, or the database fails.
pub async fn list(
    tx: &mut Tx,
    filter: Option<&Filter>,
    after: Option<TenantId>,
    limit: u32,
) -> Result<Vec<Tenant>, AccessError> {
    store::list(tx, filter, after, limit).await
}

/// The tenants that may do something and have a quota of bytes per month.
///
/// # Errors
/// When the database fails.
pub async fn with_monthly_quota(tx: &mut Tx) -> Result<Vec<Tenant>, AccessError> {
    Ok(store::with_monthly_quota(tx).await?)
}

/// The tenants that were ended.
///
/// # Errors
/// When the database fails.
pub async fn offboarded(tx: &mut Tx) -> Result<Vec<TenantId>, AccessError> {
    Ok(store::offboarded(tx).await?)
}

/// Replaces what a tenant may use.
///
/// # Errors
/// [`AccessError::NotFound`], [`AccessError::TenantOffboarded`].
pub async fn set_quota(tx: &mut Tx, id: TenantId, quotas: Quotas, clock: &SharedClock) -> Result<Tenant, AccessError> {
    tx.act_for(id).await?;
    if store::set_quotas(tx, id, &quotas, clock.now()).await? == 0 {
        return Err(missing_or_offboarded(tx, id).await);
    }
    get(tx, id).await
}

/// Stops a tenant: its tokens and channel keys are refused until [`resume`]. Repeatable.
///
/// # Errors
/// [`AccessError::NotFound`], [`AccessError::TenantOffboarded`].
pub async fn suspend(tx: &mut Tx, id: TenantId, clock: &SharedClock) -> Result<Tenant, AccessError> {
    transition(tx, id, TenantState::Suspended, clock).await
}

/// Lets a suspended tenant go on. Repeatable.
///
/// # Errors
/// [`AccessError::NotFound`], [`AccessError::TenantOffboarded`].
pub async fn resume(tx: &mut Tx, id: TenantId, clock: &SharedClock) -> Result<Tenant, AccessError> {
    transition(tx, id, TenantState::Active, clock).await
}

/// Ends a tenant for good: revokes every client and unbinds everybody of other issuers. Its channels are deleted by orders, which the
/// caller places. Repeatable.
///
/// # Errors
/// [`AccessError::NotFound`].
pub async fn offboard(tx: &mut Tx, id: TenantId, clock: &SharedClock) -> Result<Tenant, AccessError> {
    tx.act_for(id).await?;
    let now = clock.now();
    if store::set_state(tx, id, TenantState::Offboarded, now).await? == 0 {
        // Not an error when it is offboarded already.
        return get(tx, id).await;
    }
    crate::clients::revoke_all(tx, id, now).await?;
    crate::identities::remove_all(tx, id).await?;
    get(tx, id).await
}

/// Nothing more is made for a tenant that has ended; the platform never does.
pub(crate) async fn refuse_ended(tx: &mut Tx, id: Option<TenantId>) -> Result<(), AccessError> {
    match id {
        Some(id) if get(tx, id).await?.state == TenantState::Offboarded => Err(AccessError::TenantOffboarded),
        _ => Ok(()),
    }
}

async fn transition(tx: &mut Tx, id: TenantId, to: TenantState, clock: &SharedClock) -> Result<Tenant, AccessError> {
    tx.act_for(id).await?;
    if store::set_state(tx, id, to, clock.now()).await? == 0 {
        return Err(missing_or_offboarded(tx, id).await);
    }
    get(tx, id).await
}

async fn missing_or_offboarded(tx: &mut Tx, id: TenantId) -> AccessError {
    match get(tx, id).await {
        Ok(_) => AccessError::TenantOffboarded,
        Err(error) => error,
    }
}

/// Makes the rest of the transaction the only one that appends to `tenant`'s ordered tables (the
/// audit chain, the event sequence), so that two such appends cannot wait for each other. Held to
/// the end of the transaction: take it late.
///
/// # Errors
/// When the database fails.
pub async fn lock(tx: &mut Tx, tenant: TenantId) -> Result<(), AccessError> {
    // SQLite has one writer at a time. The last 64 bits of a UUIDv7 are chance; two tenants that
    // collide wait for each other, nothing worse.
    if tx.dialect() == headgate_database::Dialect::Postgres {
        let key = tenant.uuid().as_u64_pair().1.cast_signed();
        tx.execute("SELECT pg_advisory_xact_lock($1)", args![key]).await?;
    }
    Ok(())
}
