//! The requests that a bucket is asked: small documents, which are replaced only as they were read, and
//! files, which are made once.

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use headgate_aws::{Failure, Kind};

use super::super::store::Listed;

/// Bytes of a part; S3 takes 10,000 of them, each but the last of at least 5 MiB.
const PART_BYTES: usize = 8 << 20;
/// Parts of one file under way at once.
const PARTS: usize = 4;
/// Pages of left-over uploads that are ended at once.
const PAGES: usize = 10;
/// Where files are.
const FILES: &str = "files/";
/// The member of a file's metadata that names its content.
const DIGEST: &str = "sha256";

/// A bucket by its name.
#[derive(Debug, Clone)]
pub struct Objects {
    client: Client,
    bucket: String,
}

/// A document with the tag by which it is replaced.
#[derive(Debug, Clone)]
pub struct Document {
    /// Its bytes.
    pub content: Bytes,
    /// Its tag.
    pub tag: String,
}

impl Objects {
    /// The bucket of this name.
    pub const fn new(client: Client, bucket: String) -> Self {
        Self { client, bucket }
    }

    /// A document; None when there is none.
    pub async fn document(&self, key: &str) -> Result<Option<Document>, Failure> {
        let answer = match self.client.get_object().bucket(&self.bucket).key(key).send().await.map_err(Failure::from) {
            Ok(answer) => answer,
            Err(failure) if failure.kind() == Kind::Absent => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let tag = answer.e_tag.unwrap_or_default();
        let content =
            answer.body.collect().await.map_err(|error| Failure::said("IncompleteBody", error.to_string()))?;
        Ok(Some(Document { content: content.into_bytes(), tag }))
    }

    /// Replaces the document with this tag, or makes it where there is none. Returns the new tag.
    ///
    /// A request whose answer was lost is repeated by the SDK and then meets its own work: the document is
    /// compared before that counts as somebody else's.
    pub async fn replace(&self, key: &str, tag: Option<&str>, content: Bytes) -> Result<String, Failure> {
        let request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .content_type("application/json")
            .set_if_match(tag.map(str::to_owned))
            .set_if_none_match(tag.is_none().then(|| "*".to_owned()))
            .body(ByteStream::from(content.clone()));
        match request.send().await.map_err(Failure::from) {
            Ok(answer) => Ok(answer.e_tag.unwrap_or_default()),
            Err(failure) if failure.kind() == Kind::Conflict => match self.document(key).await? {
                Some(found) if found.content == content => Ok(found.tag),
                _ => Err(failure),
            },
            Err(failure) => Err(failure),
        }
    }

    /// Begins a file: nothing is visible before [`Objects::complete`]. Returns the upload's id.
    pub async fn begin(&self, file: &Listed, content_type: &str) -> Result<String, Failure> {
        let answer = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(key(&file.name))
            .content_type(content_type)
            .metadata(DIGEST, &file.sha256)
            .metadata("records", file.records.to_string())
            .metadata("checksum", &file.checksum)
            .metadata("lane", &file.lane)
            .metadata("model-version", file.model_version.to_string())
            .send()
            .await?;
        answer.upload_id.ok_or_else(|| Failure::said("NoUploadId", "an upload without an id"))
    }

    /// Sends a file's bytes.
    pub async fn upload(&self, name: &str, upload: &str, content: &Bytes) -> Result<CompletedMultipartUpload, Failure> {
        let part = |number: usize| {
            let start = number * PART_BYTES;
            let bytes = content.slice(start..content.len().min(start + PART_BYTES));
            let number = i32::try_from(number + 1).unwrap_or(i32::MAX);
            async move {
                let request = self.client.upload_part().bucket(&self.bucket).key(key(name)).upload_id(upload);
                let answer = request.part_number(number).body(ByteStream::from(bytes)).send().await?;
                let part = CompletedPart::builder()
                    .part_number(number)
                    .set_e_tag(answer.e_tag)
                    .set_checksum_crc32(answer.checksum_crc32)
                    .set_checksum_crc64_nvme(answer.checksum_crc64_nvme);
                Ok::<_, Failure>(part.build())
            }
        };
        let parts = 0..content.len().div_ceil(PART_BYTES).max(1);
        let parts = futures::stream::iter(parts).map(part).buffered(PARTS).try_collect().await?;
        Ok(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
    }

    /// Makes a file visible, unless there is one of its name.
    pub async fn complete(&self, file: &Listed, upload: &str, parts: CompletedMultipartUpload) -> Result<(), Failure> {
        let request = self.client.complete_multipart_upload().bucket(&self.bucket).key(key(&file.name));
        let request = request.upload_id(upload).if_none_match("*").multipart_upload(parts);
        match request.send().await.map_err(Failure::from) {
            Ok(_) => Ok(()),
            // It was done, and the answer was lost.
            Err(_) if self.holds(file).await? => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Ends an upload: afterwards nothing of it can become visible any more.
    pub async fn abort(&self, name: &str, upload: &str) -> Result<(), Failure> {
        let request = self.client.abort_multipart_upload().bucket(&self.bucket).key(key(name)).upload_id(upload);
        match request.send().await.map_err(Failure::from) {
            Err(failure) if !failure.is("NoSuchUpload") && failure.kind() != Kind::Absent => Err(failure),
            _ => Ok(()),
        }
    }

    /// Ends every upload that is under way, whoever began it. What is left of very many, the bucket's own rule ends.
    pub async fn abort_all(&self) -> Result<(), Failure> {
        for _ in 0..PAGES {
            let listed = self.client.list_multipart_uploads().bucket(&self.bucket).prefix(FILES).send().await?;
            let uploads = listed.uploads.unwrap_or_default();
            if uploads.is_empty() {
                return Ok(());
            }
            for upload in uploads {
                let name = upload.key.unwrap_or_default();
                let name = name.strip_prefix(FILES).unwrap_or(&name);
                self.abort(name, &upload.upload_id.unwrap_or_default()).await?;
            }
        }
        Ok(())
    }

    /// Whether this very file is visible.
    pub async fn holds(&self, file: &Listed) -> Result<bool, Failure> {
        let request = self.client.head_object().bucket(&self.bucket).key(key(&file.name));
        match request.send().await.map_err(Failure::from) {
            Ok(found) => {
                let digest = found.metadata.as_ref().and_then(|metadata| metadata.get(DIGEST));
                let size = found.content_length.and_then(|size| u64::try_from(size).ok());
                Ok(digest == Some(&file.sha256) && size == Some(file.bytes))
            }
            Err(failure) if failure.kind() == Kind::Absent => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// The names of the visible files.
    pub async fn names(&self) -> Result<std::collections::HashSet<String>, Failure> {
        let mut names = std::collections::HashSet::new();
        let mut pages = self.client.list_objects_v2().bucket(&self.bucket).prefix(FILES).into_paginator().send();
        while let Some(page) = pages.next().await {
            let keys = page?.contents.unwrap_or_default().into_iter().filter_map(|object| object.key);
            names.extend(keys.filter_map(|key| key.strip_prefix(FILES).map(str::to_owned)));
        }
        Ok(names)
    }
}

fn key(name: &str) -> String {
    format!("{FILES}{name}")
}
