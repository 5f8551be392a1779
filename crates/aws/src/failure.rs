//! Errors of AWS, and what is known after them.

use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::display::DisplayErrorContext;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

/// What a failure comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No answer: the request may have been carried out all the same.
    Unanswered,
    /// AWS asks to be asked less often.
    Throttled,
    /// A limit of the account is reached: of Kinesis one of requests, elsewhere one of things.
    Limited,
    /// The service does not let in who asks.
    Refused,
    /// There is no such resource, or it is not seen there yet.
    Missing,
    /// There is no such object, or no such version of it; a delete marker is asked for as if it were one.
    Absent,
    /// What was conditional on a state met another.
    Conflict,
    /// The service failed by itself: the request may have been carried out all the same.
    Broken,
    /// What only its code tells, if at all.
    Other,
}

const CODES: [(Kind, &[&str]); 7] = [
    (
        Kind::Throttled,
        &[
            "Throttling",
            "ThrottlingException",
            "ThrottledException",
            "RequestThrottled",
            "RequestThrottledException",
            "RequestLimitExceeded",
            "TooManyRequestsException",
            "SlowDown",
            "BandwidthLimitExceeded",
            "ProvisionedThroughputExceededException",
            "KMSThrottlingException",
            "KmsThrottled",
            "OverLimit",
        ],
    ),
    (Kind::Limited, &["LimitExceededException"]),
    (Kind::Refused, REFUSED),
    (
        Kind::Missing,
        &[
            "NoSuchEntity",
            "NoSuchBucket",
            "ResourceNotFoundException",
            "QueueDoesNotExist",
            "AWS.SimpleQueueService.NonExistentQueue",
            "AWS.SimpleQueueService.QueueDeletedRecently",
            "InvalidAddress",
        ],
    ),
    (Kind::Absent, &["NoSuchKey", "NoSuchVersion", "MethodNotAllowed", "NotFound", "404"]),
    (Kind::Conflict, &["PreconditionFailed", "ConditionalRequestConflict"]),
    (Kind::Broken, &["InternalError", "InternalErrorException", "InternalFailure", "ServiceUnavailable"]),
];
const REFUSED: &[&str] = &[
    "AccessDenied",
    "AccessDeniedException",
    "AllAccessDisabled",
    "UnauthorizedOperation",
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

/// A call that failed. What AWS says may name the platform's own account and principals: it is logged, and
/// the owner of what was asked for is told what it comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The service's code; empty when it did not answer.
    pub code: String,
    /// What it says, or why there was no answer; for logs only.
    pub message: String,
}

impl Failure {
    /// What the service said, for example of a part of a request.
    pub fn said(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }

    /// Whether the service says this.
    #[must_use]
    pub fn is(&self, code: &str) -> bool {
        self.code == code
    }

    /// What it comes to.
    #[must_use]
    pub fn kind(&self) -> Kind {
        if self.code.is_empty() {
            return Kind::Unanswered;
        }
        // CloudFormation has no code of its own for a stack that is not there.
        if self.code == "ValidationError" && self.message.contains("does not exist") {
            return Kind::Missing;
        }
        let known = CODES.iter().find(|(_, codes)| codes.contains(&self.code.as_str()));
        known.map_or(Kind::Other, |(kind, _)| *kind)
    }

    /// Whether what was named is not there, or not seen there yet.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.kind() == Kind::Missing
    }

    /// Whether the request may have been carried out all the same.
    #[must_use]
    pub fn may_have_happened(&self) -> bool {
        matches!(self.kind(), Kind::Unanswered | Kind::Broken)
    }
}

impl<E, R> From<SdkError<E, R>> for Failure
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    fn from(error: SdkError<E, R>) -> Self {
        if let Some(service) = error.as_service_error() {
            return Self::said(service.code().unwrap_or("unknown"), service.message().unwrap_or_default());
        }
        let message = DisplayErrorContext(&error).to_string();
        // Credentials that cannot be had, such as a role's, fail the call before it is sent.
        let refused = REFUSED.iter().find(|code| message.contains(*code));
        Self::said(refused.copied().unwrap_or_default(), message)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt;

    use aws_smithy_types::error::ErrorMetadata;

    use super::*;

    /// An error of a service.
    #[derive(Debug)]
    struct Said(ErrorMetadata);

    impl fmt::Display for Said {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("said")
        }
    }

    impl std::error::Error for Said {}

    impl ProvideErrorMetadata for Said {
        fn meta(&self) -> &ErrorMetadata {
            &self.0
        }
    }

    fn answered(code: Option<&str>) -> Failure {
        let mut said = ErrorMetadata::builder().message("m");
        if let Some(code) = code {
            said = said.code(code);
        }
        SdkError::service_error(Said(said.build()), ()).into()
    }

    fn unsent(why: &str) -> Failure {
        SdkError::<Said, ()>::construction_failure(why.to_owned()).into()
    }

    #[test]
    fn an_answer_is_read_by_its_code_and_what_has_none_is_unknown() {
        let kinds = [
            ("SlowDown", Kind::Throttled),
            ("LimitExceededException", Kind::Limited),
            ("AccessDenied", Kind::Refused),
            ("NoSuchEntity", Kind::Missing),
            ("NoSuchKey", Kind::Absent),
            ("PreconditionFailed", Kind::Conflict),
            ("InternalFailure", Kind::Broken),
            ("ValidationError", Kind::Other),
        ];
        for (code, kind) in kinds {
            assert_eq!(answered(Some(code)).kind(), kind, "{code}");
        }
        assert_eq!((answered(None).code.as_str(), answered(None).kind()), ("unknown", Kind::Other));
        assert!(Failure::said("ValidationError", "Stack with id a does not exist").is_missing());
        assert!(!Failure::said("ValidationError", "a is in UPDATE_IN_PROGRESS").is_missing());
    }

    #[test]
    fn a_request_without_an_answer_may_have_been_carried_out_and_one_without_credentials_was_not_sent() {
        let lost = unsent("connection closed before message completed");
        assert_eq!((lost.kind(), lost.may_have_happened()), (Kind::Unanswered, true));
        assert!(lost.message.contains("connection closed"), "{}", lost.message);
        let refused = unsent("the credentials provider failed: AccessDenied: User: a is not authorized");
        assert_eq!((refused.kind(), refused.may_have_happened()), (Kind::Refused, false));
        for (code, may) in [("InternalErrorException", true), ("Throttling", false), ("AccessDenied", false)] {
            assert_eq!(answered(Some(code)).may_have_happened(), may, "{code}");
        }
    }

    #[test]
    fn no_code_stands_for_two_kinds() {
        let all: Vec<&str> = CODES.iter().flat_map(|(_, codes)| codes.iter().copied()).collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }
}
