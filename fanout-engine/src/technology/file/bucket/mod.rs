//! A bucket of S3 as a file channel.
//!
//! ```text
//! .headgate/state.json   cursors, the last sequence, the file under way; the client may not read it
//! files/                 visible files, each complete
//! manifest.json          what is visible, as in a directory
//! ```
//! Publishing a range (DATA-PLANE rule 27): an upload is begun; an intent that names range, file, digest
//! and upload becomes durable in the state; the bytes go up in parts; the upload's completion, which
//! fails if the name exists, makes the file visible; the manifest names it; the state takes cursor and
//! the intent's end. State and manifest are replaced only as they were read (`If-Match`), so of two
//! processes that have the channel open one loses at its next step.
//!
//! Whoever opens the bucket writes itself into the state first: from then on a former process can begin
//! nothing. It then ends the upload of the intent that it found, which a completion under way either
//! precedes or cannot follow, and looks: a visible file is adopted, any other can never become visible
//! and is forgotten, and the cursor says what to deliver again.

mod objects;
mod state;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use headgate_aws::{Failure, Kind, SdkConfig};
use headgate_types::{Failpoint, SharedClock, reach};
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use self::objects::Objects;
use self::state::{Intent, Manifest, State};
use super::files::Files;
use super::store::{Listed, NewFile};
use crate::technology::cloud::About;
use crate::technology::{FlowKey, OpenChannel, SinkError};

const STATE: &str = ".headgate/state.json";
const MANIFEST: &str = "manifest.json";
/// How often to look which files the client has deleted, as long as there is room.
const LOOK_AGAIN: Duration = Duration::from_secs(300);
/// Others may change the manifest this often in between.
const TRIES: usize = 3;

/// A bucket.
pub struct Bucket {
    objects: Objects,
    capacity: u64,
    clock: SharedClock,
    /// Names this opening of the channel.
    holder: String,
    /// What is in the bucket, as far as it is known; looked at anew after every failure.
    known: Mutex<Option<Known>>,
    used: AtomicU64,
    looked: parking_lot::Mutex<Option<Instant>>,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("objects", &self.objects).field("used", &self.used).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Known {
    state: State,
    tag: String,
    files: Vec<Listed>,
    manifest_tag: Option<String>,
}

impl Bucket {
    /// Takes up the bucket of a channel, ending what a crash interrupted.
    pub async fn open(name: String, config: &SdkConfig, channel: &OpenChannel) -> Result<Self, SinkError> {
        // An address in place of the public one has no name for each bucket.
        let path_style = config.endpoint_url().is_some();
        let config = aws_sdk_s3::config::Builder::from(config).force_path_style(path_style).build();
        let bucket = Self {
            objects: Objects::new(aws_sdk_s3::Client::from_conf(config), name),
            capacity: channel.limits.retention_bytes,
            clock: channel.clock.clone(),
            holder: hex::encode(rand::random::<[u8; 16]>()),
            known: Mutex::new(None),
            used: AtomicU64::new(0),
            looked: parking_lot::Mutex::new(None),
        };
        drop(bucket.known().await?);
        Ok(bucket)
    }

    /// What is in the bucket, looked at if that is not known.
    async fn known(&self) -> Result<MutexGuard<'_, Option<Known>>, SinkError> {
        let mut known = self.known.lock().await;
        if known.is_none() {
            *known = Some(self.take_up().await.map_err(told)?);
        }
        Ok(known)
    }

