//! JSON bodies: read whole, within a cap, strictly, and with the place of what is wrong.

use axum::extract::{FromRequest, Request};
use headgate_types::{ErrorKind, FieldError, Problem};
use http::header;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;
use sha2::{Digest, Sha256};

use super::problem::ApiError;

/// The largest JSON body of an ordinary request, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// A JSON body. `LIMIT` is its cap in bytes.
#[derive(Debug, Clone)]
pub struct Body<T, const LIMIT: usize = MAX_BYTES> {
    /// The document.
    pub value: T,
    /// SHA-256 of the bytes as they came, for [`super::idempotency`].
    pub fingerprint: [u8; 32],
}

impl<T, S, const LIMIT: usize> FromRequest<S> for Body<T, LIMIT>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        require_json(&request)?;
        let bytes = read(request, LIMIT).await?;
        let value = parse(&bytes)?;
        Ok(Self { value, fingerprint: Sha256::digest(&bytes).into() })
    }
}

fn require_json(request: &Request) -> Result<(), ApiError> {
    let given = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let json = essence == "application/json" || essence.starts_with("application/") && essence.ends_with("+json");
    if json {
        return Ok(());
    }
    let detail = match essence.as_str() {
        "" => "the body needs a content-type; send application/json".to_owned(),
        other => format!("the body has the content type {other:?}; send application/json"),
    };
    Err(ApiError::new(ErrorKind::UnsupportedMediaType, "unsupported_media_type", detail))
}

async fn read(request: Request, limit: usize) -> Result<bytes::Bytes, ApiError> {
    let too_large = || {
        ApiError::new(
            ErrorKind::TooLarge,
            "body_too_large",
            format!("the body of this request has at most {limit} bytes"),
        )
    };
    let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: usize| length > limit) {
        return Err(too_large());
    }
    axum::body::to_bytes(request.into_body(), limit).await.map_err(|error| {
        let over = std::error::Error::source(&error)
            .is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>);
        if over {
            return too_large();
        }
        ApiError::new(ErrorKind::Invalid, "incomplete_body", "the body ended before all of it was received")
    })
}

/// Reads a document; errors carry a pointer, and the line and column in their text.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    // Every body is an object; the library would take the values of an array for its members, in order.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        let detail = "the document: a JSON object is expected, not an array".to_owned();
        let problem = Problem::new(ErrorKind::Invalid, "invalid_body", detail.clone());
        return Err(ApiError::of(problem.with_fields(vec![FieldError::new("", "invalid_value", detail)])));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| refusal(&error))?;
    json.end().map_err(|error| syntax(&error, "/"))?;
    // In JSON it can only be written like this. PostgreSQL keeps it in no text, so no document may have it.
    if bytes.windows(6).any(|part| part == br"\u0000")
        && let Some(pointer) = serde_json::from_slice(bytes).ok().and_then(|document| null_character(&document))
    {
        let detail = format!("{pointer}: the character U+0000 is taken nowhere");
        return Err(ApiError::refused(vec![FieldError::new(pointer, "invalid_value", detail)]));
    }
    Ok(value)
}

/// Where a text or a name holds U+0000.
fn null_character(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => text.contains('\0').then(String::new),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, item)| null_character(item).map(|rest| format!("/{index}{rest}"))),
        Value::Object(members) => members.iter().find_map(|(name, value)| {
            let place = format!("/{}", escape(&name.replace('\0', "\u{fffd}")));
            if name.contains('\0') { Some(place) } else { null_character(value).map(|rest| place + &rest) }
        }),
        _ => None,
    }
}

fn refusal(error: &serde_path_to_error::Error<serde_json::Error>) -> ApiError {
    let mut pointer = pointer(error.path());
    let inner = error.inner();
    if !inner.is_data() {
        return syntax(inner, &pointer);
    }
    let text = message(inner);
    let (code, detail) = if let Some(name) = between(&text, "unknown field `", "`") {
        if !pointer.ends_with(&format!("/{}", escape(name))) {
            pointer.push('/');
            pointer.push_str(&escape(name));
        }
        unknown_field(name, &text)
    } else if text.starts_with("missing field") {
        if let Some(name) = between(&text, "missing field `", "`") {
            pointer.push('/');
            pointer.push_str(&escape(name));
        }
        ("missing_field", text.clone())
    } else {
        ("invalid_value", text.clone())
    };
    let place = if pointer.is_empty() { "the document".to_owned() } else { pointer.clone() };
    let problem = Problem::new(ErrorKind::Invalid, "invalid_body", format!("{place}: {detail}"));
    ApiError::of(problem.with_fields(vec![FieldError::new(pointer, code, detail)]))
}

