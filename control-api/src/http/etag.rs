//! Optimistic concurrency: strong entity tags, and `If-Match` where something is changed.

use axum::extract::FromRequestParts;
use headgate_types::ErrorKind;
use http::request::Parts;
use http::{HeaderValue, header};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::problem::ApiError;

/// A strong entity tag (RFC 9110, section 8.8.3), with its quotation marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ETag(String);

impl ETag {
    /// The tag of a row that counts its versions.
    #[must_use]
    pub fn version(version: u64) -> Self {
        Self(format!("\"v{version}\""))
    }

    /// The tag of a document.
    #[must_use]
    pub fn of(document: &impl Serialize) -> Self {
        let bytes = serde_json::to_vec(document).unwrap_or_default();
        Self(format!("\"{}\"", hex::encode(&Sha256::digest(bytes)[..16])))
    }

    /// As a header value.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).unwrap_or(HeaderValue::from_static("\"\""))
    }
}

/// The `If-Match` header of a change; without it the extractor answers 428.
#[derive(Debug, Clone)]
pub struct IfMatch(String);

impl IfMatch {
    /// Whether the caller saw the present version.
    ///
    /// # Errors
    /// `etag_mismatch` (412) when it did not.
    pub fn check(&self, current: &ETag) -> Result<(), ApiError> {
        let matches = self.0.trim() == "*" || self.0.split(',').any(|tag| tag.trim() == current.0);
        if matches {
            return Ok(());
        }
        let detail = "it was changed since you read it; read it again and decide";
        let error = ApiError::new(ErrorKind::PreconditionFailed, "etag_mismatch", detail);
        Err(error.with_header(header::ETAG, current.header()))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let given = parts.headers.get(header::IF_MATCH).and_then(|value| value.to_str().ok());
        given.map(|text| Self(text.to_owned())).ok_or_else(|| {
            let detail = "send If-Match with the ETag of the version you read, so that no other change is lost";
            ApiError::new(ErrorKind::PreconditionRequired, "if_match_required", detail)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_present_tag_matches() {
        let current = ETag::version(3);
        for good in ["\"v3\"", "*", "\"v2\", \"v3\""] {
            assert!(IfMatch(good.to_owned()).check(&current).is_ok(), "{good}");
        }
        // A weak tag never matches: RFC 9110 asks for the strong comparison here.
        for stale in ["\"v2\"", "W/\"v3\"", "v3", ""] {
            assert_eq!(IfMatch(stale.to_owned()).check(&current).unwrap_err().status(), 412, "{stale}");
        }
    }

    #[test]
    fn documents_that_differ_have_different_tags() {
        assert_eq!(ETag::of(&("a", 1)), ETag::of(&("a", 1)));
        assert_ne!(ETag::of(&("a", 1)), ETag::of(&("a", 2)));
    }
}
