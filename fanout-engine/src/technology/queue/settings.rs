//! The options of a queue channel.

use std::time::Duration;

use headgate_types::FieldError;
use indexmap::IndexMap;
use serde_json::{Value, json};

/// How often a message may be received before it is set aside.
const MAX_RECEIVES: std::ops::RangeInclusive<u64> = 1..=1_000;
/// How long a message may stay invisible after it was received, in seconds: twelve hours, as SQS has it.
pub const VISIBILITY: std::ops::RangeInclusive<u64> = 0..=43_200;

/// How messages are given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// A message that was received this often and never acknowledged becomes a dead letter.
    pub max_receives: u64,
    /// How long a received message stays invisible unless the receiver says otherwise.
    pub visibility: Duration,
}

/// The JSON Schema of the options.
pub fn schema() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "ordered": {
                "type": "boolean", "default": false,
                "description": "Whether a queue of SQS keeps the order of a key (FIFO). Queues served by Headgate itself always do."
            },
            "max_receives": {
                "type": "integer", "minimum": MAX_RECEIVES.start(), "maximum": MAX_RECEIVES.end(), "default": 5,
                "description": "A message that was received this often and never acknowledged becomes a dead letter."
            },
            "visibility_seconds": {
                "type": "integer", "minimum": 1, "maximum": VISIBILITY.end(), "default": 30,
                "description": "How long a received message is given to nobody else unless it is acknowledged; a queue of SQS has the time of its size where none is ordered."
            }
        }
    })
}

impl Settings {
    /// Reads the options; the errors point into them.
    pub fn read(options: &IndexMap<String, Value>) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let known = ["ordered", "max_receives", "visibility_seconds"];
        for name in options.keys().filter(|name| !known.contains(&name.as_str())) {
            let detail =
                format!("queue channels have no option {name:?}; they have ordered, max_receives, visibility_seconds");
            errors.push(FieldError::new(format!("/{name}"), "unknown_option", detail));
        }
        // The driver reads it when it makes the queue; whoever writes sees it by the queue's name.
        if options.get("ordered").is_some_and(|value| !value.is_boolean()) {
            errors.push(FieldError::new("/ordered", "invalid_type", "ordered is true or false"));
        }
        let mut number = |name: &str, default: u64, range: std::ops::RangeInclusive<u64>| match options.get(name) {
            None => default,
            Some(value) => value.as_u64().filter(|number| range.contains(number)).unwrap_or_else(|| {
                let detail = format!("a whole number from {} to {}", range.start(), range.end());
                errors.push(FieldError::new(format!("/{name}"), "out_of_range", detail));
                default
            }),
        };
        let max_receives = number("max_receives", 5, MAX_RECEIVES);
        let visibility = Duration::from_secs(number("visibility_seconds", 30, 1..=*VISIBILITY.end()));
        if errors.is_empty() { Ok(Self { max_receives, visibility }) } else { Err(errors) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: Value) -> Result<Settings, Vec<String>> {
        let options: IndexMap<String, Value> = serde_json::from_value(options).unwrap();
        Settings::read(&options).map_err(|errors| errors.into_iter().map(|error| error.pointer).collect())
    }

    #[test]
    fn options_have_defaults_and_bounds() {
        let default = Settings { max_receives: 5, visibility: Duration::from_secs(30) };
        assert_eq!(read(json!({})), Ok(default));
        assert_eq!(read(json!({"ordered": true})), Ok(default));
        assert_eq!(read(json!({"ordered": 1})), Err(vec!["/ordered".into()]));
        assert_eq!(read(json!({"max_receives": 1, "visibility_seconds": 43_200})).unwrap().max_receives, 1);
        let wrong = json!({"max_receives": 0, "visibility_seconds": "1", "lanes": 4});
        assert_eq!(read(wrong), Err(vec!["/lanes".into(), "/max_receives".into(), "/visibility_seconds".into()]));
    }
}