    async fn take_up(&self) -> Result<Known, Failure> {
        let found = self.objects.document(STATE).await?;
        let (state, tag) = match &found {
            Some(document) => (State::read(&document.content)?, Some(document.tag.clone())),
            None => (State::default(), None),
        };
        let manifest = self.objects.document(MANIFEST).await?;
        let files = match &manifest {
            Some(document) => Manifest::read(&document.content)?.files,
            None => Vec::new(),
        };
        let manifest_tag = manifest.map(|document| document.tag);
        let mut known = Known { tag: tag.unwrap_or_default(), state, files, manifest_tag };
        if known.state.holder != self.holder {
            let state = State { holder: self.holder.clone(), ..known.state.clone() };
            self.write_state(&mut known, state, found.is_none()).await?;
            self.objects.abort_all().await?;
        }
        if let Some(intent) = known.state.intent.clone() {
            self.objects.abort(&intent.file.name, &intent.upload).await?;
            let visible = self.objects.holds(&intent.file).await?;
            self.end_intent(&mut known, &intent, visible).await?;
        }
        if known.manifest_tag.is_none() {
            self.write_manifest(&mut known, None).await?;
        }
        self.count(&known);
        Ok(known)
    }

    fn count(&self, known: &Known) {
        self.used.store(known.files.iter().map(|file| file.bytes).sum(), Ordering::Relaxed);
    }

    /// Lists the file of an intent where it is visible, and has the state forget the intent.
    async fn end_intent(&self, known: &mut Known, intent: &Intent, visible: bool) -> Result<(), Failure> {
        let mut state = State { intent: None, ..known.state.clone() };
        if visible {
            self.write_manifest(known, Some(&intent.file)).await?;
            reach(Failpoint::ObjectListed);
            state.advance(&intent.flow, intent.to);
        }
        self.write_state(known, state, false).await
    }

    async fn write_state(&self, known: &mut Known, state: State, new: bool) -> Result<(), Failure> {
        let state = State { revision: known.state.revision + 1, ..state };
        let tag = (!new).then_some(known.tag.as_str());
        known.tag = self.objects.replace(STATE, tag, state.bytes()?).await?;
        known.state = state;
        Ok(())
    }

