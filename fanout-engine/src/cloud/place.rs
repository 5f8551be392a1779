//! What the address of a binding names. Its scheme decides how a channel is written and read, not the driver that
//! made it.

/// The resource that a binding's URL names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `s3://<bucket>`.
    Bucket(String),
    /// `sqs://<region>/<account>/<queue>`.
    Queue(QueueName),
    /// `kinesis://<region>/<stream>`.
    Stream(String),
}

/// A queue of SQS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueName {
    /// Whose it is.
    pub account: String,
    /// Its name; `….fifo` keeps order.
    pub name: String,
}

impl Place {
    /// The resource of the cloud that a URL names; `None` for every other URL.
    #[must_use]
    pub fn of(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let parts: Vec<&str> = rest.trim_end_matches('/').split('/').collect();
        match (scheme, parts.as_slice()) {
            (_, parts) if parts.iter().any(|part| part.is_empty()) => None,
            ("s3", [bucket]) => Some(Self::Bucket((*bucket).to_owned())),
            ("sqs", [_, account, name]) => {
                Some(Self::Queue(QueueName { account: (*account).to_owned(), name: (*name).to_owned() }))
            }
            ("kinesis", [_, stream]) => Some(Self::Stream((*stream).to_owned())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuzzed_addresses_name_one_resource_or_none() {
        let seeds = ["s3://a", "sqs://eu-west-1/1/q.fifo", "kinesis://eu-west-1/s"];
        crate::fuzz::text("fanout-engine/src/cloud/place.rs of", &seeds, Place::of);
        assert_eq!(Place::of("s3://a/"), Some(Place::Bucket("a".to_owned())));
        let queue = Place::Queue(QueueName { account: "1".to_owned(), name: "q.fifo".to_owned() });
        assert_eq!(Place::of("sqs://eu-west-1/1/q.fifo"), Some(queue));
        assert_eq!(Place::of("kinesis://eu-west-1/s"), Some(Place::Stream("s".to_owned())));
        for other in ["file:///a", "s3://", "s3://a/b", "sqs://r/q", "kinesis://r", "kinesis://r//", "x"] {
            assert_eq!(Place::of(other), None, "{other}");
        }
    }
}
