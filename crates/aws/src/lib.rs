//! How AWS is asked, in one place: where it is reached and how patiently, under which role, and what its
//! errors mean.
//!
//! Used by whoever makes stacks, app clients or sessions with the resources of channels; each of them brings
//! the service's own client, and says in its own words what a failure comes to. It never knows a service,
//! and asks nothing of AWS but what credentials need.

mod failure;
mod reach;
pub mod testing;

pub use aws_config::SdkConfig;
pub use failure::{Failure, Kind};
pub use reach::{Patience, Reach, Role};
