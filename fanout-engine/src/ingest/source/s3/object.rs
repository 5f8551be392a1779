//! One version of an object, on its way into the landing zone and out of the bucket.

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use futures::StreamExt;
use headgate_lake::{Body, LakeError, NewPayload};
use headgate_types::model::PayloadFormat;
use serde_json::json;

use super::super::Reach;
use super::super::failure::Failure;
use super::super::refused::{Untaken, Why};

/// A bucket that is emptied.
pub struct Bucket<'a> {
    pub reach: &'a Reach,
    pub client: Client,
    pub name: &'a str,
}

/// A version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    pub key: String,
    /// None where versions are not kept.
    pub version: Option<String>,
    /// In bytes, where it is known.
    pub size: Option<u64>,
    /// Whether nobody has put another since; None where that is not known.
    pub is_latest: Option<bool>,
}

impl Object {
    /// What landing knows it by: it is never another object's.
    fn name(&self) -> String {
        format!("s3:{}:{}", self.version.as_deref().unwrap_or_default(), self.key)
    }
}

/// Content type and encoding of an object.
#[derive(Debug, PartialEq, Eq)]
struct Kind {
    content_type: String,
    encoding: Option<String>,
}

impl Bucket<'_> {
    /// Takes a version; whether nothing is left to do with it.
    pub async fn take(&self, object: &Object) -> bool {
        match self.taken(object).await {
            Ok(is_done) => is_done,
            Err(failure) => {
                self.reach.trouble(failure.told()).await;
                false
            }
        }
    }

    async fn taken(&self, object: &Object) -> Result<bool, Failure> {
        let door = &self.reach.door;
        let limit = door.channel.limits.payload_bytes;
        let Some(_request) = door.channel.allowance.request_in_turn().await else { return Ok(false) };
        if object.size.is_some_and(|size| size > limit) {
            return self.refuse(object, too_large(object.size.unwrap_or_default(), limit)).await;
        }
        if !door.open_for(object.size.unwrap_or(1)).await {
            return Ok(false);
        }
        let asked = self.client.get_object().bucket(self.name).key(&object.key);
        let asked = asked.set_version_id(object.version.clone()).send().await;
        let got = match asked.map_err(Failure::of("reading an object")) {
            Ok(got) => got,
            // Taken before, or removed by whoever owns the account.
            Err(failure) if failure.is_gone() => return Ok(true),
            Err(failure) => return Err(failure),
        };
        let size = got.content_length.and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
        if size == 0 {
            // A folder of the console's, or the mark of a job that is done: there is no record in it.
            self.remove(object).await?;
            return Ok(true);
        }
        if size > limit {
            return self.refuse(object, too_large(size, limit)).await;
        }
        // With one feed keys are whatever the client likes.
        let segment = object.key.split_once('/').map(|(first, _)| first);
        let feed = match door.only_feed() {
            Some(feed) => feed,
            None => match door.feed(segment) {
                Ok(feed) => feed,
                Err(reason) => return self.refuse(object, (Why::FeedNotFound, reason)).await,
            },
        };
        let kind = match kind(&object.key, &got) {
            Ok(kind) => kind,
            Err(why) => return self.refuse(object, why).await,
        };
        let chunks = futures::stream::unfold(got.body, async |mut body| {
            let chunk = body.next().await?;
            Some((chunk.map_err(std::io::Error::other), body))
        });
        let payload = NewPayload {
            channel: door.channel.id,
            feed: feed.feed.id,
            idempotency_key: Some(object.name()),
            content_type: kind.content_type,
            encoding: kind.encoding,
            max_bytes: limit,
            body: Body::Stream(chunks.boxed()),
        };
        match door.ingest.parts.lake.landing().append(payload).await {
            Ok(landed) => door.landed(&[landed]),
            // It landed before, as what was refused then.
            Err(LakeError::IdempotencyKeyReused) => {}
            Err(error) => {
                self.reach.trouble(format!("an object cannot be landed: {error}")).await;
                return Ok(false);
            }
        }
        self.remove(object).await?;
        Ok(true)
    }

    /// Lands why an object is not taken. It is only hidden: the bucket removes it for good some days later.
    async fn refuse(&self, object: &Object, (why, reason): (Why, String)) -> Result<bool, Failure> {
        let door = &self.reach.door;
        let raw = json!({"bucket": self.name, "key": object.key, "version": object.version}).to_string();
        let piece = door.untaken(Some(object.name()), &Untaken { why, reason, raw });
        if self.reach.land(&Vec::from_iter(piece), None).await.is_err() {
            return Ok(false);
        }
        if object.is_latest != Some(false) {
            let hidden = self.client.delete_object().bucket(self.name).key(&object.key).send().await;
            hidden.map_err(Failure::of("hiding an object"))?;
        }
        Ok(true)
    }

    async fn remove(&self, object: &Object) -> Result<(), Failure> {
        let removed = self.client.delete_object().bucket(self.name).key(&object.key);
        let removed = removed.set_version_id(object.version.clone()).send().await;
        removed.map_err(Failure::of("removing an object"))?;
        Ok(())
    }
}

