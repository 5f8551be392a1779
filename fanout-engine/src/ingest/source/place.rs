//! Where the records of a binding come from.

use headgate_types::channel::Binding;

use super::CloudSource;
use crate::cloud::{Place as Named, QueueName};

/// A source in a cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `s3://<bucket>`, whose objects are announced in a queue.
    Bucket {
        /// Its name.
        bucket: String,
        /// Where they are announced.
        notifications: QueueName,
    },
    /// `sqs://<region>/<account>/<queue>`.
    Queue {
        /// The queue.
        queue: QueueName,
        /// Where messages go that were received too often.
        dead: Option<QueueName>,
    },
    /// `kinesis://<region>/<stream>`.
    Stream(String),
}

impl CloudSource {
    /// The source that a binding names; none for a channel that payloads are posted to.
    ///
    /// # Errors
    /// It names a source of a cloud, but not all that is needed to fetch from it.
    pub fn of(binding: &Binding) -> Result<Option<Self>, String> {
        let scheme = binding.url.split_once("://").map_or("", |(scheme, _)| scheme);
        if !matches!(scheme, "s3" | "sqs" | "kinesis") {
            return Ok(None);
        }
        let lacks = |what: &str| format!("the channel's address {:?} lacks {what}", binding.url);
        let cloud = binding.cloud.clone().ok_or_else(|| lacks("the role to reach it by"))?;
        let further = |name: &str| match cloud.further.get(name).and_then(|url| Named::of(url)) {
            Some(Named::Queue(queue)) => Some(queue),
            _ => None,
        };
        let place = match Named::of(&binding.url) {
            Some(Named::Bucket(bucket)) => Place::Bucket {
                bucket,
                notifications: further("notifications").ok_or_else(|| lacks("its queue of notifications"))?,
            },
            Some(Named::Queue(queue)) => Place::Queue { queue, dead: further("dead_letters") },
            Some(Named::Stream(stream)) => Place::Stream(stream),
            None => return Err(lacks("the name of a bucket, of an account and queue, or of a stream")),
        };
        Ok(Some(Self { place, cloud }))
    }
}

#[cfg(test)]
mod tests {
    use headgate_types::channel::{CloudBinding, CloudClient};

    use super::*;

    fn binding(url: &str) -> Binding {
        let further = [
            ("notifications".to_owned(), "sqs://eu-west-1/1/n".to_owned()),
            ("dead_letters".to_owned(), "sqs://eu-west-1/1/d.fifo".to_owned()),
        ];
        let cloud = CloudBinding {
            region: "eu-west-1".to_owned(),
            role: "arn:aws:iam::123456789012:role/r".to_owned(),
            external_id: "x".to_owned(),
            further: further.into_iter().collect(),
            client: CloudClient::User { name: "u".to_owned() },
        };
        Binding { cloud: Some(cloud), ..Binding::plain(url) }
    }

    #[test]
    fn the_scheme_decides_and_every_other_address_is_posted_to() {
        let place = |url: &str| CloudSource::of(&binding(url)).unwrap().map(|source| source.place);
        let queue = |name: &str| QueueName { account: "1".to_owned(), name: name.to_owned() };
        assert_eq!(place("s3://b"), Some(Place::Bucket { bucket: "b".to_owned(), notifications: queue("n") }));
        let of = Place::Queue { queue: queue("q.fifo"), dead: Some(queue("d.fifo")) };
        assert_eq!(place("sqs://eu-west-1/1/q.fifo"), Some(of));
        assert_eq!(place("kinesis://eu-west-1/s"), Some(Place::Stream("s".to_owned())));
        for other in ["file:///var/lib/x", "http://127.0.0.1/", "nothing"] {
            assert_eq!(place(other), None, "{other}");
        }
        for broken in ["s3://", "s3://a/b", "sqs://r/a", "sqs://r/a/q/x", "kinesis://r", "kinesis://r/"] {
            assert!(CloudSource::of(&binding(broken)).is_err(), "{broken}");
        }
        assert!(CloudSource::of(&Binding::plain("s3://b")).is_err(), "no role");
        crate::fuzz::text(
            "fanout-engine/src/ingest/source/place.rs of",
            &["s3://a", "sqs://r/1/q", "kinesis://r/s"],
            |text| CloudSource::of(&binding(text)).map(|_| ()),
        );
    }
}
