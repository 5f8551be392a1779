//! Who may see an element, and what of it. Without a grant it is its owner's alone.

mod store;

use chrono::{DateTime, Utc};
use headgate_types::selection::Policy;
use headgate_types::{ElementId, GrantId, TenantId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use store::{get, grant, list, policy_for, revoke};
pub(crate) use store::{policies, revoke_all};

/// Whom an element is granted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Grantee {
    /// One tenant.
    Tenant(TenantId),
    /// Every tenant, future ones included.
    Public,
}

/// A grant. Where a tenant has one by name and one as everybody, the one by name counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Grant {
    /// Its id.
    pub id: GrantId,
    /// The element's owner.
    pub owner: TenantId,
    /// The element.
    pub element: ElementId,
    /// Whom it is granted to.
    pub grantee: Grantee,
    /// What of it may be seen.
    pub policy: Policy,
    /// When it was first given.
    pub created_at: DateTime<Utc>,
    /// When its policy last changed.
    pub updated_at: DateTime<Utc>,
}

/// A grant to be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGrant {
    /// The element's owner.
    pub owner: TenantId,
    /// The element.
    pub element: ElementId,
    /// Whom to grant it to.
    pub grantee: Grantee,
    /// What of it may be seen. Its predicate is compiled by the engine; let it check first.
    pub policy: Policy,
}
