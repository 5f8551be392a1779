//! Channels whose resource a cloud holds, as sinks come to it.

use std::time::Duration;

use headgate_aws::{Failure, Kind, SdkConfig};

use super::{OpenChannel, SinkError};
use crate::cloud::{Place, is_throttle};

/// How long to leave the cloud alone when it asks to slow down.
pub const SLOW_DOWN: Duration = Duration::from_secs(1);

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

/// What a failure comes to for a sink.
pub trait About {
    /// As the answer of a sink about `what`, for example "the queue". Nothing here depends on records.
    fn about(self, what: &str) -> SinkError;
}

impl About for Failure {
    fn about(self, what: &str) -> SinkError {
        let kind = self.kind();
        if kind == Kind::Unanswered {
            tracing::warn!(error = self.message, "failed to reach {what}");
            return SinkError::retry(format!("{what} cannot be reached"));
        }
        if is_throttle(&self) {
            return SinkError::Retry { after: Some(SLOW_DOWN), reason: format!("{what} takes no more just now") };
        }
        let code = self.code.as_str();
        if kind == Kind::Refused {
            tracing::warn!(code, error = self.message, "the cloud refuses the platform: {what}");
            return SinkError::retry(format!("{what} lets the platform not in ({code}): its policy must allow it"));
        }
        if kind == Kind::Missing {
            return SinkError::retry(format!("{what} is not there ({code}): it was removed, or is not made yet"));
        }
        tracing::warn!(code, error = self.message, "a call to the cloud failed: {what}");
        SinkError::retry(format!("{what} answers {code}: {}", self.message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
