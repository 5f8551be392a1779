//! `file`: a directory of the channel's own, with files that are complete when they are visible.
//!
//! Records collect in memory until a size or an age is reached, then become one file. A visible
//! file is never appended to or replaced (rule 27); `manifest.json` lists them all. Reading is by
//! HTTP with resumable ranges. A file may be deleted once fetched; the channel's storage is
//! bounded by its size, and when it is full delivery waits rather than dropping anything. A channel that
//! a cloud holds has a bucket with the same files and the same manifest instead.

mod bucket;
mod encode;
mod files;
#[cfg(test)]
mod power;
mod serve;
mod settings;
mod sink;
mod store;

use std::sync::Arc;

use async_trait::async_trait;
use headgate_types::FieldError;
use headgate_types::channel::Direction;
use headgate_types::technology::TechnologyDescriptor;
use indexmap::IndexMap;
use serde_json::Value;

use super::{OpenChannel, Opened, SinkError, Technology};
use crate::addresses::Address;
use crate::cloud::Place;

pub use settings::Format;

/// The technology.
#[derive(Debug)]
pub struct File;

#[async_trait]
impl Technology for File {
    fn descriptor(&self) -> TechnologyDescriptor {
        TechnologyDescriptor {
            key: "file".to_owned(),
            aliases: vec!["files".to_owned()],
            title: "Files".to_owned(),
            description:
                "Parquet, CSV or NDJSON files of your own, rolled by size or age, with a manifest and resumable \
                          downloads."
                    .to_owned(),
            directions: vec![Direction::In, Direction::Out],
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
        if let Some((place, session)) = channel.in_cloud().await? {
            let Place::Bucket(name) = place else { return Err(channel.unfit()) };
            let bucket = bucket::Bucket::open(name, &session, &channel).await?;
            return Ok(Opened { sink: Arc::new(sink::FileSink::new(Box::new(bucket), &channel)?), router: None });
        }
        let store = store::Store::open(channel.directory()?, &channel.limits, channel.clock.now()).await?;
        let store = Arc::new(store);
        let sink = sink::FileSink::new(Box::new(Arc::clone(&store)), &channel)?;
        let router = serve::router(store, &channel);
        Ok(Opened { sink: Arc::new(sink), router: Some(router) })
    }
}
