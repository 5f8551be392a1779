//! `api`: a store of the channel's own, read over REST.
//!
//! The store is one SQLite file in the channel's directory: a table per element in scope, with
//! typed columns, and the cursor of every flow, moved in the transaction that writes its records
//! (rule 25). Events are kept by offset, entities by key, the latest state of each. It runs with
//! `synchronous=NORMAL`: after a power failure it may be a little behind, cursor and data
//! together, and delivery resumes there, unbilled (rule 26).

mod cells;
mod document;
mod filter;
#[cfg(test)]
mod fuzzed;
#[cfg(test)]
mod power;
mod query;
mod render;
mod serve;
mod settings;
mod sink;
mod store;
mod table;
#[cfg(test)]
mod tests;
mod write;

use std::sync::Arc;

use async_trait::async_trait;
use headgate_types::FieldError;
use headgate_types::channel::Direction;
use headgate_types::technology::TechnologyDescriptor;
use indexmap::IndexMap;
use serde_json::Value;

use super::{OpenChannel, Opened, SinkError, Technology};
use crate::addresses::Address;

/// The technology.
#[derive(Debug)]
pub struct Api;

#[async_trait]
impl Technology for Api {
    fn descriptor(&self) -> TechnologyDescriptor {
        TechnologyDescriptor {
            key: "api".to_owned(),
            aliases: vec!["rest".to_owned()],
            title: "REST API".to_owned(),
            description: "A store of your own behind a REST API: pages, filters, sorting, choice of fields, JSON and \
                          CSV, described by its own OpenAPI document."
                .to_owned(),
            directions: vec![Direction::Out],
            settings: settings::schema(),
            issues_key: true,
            issues_signing_secret: false,
        }
    }

    fn check_options(&self, options: &IndexMap<String, Value>) -> Vec<FieldError> {
        settings::Settings::read(options).err().unwrap_or_default()
    }

    fn addresses(&self) -> Vec<Address> {
        serve::addresses().list().to_vec()
    }

    async fn open(&self, channel: OpenChannel) -> Result<Opened, SinkError> {
        let OpenChannel { name, elements, limits, public_url, clock, .. } = &channel;
        let store = store::Store::open(channel.directory()?, elements, limits.clone(), clock.clone()).await?;
        let store = Arc::new(store);
        let router = serve::router(Arc::clone(&store), name, public_url)?;
        Ok(Opened { sink: Arc::new(sink::ApiSink::new(store)), router: Some(router) })
    }
}
