//! Deliveries into the store.

use std::sync::Arc;

use async_trait::async_trait;

use super::store::Store;
use super::table::Table;
use super::write;
use crate::technology::{Committed, Delivery, FlowKey, Flush, Sink, SinkError, Written};

/// The writing end of an api channel.
#[derive(Debug)]
pub struct ApiSink {
    store: Arc<Store>,
}

impl ApiSink {
    /// The sink of a store.
    pub fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    fn table(&self, flow: FlowKey) -> Result<Arc<Table>, SinkError> {
        let table = self.store.tables().iter().find(|table| table.element == flow.element);
        table.cloned().ok_or_else(SinkError::not_carried)
    }
}

#[async_trait]
impl Sink for ApiSink {
    async fn cursor(&self, flow: FlowKey) -> Result<Option<Committed>, SinkError> {
        self.store.read(move |connection| write::committed(connection, flow)).await.map(Some)
    }

    async fn write(&self, delivery: &Delivery) -> Result<Written, SinkError> {
        let (table, delivery, now) = (self.table(delivery.flow)?, delivery.clone(), self.store.now());
        let through = self.store.write(move |connection| write::write(connection, &table, &delivery, now)).await?;
        Ok(Written { through })
    }

    async fn flush(&self, flow: FlowKey, why: Flush) -> Result<Written, SinkError> {
        let (table, now) = (self.table(flow)?, self.store.now());
        let through = self
            .store
            .write(move |connection| {
                if why == Flush::Age {
                    write::forget_deletes(connection, &table, now)?;
                }
                write::cursor(connection, flow)
            })
            .await?;
        Ok(Written { through })
    }

    async fn stored_bytes(&self) -> u64 {
        self.store.bytes()
    }

    async fn close(&self) {
        self.store.close().await;
    }
}
