//! What was used and what it costs.

pub(crate) mod export;
pub(crate) mod invoice;
pub(crate) mod list;
mod month;
