//! Who may do what: tenants, clients, identities of other issuers, scopes, tokens, channel credentials, secrets at rest, the
//! audit log, and the filter in front of every address a tenant can name.
//!
//! Called by the control API (tokens, callers, tenants, clients), provisioning (credentials), the
//! engine (channel keys, signing secrets, outbound calls) and events (sealed secrets, outbound
//! calls). It never knows channels beyond their id, nor records, orders or prices.
//!
//! [`Access`] holds what needs keys or memory; everything else is plain functions on a transaction
//! that the caller opened. After committing a change of a tenant or a client, call
//! [`Access::forget`], so that this process sees it at once; others see it within five seconds.

mod access;
pub mod audit;
mod bootstrap;
mod caller;
pub mod clients;
pub mod credentials;
mod envelope;
mod error;
mod foreign;
#[cfg(test)]
#[path = "../../../tests/fuzz/mod.rs"]
mod fuzz;
pub mod identities;
mod issuer;
pub mod outbound;
mod pool;
mod scopes;
mod seal;
pub mod tenants;
#[cfg(test)]
mod tests;
mod text;

pub use access::{Access, AccessConfig};
pub use bootstrap::is_fresh;
pub use caller::{AdminCaller, Principal, TenantCaller};
pub use credentials::{AccessKeys, Credential, CredentialKind, CredentialState, Issued, Revealed, VerifiedKey};
pub use envelope::{Envelope, MasterKey};
pub use error::AccessError;
pub use foreign::{ForeignIssuer, GROUPS_CLAIM, Profile};
pub use issuer::{Jwk, Jwks, TokenResponse, network};
pub use pool::{ClientPool, PoolError, PoolLogin, PoolMember, PoolSweep};
pub use scopes::{Scope, Scopes};
pub use seal::Seal;
pub use tenants::PLATFORM;
