//! Bound parameters that either database takes.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

/// One bound parameter. NULL keeps its type, because PostgreSQL wants to know it.
#[derive(Debug, Clone)]
pub enum Argument {
    /// Text.
    Text(Option<String>),
    /// A whole number.
    Int(Option<i64>),
    /// A number with a fraction.
    Float(Option<f64>),
    /// A boolean.
    Bool(Option<bool>),
    /// A UUID.
    Uuid(Option<Uuid>),
    /// A moment; cut to microseconds before it gets here.
    Time(Option<DateTime<Utc>>),
    /// A JSON document.
    Json(Option<Value>),
    /// Bytes.
    Bytes(Option<Vec<u8>>),
}

/// The parameters of one statement, in order.
pub type Arguments = Vec<Argument>;

/// Collects the parameters of a statement: `args![tenant, name, Some(5_i64)]`.
#[macro_export]
macro_rules! args {
    ($($value:expr),* $(,)?) => {
        vec![$($crate::Argument::from($value)),*]
    };
}

macro_rules! from {
    ($($source:ty => $variant:ident $convert:expr;)*) => {
        $(
            impl From<$source> for Argument {
                fn from(value: $source) -> Self {
                    Self::$variant(Some(($convert)(value)))
                }
            }

            impl From<Option<$source>> for Argument {
                fn from(value: Option<$source>) -> Self {
                    Self::$variant(value.map($convert))
                }
            }
        )*
    };
}

from! {
    &str => Text str::to_owned;
    String => Text |value: String| value;
    &String => Text |value: &String| value.clone();
    i64 => Int |value: i64| value;
    i32 => Int i64::from;
    u32 => Int i64::from;
    // Quantities beyond 2^63 do not occur: bytes and records of one organisation stay below it.
    u64 => Int |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    usize => Int |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
    f64 => Float |value: f64| value;
    bool => Bool |value: bool| value;
    Uuid => Uuid |value: Uuid| value;
    DateTime<Utc> => Time |value: DateTime<Utc>| value;
    Value => Json |value: Value| value;
    &Value => Json |value: &Value| value.clone();
    Vec<u8> => Bytes |value: Vec<u8>| value;
    &[u8] => Bytes |value: &[u8]| value.to_vec();
}

macro_rules! from_ids {
    ($($id:ident)*) => {
        $(
            impl From<headgate_types::$id> for Argument {
                fn from(id: headgate_types::$id) -> Self {
                    Self::Uuid(Some(id.uuid()))
                }
            }

            impl From<Option<headgate_types::$id>> for Argument {
                fn from(id: Option<headgate_types::$id>) -> Self {
                    Self::Uuid(id.map(|id| id.uuid()))
                }
            }
        )*
    };
}

from_ids! {
    TenantId ClientId IdentityId ElementId FeedId ChannelId OrderId SubscriptionId EventId EndpointId CredentialId ClaimId
    ReceiptId DeadLetterId SchemaId NodeId GrantId RateCardId RequestId AuditId
}
