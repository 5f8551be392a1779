//! What a data-out channel carries: the `data` of an order.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::{ElementId, NodeId};
use crate::model::OutputModel;

/// One item of `data`: exactly one of `element`, `node` and `facets`, with its scope.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SelectionItem {
    /// One element.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub element: Option<ElementId>,
    /// Every visible element at or below this hierarchy node, future ones included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// Every visible element with all of these facet values, future ones included.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facets: BTreeMap<String, String>,
    /// SQL predicate over the element's fields: the row scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// The column scope. Empty: every column the caller may see.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// The output model for this item, in place of the order's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_data_model: Option<OutputModel>,
}

/// What a provider lets a grantee see of an element. AND-ed into every scope.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// SQL predicate over the element's fields. Absent: every row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// The columns the grantee may see. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
}

/// One element of a channel after the selection was resolved: what the engine compiles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// The element.
    pub element: ElementId,
    /// The name of the table, file prefix or path segment the receiver sees.
    pub name: String,
    /// The row predicate of the selection item.
    pub filter: Option<String>,
    /// The columns of the selection item; empty: all.
    pub columns: Vec<String>,
    /// What the grant allows.
    pub policy: Policy,
    /// The output model, pinned.
    pub model: OutputModel,
    /// Revision of the output model, part of the plan's identity.
    pub model_version: u32,
}
