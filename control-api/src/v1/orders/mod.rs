//! Orders: what was asked for, and how far it is.

pub(crate) mod cancel;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod view;
