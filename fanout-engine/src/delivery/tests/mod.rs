//! What delivery promises, with a lake, both databases and a target that misbehaves on demand.

pub mod bench;
mod promises;
mod routing;
mod target;
