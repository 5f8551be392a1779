//! An element as one tenant sees it.

use chrono::{DateTime, Utc};
use headgate_catalog::{ElementState, Metadata, VisibleElement};
use headgate_types::schema::ElementKind;
use headgate_types::selection::Policy;
use headgate_types::{ElementId, NodeId, TenantId};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

use crate::http::etag::ETag;

/// A data set of the catalog.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ElementView {
    /// Its id; never changes.
    pub id: ElementId,
    /// The tenant that provides it.
    pub owner: TenantId,
    /// Whether that is you.
    pub owned: bool,
    /// The owner's path.
    pub name: String,
    /// What it is.
    pub kind: ElementKind,
    /// Where it is in its life. An open enum.
    pub state: ElementState,
    /// Context, source, format, what is sent, how a record is identified, and more.
    pub metadata: Metadata,
    /// Facet values.
    pub facets: BTreeMap<String, String>,
    /// The hierarchy nodes it sits at.
    pub nodes: Vec<NodeId>,
    /// The current version of its schema.
    pub schema_version: u32,
    /// What the grant lets you see of it; absent for its owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
    /// When it was ordered.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    #[serde(skip)]
    version: u64,
}

impl ElementView {
    /// The tag of what its owner can change.
    pub(crate) fn etag(&self) -> ETag {
        ETag::version(self.version)
    }
}

impl From<VisibleElement> for ElementView {
    fn from(visible: VisibleElement) -> Self {
        let element = visible.element;
        Self {
            id: element.id,
            owner: element.owner,
            owned: visible.owned,
            name: element.name,
            kind: element.kind,
            state: element.state,
            metadata: element.metadata,
            facets: element.facets,
            nodes: element.nodes,
            schema_version: element.schema_version,
            policy: (!visible.owned).then_some(visible.policy),
            created_at: element.created_at,
            updated_at: element.updated_at,
            version: element.version,
        }
    }
}
