//! Errors of a cloud. What it says may name the platform's account and principals: it is logged, and the owner of a
//! channel is told what it comes to.

use aws_sdk_sqs::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

const THROTTLED: [&str; 11] = [
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "SlowDown",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "KMSThrottlingException",
    "OverLimit",
];

/// A call that failed.
#[derive(Debug)]
pub struct Failure {
    what: &'static str,
    /// The service's code; empty when there was no answer.
    code: String,
    message: String,
}

impl Failure {
    /// Gives the call that failed its name, for example "receiving from the queue".
    pub fn of<E, R>(what: &'static str) -> impl FnOnce(SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        R: std::fmt::Debug + Send + Sync + 'static,
    {
        move |error| match error.as_service_error() {
            None => Self { what, code: String::new(), message: DisplayErrorContext(&error).to_string() },
            Some(service) => Self {
                what,
                code: service.code().unwrap_or("unknown").to_owned(),
                message: service.message().unwrap_or_default().to_owned(),
            },
        }
    }

    /// Whether the service says this.
    pub fn is(&self, code: &str) -> bool {
        self.code == code
    }

    /// Whether the cloud asks to be asked less often.
    pub fn is_throttle(&self) -> bool {
        THROTTLED.contains(&self.code.as_str())
    }

    /// Whether there is no such object, or no such version of it, any more.
    pub fn is_gone(&self) -> bool {
        // A delete marker is asked for as if it were a version.
        matches!(self.code.as_str(), "NoSuchKey" | "NoSuchVersion" | "MethodNotAllowed" | "NotFound" | "404")
    }

    /// For the channel's owner, once the log has everything.
    pub fn told(&self) -> String {
        let (what, code) = (self.what, self.code.as_str());
        tracing::warn!(what, code, error = self.message, "a call to the cloud failed");
        match code {
            "" => {
                format!("{what}: the cloud cannot be reached, or does not let the platform take up the channel's role")
            }
            _ if self.is_throttle() => format!("{what}: the cloud asks to slow down"),
            code => format!("{what}: the cloud answers {code}"),
        }
    }
}
