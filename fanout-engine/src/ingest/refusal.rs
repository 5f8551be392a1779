//! Why a payload is not taken.

use headgate_types::{Coded, ErrorKind};

/// A payload that is refused before anything of it is kept.
#[derive(Debug, thiserror::Error)]
pub enum NotAccepted {
    /// The channel has no feed of this name.
    #[error("the channel has no feed {feed:?}; it has {known}")]
    UnknownFeed {
        /// What was asked for.
        feed: String,
        /// What there is.
        known: String,
    },
    /// The channel is paused or suspended.
    #[error("the channel takes nothing now: it is paused or suspended")]
    Paused,
    /// The channel is being deleted.
    #[error("the channel is being deleted")]
    Deleting,
    /// The channel's payloads are fetched from a resource of its own.
    #[error("payloads of this channel are not posted: put them where the channel's `status.endpoint` says")]
    Fetched,
    /// Nobody here reads this media type.
    #[error("the content type {0:?} is not taken; send application/json, application/x-ndjson or text/csv")]
    ContentType(String),
    /// Nobody here unpacks this encoding.
    #[error("the content encoding {0:?} is not taken; send gzip, zstd or none")]
    Encoding(String),
    /// Too many requests at once.
    #[error("the channel's size allows no further request at once")]
    Connections,
    /// Too many bytes per second.
    #[error("the channel's size takes fewer bytes per second; wait {seconds} s")]
    Rate {
        /// How long.
        seconds: u64,
    },
    /// The tenant has taken in all that its quota allows this month.
    #[error("the tenant has used up the bytes that its data-in channels may take this month")]
    TenantQuota {
        /// How long until the next month.
        seconds: u64,
    },
}

impl Coded for NotAccepted {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownFeed { .. } => ErrorKind::NotFound,
            Self::Paused | Self::Deleting | Self::Fetched => ErrorKind::Conflict,
            Self::ContentType(_) | Self::Encoding(_) => ErrorKind::UnsupportedMediaType,
            Self::Connections | Self::Rate { .. } | Self::TenantQuota { .. } => ErrorKind::TooManyRequests,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::UnknownFeed { .. } => "feed_not_found",
            Self::Paused => "channel_paused",
            Self::Deleting => "channel_deleting",
            Self::Fetched => "channel_not_posted_to",
            Self::ContentType(_) => "unsupported_content_type",
            Self::Encoding(_) => "unsupported_content_encoding",
            Self::Connections => "too_many_connections",
            Self::Rate { .. } => "rate_limited",
            Self::TenantQuota { .. } => "tenant_quota_exceeded",
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Connections => Some(1),
            Self::Rate { seconds } | Self::TenantQuota { seconds } => Some(*seconds),
            _ => None,
        }
    }
}
