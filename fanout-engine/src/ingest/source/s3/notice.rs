//! What S3 says in its queue of notifications.

use serde::Deserialize;

use super::object::Object;

/// A message of the queue.
#[derive(Debug, PartialEq)]
pub enum Notice {
    /// Objects were put.
    Objects(Vec<Object>),
    /// S3 tried the queue when the notification was set up.
    Test,
    /// Nothing that S3 says.
    Unknown,
}

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "Event")]
    event: Option<String>,
    #[serde(rename = "Records")]
    records: Option<Vec<Record>>,
}

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "eventName")]
    name: String,
    s3: Of,
}

#[derive(Deserialize)]
struct Of {
    object: Put,
}

#[derive(Deserialize)]
struct Put {
    key: String,
    size: Option<u64>,
    #[serde(rename = "versionId")]
    version: Option<String>,
}

impl Notice {
    /// Reads a message.
    pub fn read(text: &str) -> Self {
        let Ok(document) = serde_json::from_str::<Document>(text) else { return Self::Unknown };
        match (document.records, document.event.as_deref()) {
            (None, Some("s3:TestEvent")) => Self::Test,
            (None, _) => Self::Unknown,
            (Some(records), _) => {
                let puts = records.into_iter().filter(|record| record.name.contains("ObjectCreated"));
                let objects = puts.map(|record| {
                    let Put { key, size, version } = record.s3.object;
                    Object { key: decoded(&key), version, size, is_latest: None }
                });
                Self::Objects(objects.collect())
            }
        }
    }
}

/// Keys are announced as forms encode them: `+` for a space, `%2B` for a plus.
fn decoded(key: &str) -> String {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (key, mut bytes, mut at) = (key.as_bytes(), Vec::with_capacity(key.len()), 0);
    while let Some(byte) = key.get(at) {
        let escaped = match (byte, key.get(at + 1), key.get(at + 2)) {
            (b'%', Some(high), Some(low)) => digit(*high).zip(digit(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        at += if escaped.is_some() { 3 } else { 1 };
        bytes.push(escaped.unwrap_or(if *byte == b'+' { b' ' } else { *byte }));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUT: &str = r#"{"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},
        "object":{"key":"a/red+flower%2B%C3%BC%.json","size":7,"versionId":"v1","sequencer":"0"}}}]}"#;

    #[test]
    fn keys_are_decoded_and_what_is_no_put_is_no_object() {
        let put =
            Object { key: "a/red flower+ü%.json".into(), version: Some("v1".into()), size: Some(7), is_latest: None };
        assert_eq!(Notice::read(PUT), Notice::Objects(vec![put]));
        assert_eq!(Notice::read(r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"b"}"#), Notice::Test);
        assert_eq!(
            Notice::read(&PUT.replace("ObjectCreated:Put", "ObjectRemoved:Delete")),
            Notice::Objects(Vec::new())
        );
        for other in ["", "[]", "{}", "{\"Records\":[{}]}"] {
            assert_eq!(Notice::read(other), Notice::Unknown, "{other}");
        }
        crate::fuzz::text("fanout-engine/src/ingest/source/s3/notice.rs read", &[PUT], |text| {
            let _ = decoded(text);
            Notice::read(text)
        });
    }
}
