//! The options of a webhook channel.

use headgate_types::FieldError;
use indexmap::IndexMap;
use serde_json::{Value, json};
use url::Url;

/// The most records in one request.
const MAX_BATCH: u64 = 10_000;
/// The most lanes.
const MAX_LANES: u64 = 64;

/// Where and how to post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The receiver.
    pub url: Url,
    /// Records per request.
    pub batch_records: usize,
    /// Lanes that post at once.
    pub lanes: usize,
}

/// The JSON Schema of the options.
pub fn schema() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["url"],
        "properties": {
            "url": {"type": "string", "format": "uri", "description": "Where records are posted; https."},
            "batch_records": {
                "type": "integer", "minimum": 1, "maximum": MAX_BATCH, "default": 100,
                "description": "The most records in one request."
            },
            "lanes": {
                "type": "integer", "minimum": 1, "maximum": MAX_LANES, "default": 4,
                "description": "Requests at once; records with the same key are always in the same lane, in order."
            }
        }
    })
}

impl Settings {
    /// Reads the options; the errors point into them. Whether the address may be reached is
    /// decided when it is reached, because only then its IP addresses are known.
    pub fn read(options: &IndexMap<String, Value>) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        for name in options.keys().filter(|name| !["url", "batch_records", "lanes"].contains(&name.as_str())) {
            let detail = format!("webhook channels have no option {name:?}; they have url, batch_records and lanes");
            errors.push(FieldError::new(format!("/{name}"), "unknown_option", detail));
        }
        let url = match options.get("url") {
            None => Err("a webhook channel needs the address to post to"),
            Some(Value::String(text)) => Url::parse(text)
                .ok()
                .filter(acceptable)
                .ok_or("not an http or https address with a host, without a password"),
            Some(_) => Err("the address is a text"),
        };
        let url = url.map_err(|detail| errors.push(FieldError::new("/url", "invalid_url", detail))).ok();
        let batch_records = number(options, "batch_records", 100, MAX_BATCH, &mut errors);
        let lanes = number(options, "lanes", 4, MAX_LANES, &mut errors);
        match url {
            Some(url) if errors.is_empty() => Ok(Self { url, batch_records, lanes }),
            _ => Err(errors),
        }
    }
}

fn acceptable(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.has_host() && url.password().is_none() && url.username().is_empty()
}

fn number(
    options: &IndexMap<String, Value>,
    name: &str,
    default: usize,
    most: u64,
    errors: &mut Vec<FieldError>,
) -> usize {
    let Some(value) = options.get(name) else { return default };
    let number = value.as_u64().filter(|number| (1..=most).contains(number)).and_then(|n| usize::try_from(n).ok());
    number.unwrap_or_else(|| {
        let detail = format!("{name} is a whole number from 1 to {most}");
        errors.push(FieldError::new(format!("/{name}"), "out_of_range", detail));
        default
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: Value) -> Result<Settings, Vec<String>> {
        let options = serde_json::from_value(options).unwrap();
        Settings::read(&options).map_err(|errors| errors.into_iter().map(|error| error.pointer).collect())
    }

    #[test]
    fn options_have_defaults_and_wrong_ones_are_named() {
        let settings = read(json!({"url": "https://example.org/in"})).unwrap();
        assert_eq!((settings.batch_records, settings.lanes), (100, 4));
        assert_eq!(read(json!({})), Err(vec!["/url".into()]));
        assert_eq!(read(json!({"url": "ftp://example.org"})), Err(vec!["/url".into()]));
        assert_eq!(read(json!({"url": "https://a:b@example.org"})), Err(vec!["/url".into()]));
        let wrong = json!({"url": "https://example.org", "lanes": 0, "batch_records": 2.5, "batch": 1});
        assert_eq!(read(wrong), Err(vec!["/batch".into(), "/batch_records".into(), "/lanes".into()]));
    }
}
