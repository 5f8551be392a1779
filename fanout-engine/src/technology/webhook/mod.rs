//! `webhook`: batches of shaped records posted to an address of the tenant's, signed as
//! [Standard Webhooks 1.0](https://www.standardwebhooks.com/) has it.
//!
//! Records are spread over a few lanes by the hash of their key, strictly in order within a lane
//! (rule 28). The address is reached through the outbound filter only, so that it cannot name our
//! own network.

mod batch;

mod lanes;

mod request;
mod settings;

mod sink;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use headgate_types::FieldError;
use headgate_types::channel::Direction;
use headgate_types::technology::TechnologyDescriptor;
use indexmap::IndexMap;
use serde_json::Value;

use super::{OpenChannel, Opened, SinkError, Technology};

/// The technology.
#[derive(Debug)]
pub struct Webhook;

#[async_trait]
impl Technology for Webhook {
    fn descriptor(&self) -> TechnologyDescriptor {
        TechnologyDescriptor {
            key: "webhook".to_owned(),
            aliases: vec!["http-push".to_owned()],
            title: "Webhook".to_owned(),
            description: "Batches of records posted to your address, signed; in order per key, repeated until you \
                          answer 2xx."
                .to_owned(),
            directions: vec![Direction::Out],
            settings: settings::schema(),
            issues_key: false,
            issues_signing_secret: true,
        }
    }

    fn check_options(&self, options: &IndexMap<String, Value>) -> Vec<FieldError> {
        settings::Settings::read(options).err().unwrap_or_default()
    }

    async fn open(&self, channel: OpenChannel) -> Result<Opened, SinkError> {
        let sink = sink::WebhookSink::open(channel)?;
        Ok(Opened { sink: Arc::new(sink), router: None })
    }
}
