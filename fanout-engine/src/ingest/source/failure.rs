//! Errors of a cloud as those of a source: what was tried, and what its owner is told.

use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use headgate_aws::Kind;

use crate::cloud;

/// A call that failed.
#[derive(Debug)]
pub struct Failure {
    what: &'static str,
    failure: headgate_aws::Failure,
}

impl Failure {
    /// Gives the call that failed its name, for example "receiving from the queue".
    pub fn of<E, R>(what: &'static str) -> impl FnOnce(SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        R: std::fmt::Debug + Send + Sync + 'static,
    {
        move |error| Self { what, failure: error.into() }
    }

    /// Whether the service says this.
    pub fn is(&self, code: &str) -> bool {
        self.failure.is(code)
    }

    /// Whether the cloud asks to be asked less often.
    pub fn is_throttle(&self) -> bool {
        cloud::is_throttle(&self.failure)
    }

    /// Whether there is no such object, or no such version of it, any more.
    pub fn is_gone(&self) -> bool {
        self.failure.kind() == Kind::Absent
    }

    /// For the channel's owner, once the log has everything.
    pub fn told(&self) -> String {
        let (what, code) = (self.what, self.failure.code.as_str());
        tracing::warn!(what, code, error = self.failure.message, "a call to the cloud failed");
        if self.failure.kind() == Kind::Unanswered {
            return format!("{what}: the cloud cannot be reached");
        }
        if self.is_throttle() {
            return format!("{what}: the cloud asks to slow down");
        }
        if self.failure.kind() == Kind::Refused {
            return format!(
                "{what}: the cloud does not let the platform take up the channel's role, or use it ({code})"
            );
        }
        format!("{what}: the cloud answers {code}")
    }
}
