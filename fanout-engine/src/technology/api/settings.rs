//! The options of an api channel.

use headgate_types::FieldError;
use indexmap::IndexMap;
use serde_json::{Value, json};
use url::Url;

const NAMES: [&str; 2] = ["indexes", "cors_origins"];
/// More indexes than this slow down writing more than they help reading.
const MAX_INDEXES: usize = 16;
const MAX_ORIGINS: usize = 32;

/// What the owner of the channel chose.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Output fields with an index, for filters and sorting on large tables.
    pub indexes: Vec<String>,
    /// Web origins whose pages may read the channel.
    pub cors_origins: Vec<String>,
}

/// The JSON Schema of the options.
pub fn schema() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "indexes": {
                "type": "array", "items": {"type": "string"}, "maxItems": MAX_INDEXES, "uniqueItems": true,
                "description": "Output fields to index, for filters and sorting on large tables. Keys always are."
            },
            "cors_origins": {
                "type": "array", "items": {"type": "string", "format": "uri"}, "maxItems": MAX_ORIGINS,
                "description": "Web origins whose pages may read the channel, for example https://app.example.com."
            }
        }
    })
}

impl Settings {
    /// Reads the options; the errors point into them.
    pub fn read(options: &IndexMap<String, Value>) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        for name in options.keys().filter(|name| !NAMES.contains(&name.as_str())) {
            let detail = format!("api channels have no option {name:?}; they have {}", NAMES.join(" and "));
            errors.push(FieldError::new(format!("/{name}"), "unknown_option", detail));
        }
        let indexes = texts(options, "indexes", MAX_INDEXES, &mut errors);
        let cors_origins = texts(options, "cors_origins", MAX_ORIGINS, &mut errors);
        for (at, origin) in cors_origins.iter().enumerate().filter(|(_, origin)| !is_origin(origin)) {
            let detail = format!("{origin:?} is not an origin such as https://app.example.com");
            errors.push(FieldError::new(format!("/cors_origins/{at}"), "invalid_origin", detail));
        }
        if errors.is_empty() { Ok(Self { indexes, cors_origins }) } else { Err(errors) }
    }
}

/// Scheme, host and port as browsers send them; never `*`, which would open a private store.
fn is_origin(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.has_host() && url.origin().ascii_serialization() == text
    })
}

fn texts(options: &IndexMap<String, Value>, name: &str, most: usize, errors: &mut Vec<FieldError>) -> Vec<String> {
    let Some(value) = options.get(name) else { return Vec::new() };
    let texts: Option<Vec<String>> =
        value.as_array().and_then(|items| items.iter().map(|item| item.as_str().map(str::to_owned)).collect());
    match texts {
        Some(texts) if texts.len() <= most => texts,
        _ => {
            let detail = format!("{name} is a list of at most {most} texts");
            errors.push(FieldError::new(format!("/{name}"), "invalid_option", detail));
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: Value) -> Result<Settings, Vec<String>> {
        let options = serde_json::from_value(options).unwrap();
        Settings::read(&options).map_err(|errors| errors.into_iter().map(|error| error.pointer).collect())
    }

    #[test]
    fn options_are_read_or_refused_by_place() {
        let settings = read(json!({"indexes": ["a"], "cors_origins": ["https://app.example.com"]})).unwrap();
        assert_eq!(settings.indexes, ["a"]);
        assert_eq!(read(json!({"index": []})), Err(vec!["/index".to_owned()]));
        for origin in ["*", "https://a.example/", "https://a.example/x", "file:///x", "null"] {
            assert_eq!(read(json!({"cors_origins": [origin]})), Err(vec!["/cors_origins/0".to_owned()]), "{origin}");
        }
        assert_eq!(read(json!({"indexes": "a"})), Err(vec!["/indexes".to_owned()]));
    }
}
