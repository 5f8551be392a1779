//! The control API: `/v1`, its OpenAPI document and Swagger UI.
//!
//! The binary builds an [`ApiState`] and serves [`router`]. Owns the table of idempotency keys and
//! nothing else: every other row is read and written through the crate that owns it. It never
//! knows a technology's code or the lake's files; the engine is reached only through
//! [`headgate_types::engine::Engine`].

pub mod error_pages;
#[cfg(test)]
#[path = "../../tests/fuzz/mod.rs"]
mod fuzz;
pub mod http;
mod openapi;
mod request_meter;
mod router;
mod service;
mod snippets;
mod state;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod v1;

pub use http::rate::{Quota, RateLimits};
pub use router::{openapi, openapi_json, router};
pub use state::{ApiConfig, ApiParts, ApiState};
