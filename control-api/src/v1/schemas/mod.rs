//! Schemas from samples.

pub(crate) mod infer;
