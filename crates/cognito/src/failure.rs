//! Errors of Cognito, and what is known after them.

use aws_sdk_cognitoidentityprovider::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use headgate_access::PoolError;

const THROTTLED: [&str; 4] = ["TooManyRequestsException", "ThrottlingException", "Throttling", "RequestLimitExceeded"];
const BROKEN: [&str; 3] = ["InternalErrorException", "InternalFailure", "ServiceUnavailable"];

/// A call that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    code: String,
    message: String,
    /// Cognito answered.
    answered: bool,
}

impl Failure {
    /// Whether what was named is not there.
    pub(crate) fn is_missing(&self) -> bool {
        self.code == "ResourceNotFoundException"
    }

    /// Whether asking again may help.
    pub(crate) fn passes(&self) -> bool {
        !self.answered || THROTTLED.contains(&self.code.as_str()) || BROKEN.contains(&self.code.as_str())
    }

    /// Whether the request may have been carried out all the same.
    pub(crate) fn may_have_happened(&self) -> bool {
        !self.answered || BROKEN.contains(&self.code.as_str())
    }

    /// As what a pool answers, about `what`, for example "the app client could not be made".
    pub(crate) fn about(self, what: &str) -> PoolError {
        if !self.answered {
            tracing::warn!(error = self.message, "failed to reach Cognito: {what}");
            return PoolError::Unavailable(format!("{what}: Cognito cannot be reached"));
        }
        let message = format!("{what}: {}: {}", self.code, self.message);
        tracing::warn!(code = self.code, error = self.message, "Cognito failed: {what}");
        if self.passes() { PoolError::Unavailable(message) } else { PoolError::Refused(message) }
    }

    /// What is said when there is no answer that could be told.
    pub(crate) fn malformed(message: &str) -> Self {
        Self { code: "malformed".to_owned(), message: message.to_owned(), answered: true }
    }
}

impl<E, R> From<SdkError<E, R>> for Failure
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    fn from(error: SdkError<E, R>) -> Self {
        let Some(service) = error.as_service_error() else {
            return Self { code: String::new(), message: DisplayErrorContext(&error).to_string(), answered: false };
        };
        Self {
            code: service.code().unwrap_or("unknown").to_owned(),
            message: service.message().unwrap_or_default().to_owned(),
            answered: true,
        }
    }
}