fn too_large(size: u64, limit: u64) -> (Why, String) {
    (Why::PayloadTooLarge, format!("the object has {size} bytes; the channel's size takes {limit}"))
}

/// By what was said when the object was put, else by the ends of its key: `.json`, `.ndjson`, `.jsonl`, `.csv`, each also
/// with `.gz` or `.zst`.
fn kind(key: &str, got: &GetObjectOutput) -> Result<Kind, (Why, String)> {
    kind_of(key, got.content_type.as_deref(), got.content_encoding.as_deref())
}

fn kind_of(key: &str, content_type: Option<&str>, encoding: Option<&str>) -> Result<Kind, (Why, String)> {
    let lower = key.to_ascii_lowercase();
    let packed = [(".gz", "gzip"), (".zst", "zstd")];
    let (plain, packed) = packed
        .iter()
        .find_map(|(end, encoding)| Some((lower.strip_suffix(end)?, Some(*encoding))))
        .unwrap_or((lower.as_str(), None));
    // How it was sent in chunks is no property of the object, but some clients leave it there.
    let said: Vec<String> = encoding
        .unwrap_or_default()
        .split(',')
        .map(|one| one.trim().to_ascii_lowercase())
        .filter(|one| !matches!(one.as_str(), "" | "identity" | "aws-chunked"))
        .collect();
    let encoding = match (&said[..], packed) {
        ([], packed) => packed.map(str::to_owned),
        ([one], _) if matches!(one.as_str(), "gzip" | "x-gzip" | "zstd") => Some(one.clone()),
        (other, _) => {
            let reason = format!("the content encoding {:?} is not taken; put gzip, zstd or none", other.join(", "));
            return Err((Why::UnsupportedContentEncoding, reason));
        }
    };
    let ends = [
        (".json", "application/json"),
        (".ndjson", "application/x-ndjson"),
        (".jsonl", "application/x-ndjson"),
        (".csv", "text/csv"),
    ];
    let said = content_type.filter(|said| PayloadFormat::from_content_type(said).is_some()).map(str::to_owned);
    let by_end = || ends.iter().find(|(end, _)| plain.ends_with(end)).map(|(_, known)| (*known).to_owned());
    let content_type = said.or_else(by_end).ok_or_else(|| {
        let reason = format!(
            "neither the content type {:?} nor the end of the key says what it is; put JSON, NDJSON or CSV",
            content_type.unwrap_or_default()
        );
        (Why::UnsupportedContentType, reason)
    })?;
    Ok(Kind { content_type, encoding })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_object_is_was_said_or_stands_at_the_end_of_its_key() {
        let octets = Some("binary/octet-stream");
        let cases = [
            ("a/b.json", octets, None, "application/json", None),
            ("a/b.JSONL.GZ", octets, None, "application/x-ndjson", Some("gzip")),
            ("b.csv.zst", None, Some("aws-chunked"), "text/csv", Some("zstd")),
            ("b.csv.gz", Some("text/csv"), None, "text/csv", Some("gzip")),
            (
                "b",
                Some("application/json; charset=utf-8"),
                Some("gzip"),
                "application/json; charset=utf-8",
                Some("gzip"),
            ),
            ("b.ndjson.gz", octets, Some("gzip,aws-chunked"), "application/x-ndjson", Some("gzip")),
        ];
        for (key, said, encoded, content_type, encoding) in cases {
            let kind = kind_of(key, said, encoded).unwrap();
            assert_eq!((kind.content_type.as_str(), kind.encoding.as_deref()), (content_type, encoding), "{key}");
        }
        assert_eq!(kind_of("b.parquet", octets, None).unwrap_err().0, Why::UnsupportedContentType);
        assert_eq!(kind_of("b.gz", octets, None).unwrap_err().0, Why::UnsupportedContentType);
        assert_eq!(kind_of("b.json", None, Some("br")).unwrap_err().0, Why::UnsupportedContentEncoding);
        assert_eq!(kind_of("b.json", None, Some("gzip,gzip")).unwrap_err().0, Why::UnsupportedContentEncoding);
    }
}