    /// Writes the manifest anew, with one more file. What another process listed meanwhile stays.
    async fn write_manifest(&self, known: &mut Known, with: Option<&Listed>) -> Result<(), Failure> {
        for attempt in 1.. {
            if let Some(file) = with
                && known.files.iter().all(|listed| listed.name != file.name)
            {
                known.files.push(file.clone());
            }
            let manifest = Manifest { generated_at: self.clock.now().to_rfc3339(), files: known.files.clone() };
            match self.objects.replace(MANIFEST, known.manifest_tag.as_deref(), manifest.bytes()?).await {
                Ok(tag) => {
                    known.manifest_tag = Some(tag);
                    break;
                }
                Err(failure) if failure.kind() == Kind::Conflict && attempt < TRIES => {
                    let found = self.objects.document(MANIFEST).await?;
                    known.files = found.as_ref().map_or(Ok(Vec::new()), |found| {
                        Manifest::read(&found.content).map(|manifest| manifest.files)
                    })?;
                    known.manifest_tag = found.map(|found| found.tag);
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    /// Takes what the client has deleted off the list.
    async fn look(&self, known: &mut Known) -> Result<(), Failure> {
        *self.looked.lock() = Some(Instant::now());
        let names = self.objects.names().await?;
        let listed = known.files.len();
        known.files.retain(|file| names.contains(&file.name));
        if known.files.len() < listed {
            self.write_manifest(known, None).await?;
            self.count(known);
        }
        Ok(())
    }

    async fn publish_file(
        &self,
        known: &mut Known,
        file: NewFile,
        after: u64,
        now: DateTime<Utc>,
    ) -> Result<(), SinkError> {
        let flow = flow_name(file.flow);
        let held = known.state.cursor(&flow);
        if held >= file.to {
            return Ok(());
        }
        if held != after {
            return Err(taken_over());
        }
        let size = file.content.len() as u64;
        if self.used.load(Ordering::Relaxed) + size > self.capacity {
            self.look(known).await.map_err(told)?;
        }
        let used = self.used.load(Ordering::Relaxed);
        if used + size > self.capacity {
            return Err(SinkError::retry(format!(
                "the channel's storage of {} bytes is full ({used} in use): delete files that were fetched, or order \
                 a larger size",
                self.capacity
            )));
        }
        let content_type = file.format.content_type();
        let sequence = known.state.sequence + 1;
        let listed = Listed {
            sequence,
            name: format!("{}-{sequence:08}.{}", file.table, file.format.as_str()),
            table: file.table,
            format: file.format.as_str().to_owned(),
            lane: file.flow.lane.as_str().to_owned(),
            model_version: file.model_version,
            records: file.records,
            bytes: size,
            checksum: file.checksum.to_string(),
            sha256: hex::encode(Sha256::digest(&file.content)),
            created_at: now.to_rfc3339(),
        };
        let intent = Intent { flow, after, to: file.to, file: listed, upload: String::new() };
        self.make_visible(known, intent, content_type, file.content.into()).await.map_err(told)
    }

    async fn make_visible(
        &self,
        known: &mut Known,
        mut intent: Intent,
        content_type: &str,
        content: Bytes,
    ) -> Result<(), Failure> {
        intent.upload = self.objects.begin(&intent.file, content_type).await?;
        reach(Failpoint::UploadBegun);
        let state = State { intent: Some(intent.clone()), sequence: intent.file.sequence, ..known.state.clone() };
        if let Err(failure) = self.write_state(known, state, false).await {
            // Whoever has the channel now may have looked for uploads before this one was begun.
            let _ = self.objects.abort(&intent.file.name, &intent.upload).await;
            return Err(failure);
        }
        reach(Failpoint::ObjectIntended);
        let parts = self.objects.upload(&intent.file.name, &intent.upload, &content).await?;
        reach(Failpoint::ObjectUploaded);
        self.objects.complete(&intent.file, &intent.upload, parts).await?;
        reach(Failpoint::ObjectVisible);
        self.end_intent(known, &intent, true).await?;
        self.count(known);
        Ok(())
    }
}

#[async_trait]
impl Files for Bucket {
    async fn cursor(&self, flow: FlowKey) -> Result<u64, SinkError> {
        let known = self.known().await?;
        Ok(known.as_ref().map_or(0, |known| known.state.cursor(&flow_name(flow))))
    }

    async fn skip(&self, flow: FlowKey, to: u64) -> Result<(), SinkError> {
        let mut guard = self.known().await?;
        let Some(known) = guard.as_mut() else { return Err(taken_over()) };
        let mut state = known.state.clone();
        if !state.advance(&flow_name(flow), to) {
            return Ok(());
        }
        let written = self.write_state(known, state, false).await;
        if written.is_err() {
            *guard = None;
        }
        written.map_err(told)
    }

    async fn publish(&self, file: NewFile, after: u64, now: DateTime<Utc>) -> Result<(), SinkError> {
        let mut guard = self.known().await?;
        let Some(known) = guard.as_mut() else { return Err(taken_over()) };
        let published = self.publish_file(known, file, after, now).await;
        if published.is_err() {
            *guard = None;
        }
        published
    }

    async fn stored_bytes(&self) -> Result<u64, SinkError> {
        let due = self.looked.lock().is_none_or(|looked| looked.elapsed() >= LOOK_AGAIN);
        // Whoever publishes right now has the bucket to itself.
        if due && let Ok(mut guard) = self.known.try_lock() {
            *self.looked.lock() = Some(Instant::now());
            if let Some(known) = guard.as_mut()
                && let Err(failure) = self.look(known).await
            {
                *guard = None;
                return Err(told(failure));
            }
        }
        Ok(self.used.load(Ordering::Relaxed))
    }

    async fn rest(&self) {
        if let Ok(mut known) = self.known.try_lock() {
            *known = None;
        }
    }
}

fn flow_name(flow: FlowKey) -> String {
    format!("{} {}", flow.element, flow.lane)
}

fn told(failure: Failure) -> SinkError {
    if failure.kind() == Kind::Conflict { taken_over() } else { failure.about("the channel's bucket") }
}

fn taken_over() -> SinkError {
    SinkError::retry("another process has taken the channel's bucket up; what it holds is looked at anew")
}
