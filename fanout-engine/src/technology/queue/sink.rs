//! Deliveries into the queue.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use headgate_types::{ElementId, SharedClock};

use super::store::{NewMessage, Queue};
use crate::technology::{Committed, Delivery, FlowKey, Flush, Rest, Sink, SinkError, Written};

/// Records put into the queue by one write.
const BATCH_RECORDS: usize = 5_000;

/// The writing end of a queue.
#[derive(Debug)]
pub struct QueueSink {
    queue: Arc<Queue>,
    names: HashMap<ElementId, Arc<str>>,
    clock: SharedClock,
}

impl QueueSink {
    /// A sink for the elements with these names.
    pub fn new(queue: Arc<Queue>, names: HashMap<ElementId, String>, clock: SharedClock) -> Self {
        let names = names.into_iter().map(|(element, name)| (element, Arc::from(name))).collect();
        Self { queue, names, clock }
    }
}

#[async_trait]
impl Sink for QueueSink {
    async fn cursor(&self, flow: FlowKey) -> Result<Option<Committed>, SinkError> {
        Ok(Some(Committed::through(self.queue.cursor(flow).await?)))
    }

    async fn write(&self, delivery: &Delivery) -> Result<Written, SinkError> {
        let element = self.names.get(&delivery.flow.element).ok_or_else(SinkError::not_carried)?;
        let message = |(encoded, row): (&Arc<crate::shape::Encoded>, usize)| NewMessage {
            offset: encoded.offset(row),
            key: encoded.key_hash(row),
            json: encoded.json(row).to_vec(),
        };
        let messages = delivery.rows().map(message).collect();
        let (flow, to) = (delivery.flow, delivery.to);
        let through = self.queue.append(flow, to, Arc::clone(element), messages, self.clock.now()).await?;
        Ok(Written { through })
    }

    async fn flush(&self, flow: FlowKey, _: Flush) -> Result<Written, SinkError> {
        Ok(Written { through: self.queue.cursor(flow).await? })
    }

    async fn stored_bytes(&self) -> u64 {
        self.queue.depth(self.clock.now()).await.map_or(0, |depth| depth.bytes)
    }

    async fn rest(&self, quiet: Duration) -> Rest {
        self.queue.rest(quiet).await;
        Rest::Until(None)
    }

    async fn close(&self) {
        self.queue.close().await;
    }

    fn batch_records(&self) -> usize {
        BATCH_RECORDS
    }
}
