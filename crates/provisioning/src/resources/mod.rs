//! What drivers made, written down before they act, and the sweep that removes what was left over.

pub(crate) mod store;
mod sweep;

pub(crate) use store::ResourceState;
pub use sweep::Sweep;
