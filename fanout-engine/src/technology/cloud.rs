//! Channels whose resource a cloud holds: how it is named, how it is reached, and what its errors mean.
//!
//! The scheme of a binding's URL decides which sink writes a channel, not the driver that made it.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use super::{OpenChannel, SinkError};

/// How long to leave the cloud alone when it asks to slow down.
pub const SLOW_DOWN: Duration = Duration::from_secs(1);

const THROTTLED: [&str; 13] = [
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "SlowDown",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "KMSThrottlingException",
    "KmsThrottled",
    "OverLimit",
];
const REFUSED: [&str; 12] = [
    "AccessDenied",
    "AccessDeniedException",
    "AllAccessDisabled",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
    "KMSAccessDeniedException",
    "KMSDisabledException",
    "KmsAccessDenied",
];
const MISSING: [&str; 6] = [
    "NoSuchBucket",
    "ResourceNotFoundException",
    "QueueDoesNotExist",
    "AWS.SimpleQueueService.NonExistentQueue",
    "AWS.SimpleQueueService.QueueDeletedRecently",
    "InvalidAddress",
];

/// The resource that a binding's URL names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `s3://<bucket>`.
    Bucket(String),
    /// `sqs://<region>/<account>/<queue>`.
    Queue {
        /// Whose it is.
        account: String,
        /// Its name; `….fifo` keeps order.
        name: String,
    },
    /// `kinesis://<region>/<stream>`.
    Stream(String),
}

impl Place {
    /// The resource of the cloud that a URL names; `None` for every other URL.
    #[must_use]
    pub fn of(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let parts: Vec<&str> = rest.trim_end_matches('/').split('/').collect();
        match (scheme, parts.as_slice()) {
            (_, parts) if parts.iter().any(|part| part.is_empty()) => None,
            ("s3", [bucket]) => Some(Self::Bucket((*bucket).to_owned())),
            ("sqs", [_, account, name]) => {
                Some(Self::Queue { account: (*account).to_owned(), name: (*name).to_owned() })
            }
            ("kinesis", [_, stream]) => Some(Self::Stream((*stream).to_owned())),
            _ => None,
        }
    }
}

impl OpenChannel {
    /// The resource of the cloud that the binding names, with a session under the channel's own role;
    /// `None` where Headgate serves the channel itself.
    ///
    /// # Errors
    /// The binding names a resource of a cloud and not how it is got at.
    pub async fn in_cloud(&self) -> Result<Option<(Place, SdkConfig)>, SinkError> {
        let Some(place) = Place::of(&self.binding.url) else { return Ok(None) };
        let Some(binding) = &self.binding.cloud else {
            return Err(SinkError::retry(format!("the binding {:?} does not say how it is reached", self.binding.url)));
        };
        Ok(Some((place, self.cloud.session(self.channel, binding).await)))
    }

    /// A binding that this profile has no sink for.
    #[must_use]
    pub fn unfit(&self) -> SinkError {
        SinkError::reject(format!("the binding {:?} is nothing this channel profile can write to", self.binding.url))
    }
}

/// A call that failed. What the cloud says may name the platform's own account and principals: it is
/// logged, and the owner is told what it comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The service's code; empty when it did not answer.
    pub code: String,
    message: String,
    reached: bool,
}

impl Failure {
    /// What the service said of a part of a request.
    pub fn said(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), reached: true }
    }

    /// Whether the service says this.
    pub fn is(&self, code: &str) -> bool {
        self.code == code
    }

    /// Whether the cloud asks to be asked less often.
    pub fn is_throttle(&self) -> bool {
        THROTTLED.contains(&self.code.as_str())
    }

    /// Whether what was conditional on a state met another.
    pub fn is_conflict(&self) -> bool {
        matches!(self.code.as_str(), "PreconditionFailed" | "ConditionalRequestConflict")
    }

    /// Whether there is no such object.
    pub fn is_absent(&self) -> bool {
        matches!(self.code.as_str(), "NoSuchKey" | "NotFound" | "404")
    }

    /// As the answer of a sink about `what`, for example "the queue". Nothing here depends on records.
    pub fn about(self, what: &str) -> SinkError {
        if !self.reached {
            tracing::warn!(error = self.message, "failed to reach {what}");
            return SinkError::retry(format!("{what} cannot be reached"));
        }
        if self.is_throttle() {
            return SinkError::Retry { after: Some(SLOW_DOWN), reason: format!("{what} takes no more just now") };
        }
        let code = self.code.as_str();
        if REFUSED.contains(&code) {
            tracing::warn!(code, error = self.message, "the cloud refuses the platform: {what}");
            return SinkError::retry(format!("{what} lets the platform not in ({code}): its policy must allow it"));
        }
        if MISSING.contains(&code) {
            return SinkError::retry(format!("{what} is not there ({code}): it was removed, or is not made yet"));
        }
        tracing::warn!(code, error = self.message, "a call to the cloud failed: {what}");
        SinkError::retry(format!("{what} answers {code}: {}", self.message))
    }
}

impl<E, R> From<SdkError<E, R>> for Failure
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    fn from(error: SdkError<E, R>) -> Self {
        let Some(service) = error.as_service_error() else {
            let message = DisplayErrorContext(&error).to_string();
            // A role that cannot be taken up fails the call before it is sent.
            let refused = REFUSED.iter().find(|code| message.contains(*code));
            let (code, reached) = refused.map_or(("", false), |code| (*code, true));
            return Self { code: code.to_owned(), message, reached };
        };
        Self {
            code: service.code().unwrap_or("unknown").to_owned(),
            message: service.message().unwrap_or_default().to_owned(),
            reached: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuzzed_addresses_name_one_resource_or_none() {
        let seeds = ["s3://a", "sqs://eu-west-1/1/q.fifo", "kinesis://eu-west-1/s"];
        crate::fuzz::text("fanout-engine/src/technology/cloud.rs of", &seeds, Place::of);
        assert_eq!(Place::of("s3://a/"), Some(Place::Bucket("a".to_owned())));
        let queue = Place::Queue { account: "1".to_owned(), name: "q.fifo".to_owned() };
        assert_eq!(Place::of("sqs://eu-west-1/1/q.fifo"), Some(queue));
        assert_eq!(Place::of("kinesis://eu-west-1/s"), Some(Place::Stream("s".to_owned())));
        for other in ["file:///a", "s3://", "s3://a/b", "sqs://r/q", "kinesis://r", "kinesis://r//", "x"] {
            assert_eq!(Place::of(other), None, "{other}");
        }
    }

    #[test]
    fn an_owner_is_told_what_helps_and_not_who_the_platform_is() {
        let said =
            "User: arn:aws:sts::123456789012:assumed-role/headgate is not authorized to perform: sqs:SendMessage";
        let told = |code: &str| Failure::said(code, said).about("the queue");
        let refused = told("AccessDenied").to_string();
        assert!(refused.contains("policy") && !refused.contains("123456789012"), "{refused}");
        assert!(told("QueueDoesNotExist").to_string().contains("not there"));
        let SinkError::Retry { after, .. } = told("SlowDown") else { panic!() };
        assert_eq!(after, Some(SLOW_DOWN));
        for code in ["InternalFailure", "AccessDenied", "NoSuchBucket"] {
            assert!(matches!(told(code), SinkError::Retry { after: None, .. }), "{code}");
        }
    }
}
