//! Logins of tenants' clients in an Amazon Cognito user pool: one app client each, with the scopes of a
//! resource server.
//!
//! Called by the control API through [`headgate_access::ClientPool`]; made by the binary where the operator
//! names a pool, and only there. It never knows tenants, tables or tokens: what an app client's token is
//! worth, access decides.

mod failure;
mod pool;
mod settings;

pub use pool::CognitoPool;
pub use settings::{CognitoSettings, SettingsError, region_of};
