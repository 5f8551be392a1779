//! Events, and how they look on the wire.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use headgate_types::{EventId, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::described::EventData;

macro_rules! event_types {
    ($($(#[$doc:meta])* $variant:ident = $word:tt,)*) => {
        /// What happened. The version at the end counts breaking changes of the payload.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
        pub enum EventType {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)*
        }

        impl EventType {
            /// Every type, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The CloudEvents `type`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl FromStr for EventType {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    other => Err(format!("unknown event type {:?}", other.chars().take(80).collect::<String>())),
                }
            }
        }
    };
}

event_types! {
    /// A channel can be used; carries endpoint, credential ids and claims.
    ChannelReady = "io.headgate.channel.ready.v1",
    /// A channel could not be made; nothing is left of it.
    ChannelFailed = "io.headgate.channel.failed.v1",
    /// A channel was changed, paused or resumed.
    ChannelUpdated = "io.headgate.channel.updated.v1",
    /// The platform stopped a channel.
    ChannelSuspended = "io.headgate.channel.suspended.v1",
    /// A channel is gone.
    ChannelDeleted = "io.headgate.channel.deleted.v1",
    /// An order ended well.
    OrderSucceeded = "io.headgate.order.succeeded.v1",
    /// An order ended otherwise.
    OrderFailed = "io.headgate.order.failed.v1",
    /// A channel has new credentials; carries the claims.
    CredentialRotated = "io.headgate.credential.rotated.v1",
    /// Records were refused because they do not fit; rate-limited, with counts.
    SchemaMismatch = "io.headgate.schema.mismatch.v1",
    /// The model or filter of a channel no longer fits what it may see of an element.
    SchemaIncompatible = "io.headgate.schema.incompatible.v1",
    /// A channel falls behind or its target refuses.
    DeliveryDegraded = "io.headgate.delivery.degraded.v1",
    /// Usage has passed a threshold of a budget or quota.
    UsageThreshold = "io.headgate.usage.threshold.v1",
    /// An element appeared in the catalog.
    ElementPublished = "io.headgate.catalog.element.published.v1",
    /// Records of an element were lost with a disk or a restored file; new ones go on above them.
    ElementFenced = "io.headgate.element.fenced.v1",
    /// An endpoint for events was disabled by the platform.
    EndpointDisabled = "io.headgate.endpoint.disabled.v1",
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An event to be written.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Who hears of it.
    pub tenant: TenantId,
    /// What happened.
    pub event_type: EventType,
    /// To what: the id of a channel, order, element.
    pub subject: String,
    /// The payload. It must not hold a secret.
    pub data: Value,
    /// Given by whoever may run twice: a second event with this id is not written.
    pub id: Option<EventId>,
}

impl NewEvent {
    /// An event with a new id.
    #[must_use]
    pub fn new<D: EventData>(tenant: TenantId, subject: impl ToString, data: &D) -> Self {
        Self { tenant, event_type: D::TYPE, subject: subject.to_string(), data: json!(data), id: None }
    }

    /// The same event under an id that makes it happen once.
    #[must_use]
    pub const fn with_id(mut self, id: EventId) -> Self {
        self.id = Some(id);
        self
    }
}

/// A written event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Whose.
    pub tenant: TenantId,
    /// Its place in the tenant's log: 1, 2, 3 … without a gap, in commit order.
    pub sequence: u64,
    /// Its id; also the `webhook-id`, on every attempt.
    pub id: EventId,
    /// What happened, as text: a newer version may have written it.
    pub event_type: String,
    /// To what.
    pub subject: String,
    /// The payload.
    pub data: Value,
    /// When.
    pub created_at: DateTime<Utc>,
}

impl Event {
    /// The event on the wire.
    #[must_use]
    pub fn cloud_event(&self) -> CloudEvent {
        CloudEvent {
            specversion: "1.0".to_owned(),
            id: self.id,
            source: format!("/tenants/{}", self.tenant),
            event_type: self.event_type.clone(),
            subject: self.subject.clone(),
            time: self.created_at,
            datacontenttype: "application/json".to_owned(),
            sequence: self.sequence.to_string(),
            data: self.data.clone(),
        }
    }
}

/// A CloudEvents 1.0 event in structured JSON (`application/cloudevents+json`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CloudEvent {
    /// Always `1.0`.
    pub specversion: String,
    /// Unique; the same when an event is sent again.
    pub id: EventId,
    /// `/tenants/<tenant>`.
    pub source: String,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: String,
    /// To what.
    pub subject: String,
    /// When, RFC 3339 UTC.
    pub time: DateTime<Utc>,
    /// Always `application/json`.
    pub datacontenttype: String,
    /// The place in the tenant's log, as the CloudEvents sequence extension writes it: text.
    pub sequence: String,
    /// The payload.
    pub data: Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_types_round_trip_and_are_versioned() {
        for event_type in EventType::ALL {
            assert_eq!(event_type.as_str().parse(), Ok(*event_type));
            assert!(event_type.as_str().starts_with("io.headgate.") && event_type.as_str().ends_with(".v1"));
        }
        assert!("io.headgate.channel.ready".parse::<EventType>().is_err());
    }
}
