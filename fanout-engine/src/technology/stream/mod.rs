//! `stream`: shaped records in a ring of the channel's own, read by position.
//!
//! Three ways to read one log: NDJSON long poll, server-sent events with `Last-Event-ID`, and a
//! WebSocket. A position that fell out of the ring answers 410, never a silent gap.

mod block;
mod follow;
mod kinesis;
#[cfg(test)]
mod kinesis_tests;
#[cfg(test)]
mod power;
mod query;
mod ring;
mod serve;
mod sink;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use headgate_types::FieldError;
use headgate_types::channel::Direction;
use headgate_types::technology::TechnologyDescriptor;
use indexmap::IndexMap;
use serde_json::{Value, json};

use super::lanes::BatchSink;
use super::{OpenChannel, Opened, SinkError, Technology};
use crate::addresses::Address;
use crate::cloud::Place;

/// The technology.
#[derive(Debug)]
pub struct Stream;

#[async_trait]
impl Technology for Stream {
    fn descriptor(&self) -> TechnologyDescriptor {
        TechnologyDescriptor {
            key: "stream".to_owned(),
            aliases: vec!["sse".to_owned(), "websocket".to_owned()],
            title: "Live stream".to_owned(),
            description: "Records as they come, over server-sent events, WebSocket or long poll; resumable by \
                          position for as long as the size retains them."
                .to_owned(),
            directions: vec![Direction::In, Direction::Out],
            settings: json!({"type": "object", "additionalProperties": false, "properties": {}}),
            issues_key: true,
            issues_signing_secret: false,
        }
    }

    fn check_options(&self, options: &IndexMap<String, Value>) -> Vec<FieldError> {
        let unknown = |name: &String| {
            FieldError::new(format!("/{name}"), "unknown_option", format!("stream channels have no option {name:?}"))
        };
        options.keys().map(unknown).collect()
    }

    fn addresses(&self) -> Vec<Address> {
        serve::addresses().list().to_vec()
    }

    async fn open(&self, channel: OpenChannel) -> Result<Opened, SinkError> {
        let names = channel.elements.iter().map(|output| (output.element, output.name.clone())).collect();
        if let Some((place, session)) = channel.in_cloud().await? {
            let Place::Stream(name) = place else { return Err(channel.unfit()) };
            let stream = kinesis::Kinesis::connect(&session, name).await?;
            return Ok(Opened { sink: Arc::new(BatchSink::new(stream, names)), router: None });
        }
        let ring = ring::Ring::open(&channel.directory()?, &channel.limits, channel.clock.now()).await?;
        let ring = Arc::new(ring);
        let sink = sink::StreamSink::new(Arc::clone(&ring), names, channel.clock.clone());
        let router = serve::router(ring, &channel);
        Ok(Opened { sink: Arc::new(sink), router: Some(router) })
    }
}
