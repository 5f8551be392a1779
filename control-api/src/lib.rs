//! The control API.

pub mod http;
