//! The promises of orders, on both databases.

mod aws;
mod changes;
mod crash;
mod create;
mod delete;
mod driver;
mod engine;
mod exclusion;
mod failing;
mod hours;
mod leases;
mod setup;
mod sweep;
mod world;

use world::World;
