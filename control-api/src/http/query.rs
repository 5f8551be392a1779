//! Query strings and path parameters, with problems that name the parameter.

use axum::extract::{FromRequestParts, rejection::QueryRejection};
use headgate_types::FieldError;
use http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use super::problem::ApiError;

/// The parameters of a query string.
#[derive(Debug, Clone, Copy)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        // PostgreSQL keeps U+0000 in no text, so no list can be asked for it.
        let mut pairs = parts.uri.query().unwrap_or_default().split('&');
        if let Some(pair) = pairs.find(|pair| pair.contains("%00")) {
            let name = pair.split('=').next().unwrap_or_default();
            let detail = format!("{name}: the character U+0000 is taken nowhere");
            return Err(ApiError::parameter(FieldError::new(name, "invalid_value", detail)));
        }
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(query) => Ok(Self(query.0)),
            Err(rejection) => Err(ApiError::parameter(named(&rejection))),
        }
    }
}

/// Reads a parameter of at most `N` characters: what its documentation says is what holds.
pub(crate) fn at_most<'de, const N: usize, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    if text.as_ref().is_some_and(|text| text.chars().count() > N) {
        return Err(serde::de::Error::custom(format!("at most {N} characters are read")));
    }
    Ok(text)
}

/// Reads the rows per page that were asked for: as many as the documented int32 can say, which are
/// fewer in the answer.
pub(crate) fn rows<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let rows = Option::<u32>::deserialize(deserializer)?;
    if rows.is_some_and(|rows| rows < 1 || i32::try_from(rows).is_err()) {
        return Err(serde::de::Error::custom(format!("a page has 1 to {} rows", i32::MAX)));
    }
    Ok(rows)
}

/// Reads a position of the log of events, which is an int64 everywhere.
pub(crate) fn position<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let position = u64::deserialize(deserializer)?;
    if i64::try_from(position).is_err() {
        return Err(serde::de::Error::custom(format!("a position is at most {}", i64::MAX)));
    }
    Ok(position)
}

fn named(rejection: &QueryRejection) -> FieldError {
    let text = rejection.body_text();
    let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
    if let Some(name) = text.split_once("unknown field `").and_then(|(_, rest)| rest.split('`').next()) {
        let detail = text.split_once("unknown field").map_or(text, |(_, rest)| rest);
        return FieldError::new(name, "unknown_parameter", format!("unknown parameter{detail}"));
    }
    if let Some(name) = text.split_once("missing field `").and_then(|(_, rest)| rest.split('`').next()) {
        return FieldError::new(name, "missing_parameter", format!("the parameter {name} is required"));
    }
    match text.split_once(": ") {
        Some((name, detail)) if !name.contains(' ') => {
            FieldError::new(name, "invalid_value", format!("{name}: {detail}"))
        }
        _ => FieldError::new("query", "invalid_value", text),
    }
}

/// The parameters of a path. An id that cannot be one names nothing: 404, as for any other.
#[derive(Debug, Clone, Copy)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(path) => Ok(Self(path.0)),
            Err(_) => Err(ApiError::not_found("resource; the path holds something that is not an id of its kind")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct List {
        #[expect(dead_code, reason = "read by serde only")]
        #[serde(default, deserialize_with = "rows")]
        page_size: Option<u32>,
    }

    async fn error(uri: &str) -> FieldError {
        let mut parts = http::Request::builder().uri(uri).body(()).unwrap().into_parts().0;
        Query::<List>::from_request_parts(&mut parts, &()).await.unwrap_err().problem.errors.remove(0)
    }

    #[tokio::test]
    async fn a_wrong_parameter_is_named() {
        let wrong = error("/x?page_size=many").await;
        assert_eq!((wrong.pointer.as_str(), wrong.code.as_str()), ("page_size", "invalid_value"));
        for rows in ["0", "2147483648", "-1", ""] {
            assert_eq!(error(&format!("/x?page_size={rows}")).await.pointer, "page_size", "{rows}");
        }
        let null = error("/x?page_size=1&filter=name:%00").await;
        assert_eq!((null.pointer.as_str(), null.code.as_str()), ("filter", "invalid_value"));
        let unknown = error("/x?pagesize=1").await;
        assert_eq!((unknown.pointer.as_str(), unknown.code.as_str()), ("pagesize", "unknown_parameter"));
    }
}
