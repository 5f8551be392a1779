//! What every endpoint shares: how requests are read and how answers leave.

pub mod body;
pub mod etag;
pub mod finish;
pub mod idempotency;
pub mod page;
pub mod problem;
pub mod query;
pub mod rate;
