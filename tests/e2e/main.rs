//! Tests of the whole product, and of the house.

#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "a test panics to fail; client modules are shared with the demo and servers with xtask, which use all of them"
)]

mod crash;
mod demo;
mod harness;
#[path = "../../xtask/src/postgres.rs"]
mod postgres;
#[path = "../../xtask/src/programs.rs"]
mod programs;
mod real_data;
mod tidy;
