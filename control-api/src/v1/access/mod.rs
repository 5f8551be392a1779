//! Tokens, keys, and the one-time reveal of credentials.

pub(crate) mod jwks;
pub(crate) mod reveal;
pub(crate) mod token;
