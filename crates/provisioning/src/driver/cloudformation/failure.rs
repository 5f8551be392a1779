//! Errors of AWS, in the words of a driver. What AWS says may name the account and the platform's
//! own principals; the order's owner is a tenant, so refusals are logged in full and told in short.

use std::time::Duration;

use aws_sdk_cloudformation::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use crate::driver::DriverError;

/// How long to leave AWS alone when it asks for that.
pub(super) const SLOW_DOWN: Duration = Duration::from_secs(5);

const THROTTLED: [&str; 6] = [
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "SlowDown",
    "BandwidthLimitExceeded",
];
const REFUSED: [&str; 7] = [
    "AccessDenied",
    "AccessDeniedException",
    "UnauthorizedOperation",
    "InvalidClientTokenId",
    "ExpiredToken",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
];
/// Requests that fail the same way however often they are sent.
const WRONG: [&str; 3] = ["ValidationError", "InsufficientCapabilitiesException", "MalformedPolicyDocument"];

/// A call that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub code: String,
    pub message: String,
    reached: bool,
}

impl Failure {
    pub(super) fn is(&self, code: &str) -> bool {
        self.code == code
    }

    /// Whether AWS asks to be asked less often.
    pub(super) fn is_throttle(&self) -> bool {
        THROTTLED.contains(&self.code.as_str())
    }

    /// Whether a thing that was named is not there (or not seen there yet).
    pub(super) fn is_missing(&self) -> bool {
        matches!(self.code.as_str(), "NoSuchEntity" | "NoSuchBucket")
            || (self.is("ValidationError") && self.message.contains("does not exist"))
    }

    /// Whether the stack is not (any more) in the status in which it was seen. CloudFormation has the
    /// same code for this as for a request that is wrong.
    fn is_overtaken(&self) -> bool {
        let said = |words: &str| self.message.contains(words);
        said("_IN_PROGRESS")
            || said("can not be updated")
            || said("cannot be deleted")
            || said("No updates are to be performed")
    }

    /// As what a driver answers, about `what`, for example "the stack could not be made".
    pub(super) fn about(self, what: &str) -> DriverError {
        if !self.reached {
            tracing::warn!(error = self.message, "failed to reach AWS: {what}");
            return DriverError::retry(format!("{what}: AWS cannot be reached"));
        }
        if self.is_throttle() {
            return DriverError::Retry { message: format!("{what}: AWS asks to slow down"), after: Some(SLOW_DOWN) };
        }
        if REFUSED.contains(&self.code.as_str()) {
            tracing::error!(code = self.code, error = self.message, "AWS refuses the platform: {what}");
            return DriverError::retry(format!("{what}: the platform's rights in its AWS account do not suffice"));
        }
        let message = format!("{what}: {}: {}", self.code, self.message);
        if WRONG.contains(&self.code.as_str()) && !self.is_overtaken() {
            return DriverError::Permanent { code: "stack_refused", message };
        }
        DriverError::retry(message)
    }
}

impl<E, R> From<SdkError<E, R>> for Failure
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    fn from(error: SdkError<E, R>) -> Self {
        let Some(service) = error.as_service_error() else {
            return Self { code: String::new(), message: DisplayErrorContext(&error).to_string(), reached: false };
        };
        Self {
            code: service.code().unwrap_or("unknown").to_owned(),
            message: service.message().unwrap_or_default().to_owned(),
            reached: true,
        }
    }
}

/// A reason from a stack's events, as its owner may read it.
pub(super) fn told(reason: &str) -> String {
    if reason.contains("not authorized to perform") {
        tracing::error!(reason, "AWS refuses the platform inside a stack");
        return "the platform's rights in its AWS account do not suffice".to_owned();
    }
    reason.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: &str, message: &str) -> Failure {
        Failure { code: code.to_owned(), message: message.to_owned(), reached: true }
    }

    #[test]
    fn what_the_platform_may_not_do_is_not_spelt_out_to_a_tenant() {
        let said = "User: arn:aws:sts::123456789012:assumed-role/headgate-platform is not authorized to perform: x";
        for text in [failure("AccessDenied", said).about("the stack could not be made").to_string(), told(said)] {
            assert!(text.contains("rights") && !text.contains("123456789012"), "{text}");
        }
    }

    #[test]
    fn only_what_fails_the_same_way_every_time_is_permanent() {
        let permanent = |code| matches!(failure(code, "m").about("w"), DriverError::Permanent { .. });
        assert!(permanent("ValidationError") && permanent("InsufficientCapabilitiesException"));
        for code in ["Throttling", "LimitExceededException", "InternalFailure", "AccessDenied", "unknown"] {
            assert!(!permanent(code), "{code}");
        }
        let DriverError::Retry { after, .. } = failure("Throttling", "Rate exceeded").about("w") else { panic!() };
        assert_eq!(after, Some(SLOW_DOWN));
        assert!(failure("ValidationError", "Stack with id a does not exist").is_missing());
        for overtaken in [
            "Stack:arn is in UPDATE_IN_PROGRESS state and can not be updated.",
            "Stack [a] cannot be deleted while in status UPDATE_ROLLBACK_IN_PROGRESS",
            "No updates are to be performed.",
        ] {
            let error = failure("ValidationError", overtaken).about("w");
            assert!(matches!(error, DriverError::Retry { .. }), "{overtaken}");
        }
    }
}
