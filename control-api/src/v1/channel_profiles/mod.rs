//! What can be ordered.

pub(crate) mod list;
