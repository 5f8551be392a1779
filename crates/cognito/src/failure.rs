//! What a failure of Cognito comes to.

use headgate_access::PoolError;
use headgate_aws::{Failure, Kind};

/// Whether asking again may help.
pub(crate) fn passes(failure: &Failure) -> bool {
    matches!(failure.kind(), Kind::Unanswered | Kind::Throttled | Kind::Broken)
}

/// As what a pool answers, about `what`, for example "the app client could not be made".
pub(crate) fn about(failure: &Failure, what: &str) -> PoolError {
    if failure.kind() == Kind::Unanswered {
        tracing::warn!(error = failure.message, "failed to reach Cognito: {what}");
        return PoolError::Unavailable(format!("{what}: Cognito cannot be reached"));
    }
    let message = format!("{what}: {}: {}", failure.code, failure.message);
    tracing::warn!(code = failure.code, error = failure.message, "Cognito failed: {what}");
    if passes(failure) { PoolError::Unavailable(message) } else { PoolError::Refused(message) }
}

/// When there is no answer that could be told.
pub(crate) fn malformed(message: &str) -> Failure {
    Failure::said("malformed", message)
}
