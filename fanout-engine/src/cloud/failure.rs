//! What the errors of a cloud mean.

use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

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

/// A call that failed. What the cloud says may name the platform's own account and principals: it is
/// logged, and the owner is told what it comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The service's code; empty when it did not answer.
    pub code: String,
    /// What it says, or why there was no answer; for logs only.
    pub message: String,
    /// Whether there was an answer.
    pub reached: bool,
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

    /// Whether there is no such object, or no such version of it; a delete marker is asked for as if it were one.
    pub fn is_absent(&self) -> bool {
        matches!(self.code.as_str(), "NoSuchKey" | "NoSuchVersion" | "MethodNotAllowed" | "NotFound" | "404")
    }

    /// Whether the service knows who asks and does not let it.
    pub fn is_refusal(&self) -> bool {
        REFUSED.contains(&self.code.as_str())
    }

    /// Whether there is no such bucket, queue or stream.
    pub fn is_missing(&self) -> bool {
        MISSING.contains(&self.code.as_str())
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
