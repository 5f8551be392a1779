//! Channel profiles: one folder each, behind two traits, listed once in [`REGISTRY`].
//!
//! A technology knows how its target is written and read, and nothing else. Retry, batching,
//! limits, quotas, metering and metrics live in `ingest/` and `delivery/`: a sink does one write
//! and maps its failure to [`SinkError::Retry`] or [`SinkError::Reject`].

mod cloud;
mod conditional;
mod contract;
mod lanes;
mod problem;
mod served;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub mod api;
pub mod file;
pub mod http;
pub mod queue;
pub mod stream;
pub mod webhook;

pub use contract::{
    Committed, Delivery, FlowKey, Flush, OpenChannel, Opened, OutputElement, Rest, Secrets, Sink, SinkError, Slice,
    Technology, Written,
};
pub use problem::problem;
pub use served::{Read, Reads, Served, ServedChannels};

use headgate_types::technology::TechnologyDescriptor;

/// Every technology. The only place that lists them.
pub static REGISTRY: &[&dyn Technology] =
    &[&http::Http, &api::Api, &file::File, &queue::Queue, &stream::Stream, &webhook::Webhook];

/// The technology with this key or alias.
#[must_use]
pub fn by_key(key: &str) -> Option<&'static dyn Technology> {
    REGISTRY.iter().copied().find(|technology| {
        let descriptor = technology.descriptor();
        descriptor.key == key || descriptor.aliases.iter().any(|alias| alias == key)
    })
}

/// The descriptors of every technology, in registry order.
#[must_use]
pub fn descriptors() -> Vec<TechnologyDescriptor> {
    REGISTRY.iter().map(|technology| technology.descriptor()).collect()
}
