//! The CloudFormation driver and its orders, against the account for tests (`tests/aws/shim`).

mod account;
mod crash;
mod driver;
mod faults;
mod keys;
mod many;
mod rights;
mod stores;
mod world;

pub(super) use account::Account;
