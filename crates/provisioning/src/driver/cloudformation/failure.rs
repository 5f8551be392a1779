//! Errors of AWS, in the words of a driver. What AWS says may name the account and the platform's
//! own principals; the order's owner is a tenant, so refusals are logged in full and told in short.

use std::time::Duration;

use headgate_aws::{Failure, Kind};

use crate::driver::DriverError;

/// How long to leave AWS alone when it asks for that.
pub(super) const SLOW_DOWN: Duration = Duration::from_secs(5);

/// Requests that fail the same way however often they are sent.
const WRONG: [&str; 3] = ["ValidationError", "InsufficientCapabilitiesException", "MalformedPolicyDocument"];

/// Whether the stack is not (any more) in the status in which it was seen. CloudFormation has the
/// same code for this as for a request that is wrong.
fn is_overtaken(failure: &Failure) -> bool {
    let said = |words: &str| failure.message.contains(words);
    said("_IN_PROGRESS")
        || said("can not be updated")
        || said("cannot be deleted")
        || said("No updates are to be performed")
}

/// A failure as what a driver answers, about `what`, for example "the stack could not be made".
pub(super) fn told_of(failure: &Failure, what: &str) -> DriverError {
    let (code, error) = (failure.code.as_str(), failure.message.as_str());
    match failure.kind() {
        Kind::Unanswered => {
            tracing::warn!(error, "failed to reach AWS: {what}");
            DriverError::retry(format!("{what}: AWS cannot be reached"))
        }
        Kind::Throttled => {
            DriverError::Retry { message: format!("{what}: AWS asks to slow down"), after: Some(SLOW_DOWN) }
        }
        Kind::Refused => {
            tracing::error!(code, error, "AWS refuses the platform: {what}");
            DriverError::retry(format!("{what}: the platform's rights in its AWS account do not suffice"))
        }
        _ => {
            let message = format!("{what}: {code}: {error}");
            if WRONG.contains(&code) && !is_overtaken(failure) {
                return DriverError::Permanent { code: "stack_refused", message };
            }
            DriverError::retry(message)
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

    fn about(code: &str, message: &str, what: &str) -> DriverError {
        told_of(&Failure::said(code, message), what)
    }

    #[test]
    fn what_the_platform_may_not_do_is_not_spelt_out_to_a_tenant() {
        let said = "User: arn:aws:sts::123456789012:assumed-role/headgate-platform is not authorized to perform: x";
        for text in [about("AccessDenied", said, "the stack could not be made").to_string(), told(said)] {
            assert!(text.contains("rights") && !text.contains("123456789012"), "{text}");
        }
    }

    #[test]
    fn only_what_fails_the_same_way_every_time_is_permanent() {
        let permanent = |code| matches!(about(code, "m", "w"), DriverError::Permanent { .. });
        assert!(permanent("ValidationError") && permanent("InsufficientCapabilitiesException"));
        for code in ["Throttling", "LimitExceededException", "InternalFailure", "AccessDenied", "unknown"] {
            assert!(!permanent(code), "{code}");
        }
        let DriverError::Retry { after, .. } = about("Throttling", "Rate exceeded", "w") else { panic!() };
        assert_eq!(after, Some(SLOW_DOWN));
        for overtaken in [
            "Stack:arn is in UPDATE_IN_PROGRESS state and can not be updated.",
            "Stack [a] cannot be deleted while in status UPDATE_ROLLBACK_IN_PROGRESS",
            "No updates are to be performed.",
        ] {
            let error = about("ValidationError", overtaken, "w");
            assert!(matches!(error, DriverError::Retry { .. }), "{overtaken}");
        }
    }
}
