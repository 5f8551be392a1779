//! `http`: sources post payloads to the data listener. Landing, limits and conforming are the
//! engine's (`ingest/`); this folder only says that it exists.

use async_trait::async_trait;
use headgate_types::FieldError;
use headgate_types::channel::Direction;
use headgate_types::technology::TechnologyDescriptor;
use indexmap::IndexMap;
use serde_json::{Value, json};

use super::{OpenChannel, Opened, SinkError, Technology};

/// The technology.
#[derive(Debug)]
pub struct Http;

#[async_trait]
impl Technology for Http {
    fn descriptor(&self) -> TechnologyDescriptor {
        TechnologyDescriptor {
            key: "http".to_owned(),
            aliases: vec!["https".to_owned()],
            title: "HTTP ingestion".to_owned(),
            description:
                "Sources post JSON, NDJSON or CSV, plain or compressed; the answer comes when the payload is durable."
                    .to_owned(),
            directions: vec![Direction::In],
            settings: json!({"type": "object", "additionalProperties": false, "properties": {}}),
            issues_key: true,
            issues_signing_secret: false,
        }
    }

    fn check_options(&self, options: &IndexMap<String, Value>) -> Vec<FieldError> {
        let unknown = |name: &String| {
            FieldError::new(format!("/{name}"), "unknown_option", format!("http channels have no option {name:?}"))
        };
        options.keys().map(unknown).collect()
    }

    async fn open(&self, _: OpenChannel) -> Result<Opened, SinkError> {
        Err(SinkError::reject("http is a data-in profile; it has nothing to deliver to"))
    }
}
