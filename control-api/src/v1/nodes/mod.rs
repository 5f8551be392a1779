//! The hierarchies elements are found in.

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod list;
