//! Tests of the whole product, and of the house.

#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "a test panics to fail; client modules are shared with the demo and servers with xtask, which use all of them"
)]

mod aws;
#[path = "../aws/account.rs"]
mod aws_account;
mod aws_in;
mod bad_input;
mod browser;
mod clients;
mod cognito;
mod crash;
mod demo;
mod events;
mod gateway;
mod harness;
mod isolation;
mod kill;
#[path = "../../xtask/src/postgres.rs"]
mod postgres;
mod power;
#[path = "../power_cut/mod.rs"]
mod power_cut;
#[path = "../power_cut/tests.rs"]
mod power_cut_tests;
mod process;
#[path = "../../xtask/src/programs.rs"]
mod programs;
mod queue;
mod readme;
mod real_data;
mod resources;
mod restored;
mod roles;
#[path = "../../xtask/src/selections.rs"]
mod selections;
#[path = "../short_disk/mod.rs"]
mod short_disk;
mod sources;
mod strangers;
mod tenants;
mod tidy;
