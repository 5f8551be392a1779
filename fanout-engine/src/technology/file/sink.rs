//! Collects deliveries per flow and publishes them as files.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use headgate_types::checksum::Checksum;
use headgate_types::{ElementId, SharedClock};
use tokio::sync::Mutex;

use super::encode::encode;
use super::files::Files;
use super::settings::Settings;
use super::store::NewFile;
use crate::technology::{
    Committed, Delivery, FlowKey, Flush, OpenChannel, OutputElement, Rest, Sink, SinkError, Slice, Written,
};

/// The writing end of a file channel.
#[derive(Debug)]
pub struct FileSink {
    files: Box<dyn Files>,
    elements: HashMap<ElementId, (OutputElement, Settings)>,
    /// Bytes of records after which a part ends, whatever the options say.
    part_bytes: u64,
    clock: SharedClock,
    collected: Mutex<HashMap<FlowKey, Collected>>,
}

/// Records of one flow that are not in a file yet. They are not durable here and need not be: the
/// flow's cursor stands before them until they are.
#[derive(Debug)]
struct Collected {
    to: u64,
    parts: Vec<Slice>,
    bytes: u64,
    since: Option<DateTime<Utc>>,
}

impl Collected {
    const fn new() -> Self {
        Self { to: 0, parts: Vec::new(), bytes: 0, since: None }
    }

    /// Adds the records of a range that lie behind `known`. Returns whether there are any.
    fn add(&mut self, part: &Slice, known: u64) -> bool {
        let start = part.rows.clone().find(|row| part.encoded.offset(*row) > known).unwrap_or(part.rows.end);
        let rows = start..part.rows.end;
        if rows.is_empty() {
            return false;
        }
        self.bytes += part.encoded.bytes(rows.clone());
        self.parts.push(Slice { encoded: Arc::clone(&part.encoded), rows });
        true
    }

    /// Leaves out what is in a file already: another process may have had the channel meanwhile.
    fn behind(&mut self, held: u64) {
        let first = self.parts.first().map(|part| part.encoded.offset(part.rows.start));
        if first.is_some_and(|first| first <= held) {
            self.bytes = 0;
            for part in std::mem::take(&mut self.parts) {
                self.add(&part, held);
            }
        }
    }
}

impl FileSink {
    /// A sink for the elements of a channel.
    pub fn new(files: Box<dyn Files>, channel: &OpenChannel) -> Result<Self, SinkError> {
        let mut elements = HashMap::new();
        for output in &channel.elements {
            let settings = Settings::read(&output.options).map_err(|errors| {
                let details: Vec<String> = errors.into_iter().map(|error| error.detail).collect();
                SinkError::reject(details.join("; "))
            })?;
            elements.insert(output.element, (output.clone(), settings));
        }
        Ok(Self {
            files,
            elements,
            part_bytes: channel.limits.memory_bytes.min(channel.limits.payload_bytes),
            clock: channel.clock.clone(),
            collected: Mutex::new(HashMap::new()),
        })
    }

    fn element(&self, flow: FlowKey) -> Result<&(OutputElement, Settings), SinkError> {
        let element = self.elements.get(&flow.element);
        element.ok_or_else(SinkError::not_carried)
    }

    /// Publishes what is collected of a flow; returns how far its files reach.
    async fn publish(&self, flow: FlowKey, collected: &mut Collected) -> Result<u64, SinkError> {
        let held = self.files.cursor(flow).await?;
        collected.behind(held);
        if collected.parts.is_empty() {
            if collected.to > held {
                self.files.skip(flow, collected.to).await?;
            }
            return self.files.cursor(flow).await;
        }
        let (output, settings) = self.element(flow)?;
        let (format, parts) = (settings.format, collected.parts.clone());
        let columns = output.clone();
        let encoded = tokio::task::spawn_blocking(move || encode(format, &columns, &parts)).await;
        let content = match encoded {
            Ok(Ok(content)) => content,
            Ok(Err(error)) => return Err(SinkError::reject(error.to_string())),
            Err(error) => return Err(SinkError::retry(format!("the encoder ended early: {error}"))),
        };
        let file = NewFile {
            flow,
            to: collected.to,
            table: output.name.clone(),
            format,
            model_version: output.model_version,
            records: collected.parts.iter().map(|part| part.rows.len() as u64).sum(),
            checksum: collected
                .parts
                .iter()
                .fold(Checksum::EMPTY, |sum, part| sum.plus(part.encoded.checksum(part.rows.clone()))),
            content,
        };
        self.files.publish(file, held, self.clock.now()).await?;
        *collected = Collected { to: collected.to, ..Collected::new() };
        self.files.cursor(flow).await
    }

    fn old(&self, since: Option<DateTime<Utc>>, age: Duration) -> bool {
        since.is_some_and(|since| (self.clock.now() - since).to_std().is_ok_and(|waited| waited >= age))
    }
}

#[async_trait]
impl Sink for FileSink {
    async fn cursor(&self, flow: FlowKey) -> Result<Option<Committed>, SinkError> {
        // Whoever asks starts from the files; what was collected before comes again.
        self.collected.lock().await.remove(&flow);
        Ok(Some(Committed::through(self.files.cursor(flow).await?)))
    }

    async fn write(&self, delivery: &Delivery) -> Result<Written, SinkError> {
        let flow = delivery.flow;
        let settings = &self.element(flow)?.1;
        let held = self.files.cursor(flow).await?;
        let mut flows = self.collected.lock().await;
        let collected = flows.entry(flow).or_insert_with(Collected::new);
        // A repetition after a failure begins before what is collected already.
        let known = held.max(collected.to);
        if delivery.to > known {
            for part in &delivery.parts {
                if collected.add(part, known) {
                    collected.since.get_or_insert_with(|| self.clock.now());
                }
            }
            collected.to = delivery.to;
        }
        let full = collected.bytes >= settings.roll_bytes.min(self.part_bytes);
        if full || collected.parts.is_empty() || self.old(collected.since, settings.roll_age) {
            return Ok(Written { through: self.publish(flow, collected).await? });
        }
        Ok(Written { through: held })
    }

    async fn flush(&self, flow: FlowKey, why: Flush) -> Result<Written, SinkError> {
        let age = self.element(flow)?.1.roll_age;
        let mut flows = self.collected.lock().await;
        let through = match flows.get_mut(&flow) {
            Some(collected) if why == Flush::Now || self.old(collected.since, age) => {
                self.publish(flow, collected).await?
            }
            _ => self.files.cursor(flow).await?,
        };
        Ok(Written { through })
    }

    async fn stored_bytes(&self) -> u64 {
        self.files.stored_bytes().await.unwrap_or(0)
    }

    async fn rest(&self, _quiet: Duration) -> Rest {
        self.files.rest().await;
        Rest::Until(None)
    }

    async fn close(&self) {
        self.collected.lock().await.clear();
    }
}
