//! The only way to reach an address that a tenant named.
//!
//! A name is resolved, its addresses are filtered, and the connection goes to a filtered address:
//! what was checked is what is used, so an answer that changes between check and use gains
//! nothing. No redirects, no proxies.

mod client;
mod policy;

pub use client::{Answer, GuardedClient};
pub use policy::{OutboundError, OutboundPolicy};
