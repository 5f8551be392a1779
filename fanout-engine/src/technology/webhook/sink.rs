//! Deliveries to a receiver.

use std::collections::HashMap;

use async_trait::async_trait;
use futures::future::join_all;
use headgate_types::ElementId;

use super::batch::{self, Row};
use super::lanes::{Places, split};
use super::request::Poster;
use super::settings::Settings;
use crate::technology::{Committed, Delivery, FlowKey, Flush, OpenChannel, Sink, SinkError, Written};

/// The writing end of a webhook channel. The platform keeps its cursor.
#[derive(Debug)]
pub struct WebhookSink {
    receivers: HashMap<ElementId, Receiver>,
    poster: Poster,
    places: Places,
    batch_records: usize,
    batch_bytes: usize,
}

#[derive(Debug)]
struct Receiver {
    name: String,
    settings: Settings,
}

impl WebhookSink {
    /// A sink for the elements of a channel.
    pub fn open(channel: OpenChannel) -> Result<Self, SinkError> {
        let mut receivers = HashMap::new();
        let mut batch_records = 0;
        for output in &channel.elements {
            let settings = Settings::read(&output.options).map_err(|errors| {
                let places: Vec<String> =
                    errors.iter().map(|error| format!("{}: {}", error.pointer, error.detail)).collect();
                SinkError::reject(format!("the options of {:?} are wrong: {}", output.name, places.join("; ")))
            })?;
            batch_records = batch_records.max(settings.batch_records * settings.lanes);
            receivers.insert(output.element, Receiver { name: output.name.clone(), settings });
        }
        Ok(Self {
            receivers,
            places: Places::default(),
            batch_records: batch_records.max(1),
            batch_bytes: usize::try_from(channel.limits.payload_bytes).unwrap_or(usize::MAX),
            poster: Poster::new(channel),
        })
    }

    /// Sends what a lane has, request by request, and notes how far it came.
    async fn run_lane(
        &self,
        receiver: &Receiver,
        delivery: &Delivery,
        lane: usize,
        rows: &[Row<'_>],
    ) -> Result<(), SinkError> {
        for batch in batch::cut(rows, receiver.settings.batch_records, self.batch_bytes) {
            self.poster.post(&receiver.settings.url, &receiver.name, delivery, batch).await?;
            headgate_types::reach(headgate_types::Failpoint::WebhookAnswered);
            if let Some(last) = batch.last() {
                self.places.reached(delivery.flow, lane, last.offset);
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Sink for WebhookSink {
    async fn cursor(&self, _flow: FlowKey) -> Result<Option<Committed>, SinkError> {
        Ok(None)
    }

    async fn write(&self, delivery: &Delivery) -> Result<Written, SinkError> {
        let written = Written { through: delivery.to };
        if delivery.is_empty() {
            return Ok(written);
        }
        let receiver = self.receivers.get(&delivery.flow.element).ok_or_else(SinkError::not_carried)?;
        let lanes = split(delivery, receiver.settings.lanes, &self.places);
        let runs = lanes.iter().map(|(lane, rows)| self.run_lane(receiver, delivery, *lane, rows));
        // Every lane goes as far as it can; one that is refused does not stop the others.
        let failures: Vec<SinkError> = join_all(runs).await.into_iter().filter_map(Result::err).collect();
        // While the target is in the way nothing is known of the refused records.
        let retry = failures.iter().find(|error| matches!(error, SinkError::Retry { .. }));
        match retry.or(failures.first()) {
            Some(error) => Err(error.clone()),
            None => {
                self.places.settled(delivery.flow, delivery.to);
                Ok(written)
            }
        }
    }

    async fn flush(&self, _flow: FlowKey, _why: Flush) -> Result<Written, SinkError> {
        Ok(Written::ALL)
    }

    async fn stored_bytes(&self) -> u64 {
        0
    }

    async fn close(&self) {}

    fn batch_records(&self) -> usize {
        self.batch_records
    }
}
