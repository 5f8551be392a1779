//! Where a file channel's files are.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::store::{NewFile, Store};
use crate::technology::{FlowKey, SinkError};

/// Files that are complete when they are visible, and how far each flow is in them: a directory or a bucket.
#[async_trait]
pub trait Files: fmt::Debug + Send + Sync {
    /// The last offset of a flow that is in a visible file.
    async fn cursor(&self, flow: FlowKey) -> Result<u64, SinkError>;

    /// Moves a flow's cursor over a range without records.
    async fn skip(&self, flow: FlowKey, to: u64) -> Result<(), SinkError>;

    /// Makes a range visible as one file. It begins behind `after`, where the flow's cursor must be.
    async fn publish(&self, file: NewFile, after: u64, now: DateTime<Utc>) -> Result<(), SinkError>;

    /// Bytes of the visible files.
    async fn stored_bytes(&self) -> Result<u64, SinkError>;

    /// Lets go of what can be had again.
    async fn rest(&self) {}
}

#[async_trait]
impl Files for Arc<Store> {
    async fn cursor(&self, flow: FlowKey) -> Result<u64, SinkError> {
        Store::cursor(self, flow).await
    }

    async fn skip(&self, flow: FlowKey, to: u64) -> Result<(), SinkError> {
        Store::skip(self, flow, to).await
    }

    async fn publish(&self, file: NewFile, _after: u64, now: DateTime<Utc>) -> Result<(), SinkError> {
        Store::publish(self, file, now).await
    }

    async fn stored_bytes(&self) -> Result<u64, SinkError> {
        Store::stored_bytes(self).await
    }
}
