//! Words shared by everyone who handles a channel.

use std::fmt;
use std::str::FromStr;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:tt,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word in tables and documents.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    other => Err(format!("unknown {} {other:?}", stringify!($name))),
                }
            }
        }
    };
}

words! {
    /// Which way a channel carries data, seen from the lake.
    Direction {
        /// Into the lake.
        In = "in",
        /// Out of the lake.
        Out = "out",
    }
}

words! {
    /// Where a channel is in its life. An open enum: readers must expect new words.
    ChannelState {
        /// Ordered; its resources are being made.
        Provisioning = "PROVISIONING",
        /// Serving.
        Active = "ACTIVE",
        /// Serving on its old spec while a change is made.
        Updating = "UPDATING",
        /// Stopped by its tenant.
        Paused = "PAUSED",
        /// Stopped by the platform: budget, quota or operator.
        Suspended = "SUSPENDED",
        /// Its resources are being removed.
        Deleting = "DELETING",
        /// Gone; a tombstone remains.
        Deleted = "DELETED",
        /// Its creation failed and nothing is left of it.
        Failed = "FAILED",
    }
}

impl ChannelState {
    /// Whether nothing will happen to the channel any more.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Deleted | Self::Failed)
    }
}

words! {
    /// One flow into a channel.
    Lane {
        /// New records.
        Live = "live",
        /// The history a new channel asked for.
        Backfill = "backfill",
        /// An ordered repetition.
        Replay = "replay",
    }
}

words! {
    /// What is observed about a channel.
    ConditionType {
        /// Everything below holds.
        Ready = "Ready",
        /// The driver made its resource.
        Provisioned = "Provisioned",
        /// It has a live credential.
        CredentialsIssued = "CredentialsIssued",
        /// The engine opened its store and routes.
        Serving = "Serving",
        /// The history is in the resource.
        InitialLoadComplete = "InitialLoadComplete",
        /// Live records flow.
        Syncing = "Syncing",
        /// Its models fit the schemas of its elements.
        SchemaCompatible = "SchemaCompatible",
        /// It is within its quota.
        QuotaOk = "QuotaOk",
        /// Nothing is in flight any more.
        Drained = "Drained",
    }
}

words! {
    /// Whether a condition holds.
    ConditionStatus {
        /// It holds.
        True = "True",
        /// It does not.
        False = "False",
        /// Nobody has looked yet.
        Unknown = "Unknown",
    }
}

/// Where a channel's resource is. Which sink opens it is decided by the URL's scheme, so the
/// engine does not care which driver made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// For example `file:///var/lib/headgate/channels/ch_…/`.
    pub url: String,
    /// The platform's own credential for the resource, where it needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<crate::id::CredentialId>,
    /// How the platform, and the client, get at a resource that a cloud holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud: Option<CloudBinding>,
}

impl Binding {
    /// A resource that is open to the platform as it is.
    #[must_use]
    pub fn plain(url: impl Into<String>) -> Self {
        Self { url: url.into(), credential: None, cloud: None }
    }
}

/// How a resource that a cloud holds is got at. The binding's URL says what it is:
/// `s3://<bucket>`, `sqs://<region>/<account>/<queue>`, `kinesis://<region>/<stream>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudBinding {
    /// The region it is in.
    pub region: String,
    /// The role that the platform takes up for this channel alone.
    pub role: String,
    /// What the platform names when it takes up `role`.
    pub external_id: String,
    /// Further addresses of the same kind as the URL: `notifications` announces new objects,
    /// `dead_letters` holds what nobody could use.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub further: IndexMap<String, String>,
    /// Who the client is.
    pub client: CloudClient,
}

/// Who the client of a channel is to the cloud that holds its resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum CloudClient {
    /// A user of the platform's account, with access keys.
    User {
        /// Its name.
        name: String,
    },
    /// A principal of the client's own account, which takes up a role.
    Role {
        /// The role.
        role: String,
        /// What it names when it takes it up.
        external_id: String,
    },
}
