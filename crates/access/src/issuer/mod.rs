//! The built-in issuer: client credentials in (RFC 6749 section 4.4), access tokens out (RFC 9068),
//! and the other way round.

mod keys;
mod limits;
mod store;
mod token;
mod verify;

pub(crate) use keys::SigningKeys;
pub use keys::{Jwk, Jwks};
pub use limits::network;
pub(crate) use token::TOKEN_TYPE;
pub use token::TokenResponse;
pub(crate) use verify::{Audience, LEEWAY, MAX_TOKEN_BYTES, reason};
