//! `queue`: shaped records as messages that are received, worked on and acknowledged.
//!
//! Received messages are invisible for a time; what is not acknowledged by then comes again, and
//! after some receivings becomes a dead letter. Of each key one message is on its way at a time, so
//! records of a key are done in order (DATA-PLANE rule 28); records without a key have no order.

#[cfg(test)]
mod power;
mod serve;
mod settings;
mod sink;
mod sqs;
#[cfg(test)]
mod sqs_tests;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use headgate_types::FieldError;
use headgate_types::channel::Direction;
use headgate_types::technology::TechnologyDescriptor;
use indexmap::IndexMap;
use serde_json::Value;

use self::settings::Settings;
use super::lanes::BatchSink;
use super::{OpenChannel, Opened, SinkError, Technology};
use crate::addresses::Address;
use crate::cloud::{Place, QueueName};

/// The technology.
#[derive(Debug)]
pub struct Queue;

#[async_trait]
impl Technology for Queue {
    fn descriptor(&self) -> TechnologyDescriptor {
        TechnologyDescriptor {
            key: "queue".to_owned(),
            aliases: vec!["work-queue".to_owned()],
            title: "Queue".to_owned(),
            description: "Records as messages to be received and acknowledged, over HTTP: invisible while somebody \
                          works on them, again when nobody acknowledged them, in order per key, dead letters after a \
                          number of receivings. Nothing is dropped: a full queue waits to be emptied."
                .to_owned(),
            directions: vec![Direction::In, Direction::Out],
            settings: settings::schema(),
            issues_key: true,
            issues_signing_secret: false,
        }
    }

    fn check_options(&self, options: &IndexMap<String, Value>) -> Vec<FieldError> {
        Settings::read(options).err().unwrap_or_default()
    }

    fn addresses(&self) -> Vec<Address> {
        serve::addresses().list().to_vec()
    }

    async fn open(&self, channel: OpenChannel) -> Result<Opened, SinkError> {
        let none = IndexMap::new();
        // Options belong to the order's model: every element has the same.
        let options = channel.elements.first().map_or(&none, |output| &output.options);
        let settings = Settings::read(options).map_err(|errors| {
            SinkError::retry(format!("the options of the queue are not usable: {}", errors[0].detail))
        })?;
        let names = channel.elements.iter().map(|output| (output.element, output.name.clone())).collect();
        if let Some((place, session)) = channel.in_cloud().await? {
            let Place::Queue(QueueName { account, name }) = place else { return Err(channel.unfit()) };
            let queue = sqs::Sqs::connect(&session, &account, &name).await?;
            return Ok(Opened { sink: Arc::new(BatchSink::new(queue, names)), router: None });
        }
        let queue = store::Queue::open(&channel.directory()?, settings, channel.limits.retention_bytes).await?;
        let sink = sink::QueueSink::new(Arc::clone(&queue), names, channel.clock.clone());
        Ok(Opened { sink: Arc::new(sink), router: Some(serve::router(queue, &channel)) })
    }
}
