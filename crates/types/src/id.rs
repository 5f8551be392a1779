//! Typed identifiers: a prefix that names the kind, and a UUIDv7 that orders by creation.
//!
//! In text an id is `<prefix>_<32 hex digits>`; in tables it is the UUID alone, because the
//! column already names the kind.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Why a text is not an id of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {prefix}_ followed by 32 hexadecimal digits")]
pub struct IdError {
    /// The prefix the reader asked for.
    pub prefix: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
            pub struct $name(Uuid);

            impl $name {
                /// The prefix of the textual form, without the underscore.
                pub const PREFIX: &'static str = $prefix;

                /// A new id, ordered by the time it was made.
                #[must_use]
                pub fn new() -> Self {
                    Self(Uuid::now_v7())
                }

                /// The id a table holds under this UUID.
                #[must_use]
                pub const fn from_uuid(uuid: Uuid) -> Self {
                    Self(uuid)
                }

                /// What a table stores.
                #[must_use]
                pub const fn uuid(self) -> Uuid {
                    self.0
                }
            }

            impl Default for $name {
                fn default() -> Self {
                    Self::new()
                }
            }

            impl From<Uuid> for $name {
                fn from(uuid: Uuid) -> Self {
                    Self(uuid)
                }
            }

            impl From<$name> for Uuid {
                fn from(id: $name) -> Self {
                    id.0
                }
            }

            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    write!(f, concat!($prefix, "_{}"), self.0.simple())
                }
            }

            impl fmt::Debug for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    fmt::Display::fmt(self, f)
                }
            }

            impl FromStr for $name {
                type Err = IdError;

                fn from_str(text: &str) -> Result<Self, IdError> {
                    parse($prefix, text).map(Self)
                }
            }

            impl Serialize for $name {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serializer.collect_str(self)
                }
            }

            impl<'de> Deserialize<'de> for $name {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    let text = String::deserialize(deserializer)?;
                    text.parse().map_err(serde::de::Error::custom)
                }
            }

            impl utoipa::PartialSchema for $name {
                fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                    utoipa::openapi::ObjectBuilder::new()
                        .schema_type(utoipa::openapi::schema::Type::String)
                        .pattern(Some(concat!("^", $prefix, "_[0-9a-f]{32}$")))
                        .into()
                }
            }

            impl utoipa::ToSchema for $name {}
        )*

        /// Every prefix in use, for the test that keeps them distinct.
        pub const PREFIXES: &[&str] = &[$($prefix),*];
    };
}

ids! {
    /// A client organisation.
    TenantId = "ten";
    /// A machine client of a tenant (OAuth client).
    ClientId = "cli";
    /// What somebody is known by at another issuer.
    IdentityId = "idn";
    /// A data set in the catalog.
    ElementId = "el";
    /// One typed stream inside a data-in channel.
    FeedId = "fd";
    /// A data-in or data-out channel.
    ChannelId = "ch";
    /// A request to create, change, rotate or delete.
    OrderId = "ord";
    /// A selection of one element within a data-out channel.
    SubscriptionId = "sub";
    /// An event in a tenant's outbox.
    EventId = "evt";
    /// Where a tenant's events are sent.
    EndpointId = "ep";
    /// A credential of a channel.
    CredentialId = "cred";
    /// A single-use identifier that reveals a credential once.
    ClaimId = "clm";
    /// One payload accepted by a landing zone; also the receipt's id.
    ReceiptId = "rcp";
    /// A refused record or delivery.
    DeadLetterId = "dl";
    /// A schema version of an element.
    SchemaId = "sch";
    /// A hierarchy node of the catalog.
    NodeId = "nd";
    /// A grant of an element to a tenant.
    GrantId = "gr";
    /// A revision of the rate card.
    RateCardId = "rc";
    /// One request, for logs and problem documents.
    RequestId = "req";
    /// A row of the audit log.
    AuditId = "aud";
}

impl RequestId {
    /// Whether a request may keep the id that its caller gave it. It ends up in logs, headers and audit rows: short, and
    /// without anything to escape.
    #[must_use]
    pub fn may_be(given: &str) -> bool {
        (8..=128).contains(&given.len()) && given.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
    }
}

fn parse(prefix: &'static str, text: &str) -> Result<Uuid, IdError> {
    let error = IdError { prefix };
    let digits = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_')).ok_or(error.clone())?;
    // `Uuid::parse_str` also takes braces, hyphens and upper case: one spelling per id, or the
    // same object would have several addresses.
    let canonical = digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !canonical {
        return Err(error);
    }
    Uuid::parse_str(digits).map_err(|_| error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_round_trip_and_refuse_other_kinds() {
        let id = ChannelId::new();
        assert_eq!(id.to_string().parse::<ChannelId>(), Ok(id));
        assert!(id.to_string().parse::<OrderId>().is_err());
        assert!(id.to_string().to_uppercase().parse::<ChannelId>().is_err());
        assert!("ch_".parse::<ChannelId>().is_err());
    }

    #[test]
    fn prefixes_are_distinct() {
        let distinct: HashSet<_> = PREFIXES.iter().collect();
        assert_eq!(distinct.len(), PREFIXES.len());
    }
}
