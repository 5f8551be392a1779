//! Tests of the whole product, and of the house.

#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "a test panics to fail; client modules are shared with the demo, which uses all of them"
)]

mod bad_input;
mod browser;
mod clients;
mod crash;
mod demo;
mod harness;
mod process;
mod readme;
mod real_data;
mod tenants;
mod tidy;
