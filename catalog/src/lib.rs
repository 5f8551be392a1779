//! What there is and where it goes: elements with their schemas, hierarchy, facets and grants;
//! channels with their feeds, subscriptions, lanes and conditions.
//!
//! Here the planes meet: provisioning writes what is desired of a channel, the engine writes what is
//! observed, and each reads the other's half from these tables. Called by the control API,
//! provisioning and the engine; emits no events itself, because only its callers know why.
//!
//! It never knows orders, records or money. Every function takes an open transaction and never
//! commits; every statement names the tenant, because SQLite has no row-level security under it.

pub mod channels;
pub mod elements;
mod error;
pub mod feeds;
pub mod grants;
pub mod nodes;
mod row;
pub mod subscriptions;
#[cfg(test)]
mod tests;

pub use channels::{
    Channel, ChannelSpec, Condition, Desired, FeedSpec, History, InSpec, Lanes, NewChannel, OutSpec, SpecChange,
};
pub use elements::{Element, ElementSpec, ElementState, Metadata, NewElement, SchemaVersion, VisibleElement};
pub use error::CatalogError;
pub use feeds::Feed;
pub use grants::{Grant, Grantee, NewGrant};
pub use nodes::{NewNode, Node, PLATFORM};
pub use subscriptions::{Refreshed, Subscription};
