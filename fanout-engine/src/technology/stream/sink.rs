//! Deliveries into the ring.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use headgate_types::{ElementId, SharedClock};

use super::block::NewRecords;
use super::ring::Ring;
use crate::technology::{Committed, Delivery, FlowKey, Flush, Rest, Sink, SinkError, Written};

/// The writing end of a stream.
#[derive(Debug)]
pub struct StreamSink {
    ring: Arc<Ring>,
    names: HashMap<ElementId, Arc<str>>,
    clock: SharedClock,
}

impl StreamSink {
    /// A sink for the elements with these names.
    pub fn new(ring: Arc<Ring>, names: HashMap<ElementId, String>, clock: SharedClock) -> Self {
        let names = names.into_iter().map(|(element, name)| (element, Arc::from(name))).collect();
        Self { ring, names, clock }
    }
}

#[async_trait]
impl Sink for StreamSink {
    async fn cursor(&self, flow: FlowKey) -> Result<Option<Committed>, SinkError> {
        let offset = self.ring.cursor(flow).await?.unwrap_or(0);
        Ok(Some(Committed::through(offset)))
    }

    async fn write(&self, delivery: &Delivery) -> Result<Written, SinkError> {
        let element = self.names.get(&delivery.flow.element).ok_or_else(SinkError::not_carried)?;
        let bytes = delivery.bytes();
        let mut records = NewRecords::with_capacity(delivery.len(), usize::try_from(bytes).unwrap_or(0));
        for (encoded, row) in delivery.rows() {
            records.push(encoded.offset(row), encoded.json(row));
        }
        let element = Arc::clone(element);
        let through = self.ring.append(delivery.flow, delivery.to, element, records, self.clock.now()).await?;
        Ok(Written { through })
    }

    async fn flush(&self, flow: FlowKey, why: Flush) -> Result<Written, SinkError> {
        if why == Flush::Age {
            self.ring.trim(self.clock.now()).await?;
        }
        let through = self.ring.cursor(flow).await?.unwrap_or(0);
        Ok(Written { through })
    }

    async fn stored_bytes(&self) -> u64 {
        self.ring.ends().borrow().bytes
    }

    async fn rest(&self, quiet: Duration) -> Rest {
        if let Err(error) = self.ring.rest(quiet).await {
            tracing::warn!(%error, "failed to let go of a stream's file");
            return Rest::Busy;
        }
        self.ring.at_rest()
    }

    async fn close(&self) {
        self.ring.close().await;
    }
}