/// People bring the names of other systems along; the error says which one is meant here.
fn unknown_field(name: &str, text: &str) -> (&'static str, String) {
    let snake = snake_case(name);
    let meant = text.split('`').skip(3).step_by(2).find(|known| **known == snake && snake != name);
    match meant {
        Some(known) => ("wrong_name", format!("there is no field {name:?}; it is called {known:?}")),
        None => ("unknown_field", text.to_owned()),
    }
}

fn syntax(error: &serde_json::Error, pointer: &str) -> ApiError {
    let detail =
        format!("the body is not valid JSON at line {}, column {}: {}", error.line(), error.column(), message(error));
    let field = FieldError::new(pointer, "invalid_json", detail.clone());
    ApiError::of(Problem::new(ErrorKind::Invalid, "invalid_json", detail).with_fields(vec![field]))
}

/// The text of an error without the position that serde_json appends.
fn message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(head, _)| head.to_owned())
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.split_once(before)?.1.split_once(after).map(|(name, _)| name)
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => pointer.push_str(&format!("/{}", escape(key))),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

/// RFC 6901, section 3.
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    let mut previous_lower = false;
    for c in name.chars() {
        if c.is_ascii_uppercase() && previous_lower {
            snake.push('_');
        }
        previous_lower = c.is_ascii_lowercase() || c.is_ascii_digit();
        snake.push(if matches!(c, '-' | ' ') { '_' } else { c.to_ascii_lowercase() });
    }
    snake
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Order {
        #[expect(dead_code, reason = "read by serde only")]
        channel_profile: String,
        #[expect(dead_code, reason = "read by serde only")]
        #[serde(default)]
        data: Vec<Item>,
        #[expect(dead_code, reason = "read by serde only")]
        #[serde(default)]
        labels: std::collections::BTreeMap<String, String>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Item {
        #[expect(dead_code, reason = "read by serde only")]
        size: u32,
    }

    fn field(text: &str) -> FieldError {
        parse::<Order>(text.as_bytes()).unwrap_err().problem.errors.remove(0)
    }

    #[test]
    fn an_array_is_not_taken_for_an_object() {
        let error = field(r#"[ "api", [] ]"#);
        assert_eq!((error.pointer.as_str(), error.code.as_str()), ("", "invalid_value"));
    }

    #[test]
    fn bad_json_names_line_and_column() {
        let error = parse::<Order>(b"{\n  \"channel_profile\": \"api\",\n").unwrap_err();
        assert_eq!(error.problem.code, "invalid_json");
        assert!(error.problem.detail.contains("line 3"), "{}", error.problem.detail);
        assert_eq!(parse::<Order>(b"{\"channel_profile\":\"a\"} x").unwrap_err().problem.code, "invalid_json");
    }

    #[test]
    fn a_character_that_no_database_keeps_is_pointed_at() {
        let error = field(r#"{"channel_profile":"a\u0000b"}"#);
        assert_eq!((error.pointer.as_str(), error.code.as_str()), ("/channel_profile", "invalid_value"));
        let error = field(r#"{"channel_profile":"a","labels":{"x":"\u0000"}}"#);
        assert_eq!(error.pointer, "/labels/x");
        let error = field(r#"{"channel_profile":"a","labels":{"x\u0000/":"y"}}"#);
        assert_eq!(error.pointer, "/labels/x\u{fffd}~1");
        parse::<Order>(br#"{"channel_profile":"a\\u0000b","labels":{"x":"\u00000"}}"#).unwrap_err();
        parse::<Order>(br#"{"channel_profile":"a\\u0000b"}"#).unwrap();
    }

    #[test]
    fn a_wrong_value_is_pointed_at() {
        let error = field(r#"{"channel_profile":"api","data":[{"size":1},{"size":"x"}]}"#);
        assert_eq!((error.pointer.as_str(), error.code.as_str()), ("/data/1/size", "invalid_value"));
        let error = field(r#"{"channel_profile":"api","data":[{}]}"#);
        assert_eq!((error.pointer.as_str(), error.code.as_str()), ("/data/0/size", "missing_field"));
    }

    #[test]
    fn an_unknown_field_is_pointed_at() {
        let error = field(r#"{"channel_profile":"api","data":[{"size":1,"colour":2}]}"#);
        assert_eq!((error.pointer.as_str(), error.code.as_str()), ("/data/0/colour", "unknown_field"));
    }

    #[test]
    fn a_pascal_case_key_gets_an_error_naming_the_right_one() {
        let error = field(r#"{"ChannelProfile":"api"}"#);
        assert_eq!((error.pointer.as_str(), error.code.as_str()), ("/ChannelProfile", "wrong_name"));
        assert_eq!(error.detail, "there is no field \"ChannelProfile\"; it is called \"channel_profile\"");
    }
}
