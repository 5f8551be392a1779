//! The words of Headgate: ids, time, units, schemas, models, errors, descriptors of technologies
//! and the engine's internal API as a trait.
//!
//! Every other crate imports this one; it imports none of them and performs no I/O. It never
//! knows SQL, HTTP or files: an error here has a kind and a code, a binding is a URL, and who
//! stores or serves them is somebody else's business.

pub mod byte_size;
pub mod channel;
pub mod checksum;
pub mod clock;
pub mod duration;
pub mod engine;
pub mod error;
pub mod failpoint;
pub mod filter;
#[cfg(test)]
#[path = "../../../tests/fuzz/mod.rs"]
mod fuzz;
#[cfg(test)]
mod fuzzed;
pub mod id;
pub mod idempotency;
pub mod limits;
pub mod model;
pub mod page;
pub mod problem;
pub mod schema;
pub mod selection;
pub mod technology;
pub mod timing;

pub use clock::{Clock, FakeClock, SharedClock, SystemClock};
pub use error::{Coded, ErrorKind, FieldError};
pub use failpoint::{Failpoint, reach};
pub use id::*;
pub use problem::Problem;
