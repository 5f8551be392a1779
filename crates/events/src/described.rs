//! The payloads of events as types, and the AsyncAPI document made of them.

use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::event::{CloudEvent, EventType};

/// The payload of one type of event. Whoever emits it owns the type.
pub trait EventData: Serialize + ToSchema {
    /// What it is the payload of.
    const TYPE: EventType;
}

/// A type of event with the schema of its payload.
#[derive(Debug, Clone)]
pub struct Described {
    /// The type.
    pub event_type: EventType,
    name: String,
    /// The payload's schema and those it refers to, by name.
    schemas: Vec<(String, Value)>,
}

impl Described {
    /// What `D` says of itself.
    #[must_use]
    pub fn of<D: EventData>() -> Self {
        Self { event_type: D::TYPE, name: D::name().into_owned(), schemas: schemas::<D>() }
    }

    fn message(&self) -> Value {
        let payload = json!({"$ref": format!("#/components/schemas/{}", self.name)});
        let envelope = json!({"type": "object", "properties": {"type": {"const": self.event_type}, "data": payload}});
        json!({
            "name": self.event_type,
            "title": self.name,
            "contentType": "application/cloudevents+json",
            "payload": {"allOf": [{"$ref": "#/components/schemas/CloudEvent"}, envelope]},
        })
    }
}

/// Payloads of events as types, each of the [`EventType`] of its name, and the function `events` that
/// describes them all.
#[macro_export]
macro_rules! payloads {
    ($($(#[$doc:meta])* $vis:vis $name:ident { $($(#[$field:meta])* $member:ident: $type:ty,)* })*) => {
        $($(#[$doc])*
        #[derive(Debug, serde::Serialize, utoipa::ToSchema)]
        $vis struct $name { $($(#[$field])* $vis $member: $type,)* }

        impl $crate::EventData for $name {
            const TYPE: $crate::EventType = $crate::EventType::$name;
        })*

        /// The events of this crate.
        #[must_use]
        pub fn events() -> Vec<$crate::Described> {
            vec![$($crate::Described::of::<$name>()),*]
        }
    };
}

fn schemas<S: ToSchema>() -> Vec<(String, Value)> {
    let mut all = vec![(S::name().into_owned(), S::schema())];
    S::schemas(&mut all);
    all.into_iter().map(|(name, schema)| (name, json!(schema))).collect()
}

/// The AsyncAPI 3.0 document of these events: what a program hears, and where
/// (<https://www.asyncapi.com/docs/reference/specification/v3.0.0>).
#[must_use]
pub fn asyncapi(events: &[Described]) -> Value {
    let mut components: Map<String, Value> = schemas::<CloudEvent>().into_iter().collect();
    let (mut messages, mut told) = (Map::new(), Map::new());
    for event in events {
        components.extend(event.schemas.iter().cloned());
        messages.insert(event.name.clone(), event.message());
        told.insert(event.name.clone(), json!({"$ref": format!("#/components/messages/{}", event.name)}));
    }
    let channel =
        |address: Value, description: &str| json!({"address": address, "description": description, "messages": told});
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Headgate events",
            "version": "1",
            "description": "One gap-free log of events per tenant, read in three ways: lists (`GET /v1/events`), a \
                            live feed, and webhooks signed as Standard Webhooks 1.0. An event is sent again under \
                            the same id; `sequence` counts 1, 2, 3 … without a gap. Readers must expect new types \
                            and new members.",
        },
        "defaultContentType": "application/cloudevents+json",
        "channels": {
            "feed": channel(json!("/v1/events/stream"), "Server-sent events; `Last-Event-ID` resumes."),
            "webhook": channel(Value::Null, "A POST to each endpoint that was registered at `/v1/event-endpoints`."),
        },
        "operations": {
            "tell": {"action": "send", "channel": {"$ref": "#/channels/feed"}},
            "call": {"action": "send", "channel": {"$ref": "#/channels/webhook"}},
        },
        "components": {"messages": messages, "schemas": components},
    })
}
