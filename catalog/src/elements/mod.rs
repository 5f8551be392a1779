//! Elements: the data sets of the catalog.

mod list;
mod names;
mod schemas;
mod statistics;
mod store;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use headgate_types::schema::{ElementKind, Schema};
use headgate_types::selection::Policy;
use headgate_types::{ElementId, FieldError, NodeId, TenantId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use list::{ElementFilter, list};
pub use names::{label_error, path_error, segment_error};
pub use schemas::{SchemaVersion, schema, visible_schema};
pub use statistics::{published_without_statistics_since, put_statistics, statistics};
pub use store::{find, get, insert, publish, remove, retire, retire_all, retired, update, visible};

/// Where an element is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ElementState {
    /// Ordered with its data-in channel; seen by its owner only.
    Provisioning,
    /// Seen by whoever it is granted to.
    Published,
    /// Withdrawn by its owner; seen by nobody else, its name is free again.
    Retired,
}

impl ElementState {
    /// The word in tables and documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Provisioning => "PROVISIONING",
            Self::Published => "PUBLISHED",
            Self::Retired => "RETIRED",
        }
    }
}

impl fmt::Display for ElementState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ElementState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "PROVISIONING" => Ok(Self::Provisioning),
            "PUBLISHED" => Ok(Self::Published),
            "RETIRED" => Ok(Self::Retired),
            other => Err(format!("unknown element state {other:?}")),
        }
    }
}

/// What an element is about. The first five are mandatory: a consumer picks by them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// The setting the data comes from, for example `weather stations of three airports`.
    pub context: String,
    /// What produces it, for example `NOAA ISD`.
    pub source: String,
    /// The format it is sent in, for example `CSV, hourly`.
    pub format: String,
    /// What a record says.
    pub what: String,
    /// What identifies a record.
    pub identified_by: String,
    /// More for a person choosing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The price tag: the key under which the rate card has prices for this element's records.
    /// Absent: the standard price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_key: Option<String>,
}

/// An element as it is ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ElementSpec {
    /// A path of its owner's, for example `weather/observations`; can be changed later, the id cannot.
    pub name: String,
    /// `events` or `entity`.
    pub kind: ElementKind,
    /// What it is about.
    pub metadata: Metadata,
    /// Version 1 of its schema: given, or inferred from a sample beforehand.
    pub schema: Schema,
    /// Facet values to select by, for example `{"region": "us-east"}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facets: BTreeMap<String, String>,
    /// The hierarchy nodes it sits at, of the owner's trees or the platform's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeId>,
}

impl ElementSpec {
    /// Everything that is wrong with the document by itself; pointers are relative to it.
    #[must_use]
    pub fn errors(&self) -> Vec<FieldError> {
        names::spec_errors(self)
    }
}

/// An element to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewElement {
    /// Its id, made by the caller so that a repeated step makes the same element.
    pub id: ElementId,
    /// Its owner.
    pub tenant: TenantId,
    /// The rest.
    pub spec: ElementSpec,
}

/// A change to an element by its owner; what is absent stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ElementChange {
    /// The path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The metadata, whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// The facets, whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facets: Option<BTreeMap<String, String>>,
    /// The nodes, whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Vec<NodeId>>,
}

/// A data set of the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Element {
    /// Its id; never changes and is never used again.
    pub id: ElementId,
    /// The tenant that provides it.
    pub owner: TenantId,
    /// The owner's path.
    pub name: String,
    /// What it is.
    pub kind: ElementKind,
    /// Where it is in its life.
    pub state: ElementState,
    /// What it is about.
    pub metadata: Metadata,
    /// Facet values.
    pub facets: BTreeMap<String, String>,
    /// The nodes it sits at.
    pub nodes: Vec<NodeId>,
    /// The current version of its schema.
    pub schema_version: u32,
    /// Counts its changes; the ETag.
    pub version: u64,
    /// When it was ordered.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// An element as one tenant sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisibleElement {
    /// The element.
    pub element: Element,
    /// What the tenant may see of it; everything, for its owner.
    pub policy: Policy,
    /// Whether the tenant is its owner.
    pub owned: bool,
}
