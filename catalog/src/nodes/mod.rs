//! The hierarchies elements are found in: several trees, each of nodes with an id, a name and a
//! path. Trees belong to the tenant that made them; those of [`PLATFORM`] are everybody's.

mod store;

use chrono::{DateTime, Utc};
use headgate_types::{NodeId, TenantId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

pub(crate) use store::ancestors;
pub use store::{get, insert, list, remove};

/// The owner of the platform's own trees, which every tenant sees and may place elements in.
pub const PLATFORM: TenantId = TenantId::from_uuid(Uuid::nil());

/// The deepest a tree may be.
pub const MAX_DEPTH: u32 = 16;

/// A node of a hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Whose tree it is in.
    pub owner: TenantId,
    /// The node above; none for a root.
    pub parent: Option<NodeId>,
    /// The tree, for example `topic` or `geography`.
    pub tree: String,
    /// The last segment of the path.
    pub name: String,
    /// The names from the root down, for example `europe/germany`.
    pub path: String,
    /// 1 for a root.
    pub depth: u32,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// A node to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNode {
    /// Whose tree it is in.
    pub owner: TenantId,
    /// The node above, of the same owner; none for a root.
    pub parent: Option<NodeId>,
    /// The tree; a child is in its parent's.
    pub tree: String,
    /// The name below the parent.
    pub name: String,
}
