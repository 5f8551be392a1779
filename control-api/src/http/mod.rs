//! What every endpoint shares: how requests are read and how answers leave.

pub(crate) mod audit;
pub mod body;
pub(crate) mod caller;
pub mod etag;
pub mod finish;
pub mod idempotency;
pub(crate) mod list;
pub mod page;
pub mod problem;
pub mod query;
pub mod rate;
pub(crate) mod tenant_limits;
