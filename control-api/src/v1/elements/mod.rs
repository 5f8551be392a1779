//! What there is to order.

pub(crate) mod check;
pub(crate) mod get;
pub(crate) mod grants;
pub(crate) mod list;
pub(crate) mod view;
