//! What is counted, and in which unit.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

macro_rules! meters {
    ($($(#[$doc:meta])* $variant:ident = $word:tt in $unit:tt,)*) => {
        /// What is counted. Quantities are whole numbers of the base unit.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
        pub enum Meter {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)*
        }

        impl Meter {
            /// Every meter.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word in tables and documents.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// The base unit of its quantities.
            #[must_use]
            pub const fn unit(self) -> &'static str {
                match self { $(Self::$variant => $unit,)* }
            }
        }

        impl FromStr for Meter {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    other => Err(format!("unknown meter {other:?}")),
                }
            }
        }
    };
}

meters! {
    /// Requests to the control API that were answered other than 429 and 5xx.
    ApiRequests = "api.requests" in "requests",
    /// Records that entered an element's log.
    IngestRecords = "ingest.records" in "records",
    /// Bytes of payload that landed, after decompression.
    IngestBytes = "ingest.bytes" in "bytes",
    /// Records written into a channel's resource, once each for ever.
    DeliverRecords = "deliver.records" in "records",
    /// Their canonical encoded size.
    DeliverBytes = "deliver.bytes" in "bytes",
    /// Rows read out of a channel's resource.
    QueryRows = "query.rows" in "rows",
    /// Bytes read out of a channel's resource.
    QueryBytes = "query.bytes" in "bytes",
    /// Time spent answering queries.
    QueryMs = "query.ms" in "ms",
    /// Bytes kept by a channel's resource, times hours.
    StorageByteHours = "storage.byte_hours" in "byte_hours",
    /// Time a channel's resources existed; counted in seconds, priced per hour.
    ChannelHours = "channel.hours" in "seconds",
    /// Records delivered again by an ordered replay.
    ReplayRecords = "replay.records" in "records",
    /// Records refused and kept whole.
    DeadletterRecords = "deadletter.records" in "records",
}

impl fmt::Display for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
