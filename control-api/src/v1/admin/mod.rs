//! Running the platform.

mod app_clients;
pub(crate) mod clients;
pub(crate) mod grants;
pub(crate) mod identities;
pub(crate) mod lifecycle;
pub(crate) mod lists;
pub(crate) mod quota;
pub(crate) mod rate_cards;
pub(crate) mod tenants;
