//! Conforms what a feed has landed: payloads in the order they came, some thousand records a
//! commit, the position inside the commit (DATA-PLANE rules 3, 4).

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::Arc;

use headgate_lake::{Lake, Payload, Position, StoredBody};
use headgate_types::ReceiptId;
use headgate_types::model::PayloadFormat;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::attempts::{Attempts, Care};
use super::channel::{OpenChannel, OpenFeed};
use super::side::{self, Origin, PayloadPart, Side};
use super::source;
use crate::conform::{Chunk, Conformer, InputPlan, MAX_RAW_BYTES, Refusal, Refused, Row, Source, excerpt};
use crate::error::EngineFault;

/// Records per commit, refused ones too.
pub(super) const COMMIT_RECORDS: usize = 8_192;
/// Payload bytes per commit, about.
const COMMIT_BYTES: u64 = 4 << 20;
/// Landed bytes read at once.
const READ_BYTES: u64 = 8 << 20;
/// Payloads up to this size are conformed many at once: to hand one to another thread takes longer than to conform it.
const SMALL_BYTES: u64 = 4 << 10;
/// How many, at most: a drain that is stopped ends between two turns.
const TOGETHER: usize = 256;
/// HTTP has one partition per feed.
const PARTITION: &str = "";

/// How far a feed is conformed, as the element's log keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Place {
    /// The payload's place in the landing zone.
    pub sequence: u64,
    /// The last record of it that was decided.
    pub ordinal: u64,
    /// Whether that was its last.
    pub done: bool,
}

impl Place {
    /// A place as the log keeps it.
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The sequence behind which reading goes on.
    pub const fn read_after(self) -> u64 {
        if self.done { self.sequence } else { self.sequence.saturating_sub(1) }
    }
}

/// Drains one feed.
#[derive(Debug)]
pub struct Drain<'a> {
    pub lake: &'a Lake,
    pub channel: &'a OpenChannel,
    pub feed: &'a OpenFeed,
    pub attempts: &'a mut Attempts,
    /// Ends it between two commits.
    pub stop: &'a CancellationToken,
}

/// What is on its way into one commit.
#[derive(Default)]
struct Batch {
    rows: Vec<Row>,
    parts: Vec<Part>,
    place: Place,
    /// Records of all parts that were refused.
    refused: usize,
    bytes: u64,
    /// How it is to be filled; none before it is begun.
    care: Option<Care>,
}

/// One payload's share of a batch: rows `start..end`.
struct Part {
    receipt: ReceiptId,
    sequence: u64,
    landed_at: chrono::DateTime<chrono::Utc>,
    start: usize,
    end: usize,
    /// Ordinals `(after, through]` of the payload; its end counts as one more.
    after: u64,
    through: u64,
    bytes: u64,
    refused: Vec<Refused>,
    done: bool,
}

impl Batch {
    /// Records that are decided: a refused one is as much work as one that fits.
    const fn decided(&self) -> usize {
        self.rows.len() + self.refused
    }

    const fn is_full(&self) -> bool {
        self.decided() >= COMMIT_RECORDS || self.parts.len() >= COMMIT_RECORDS || self.bytes >= COMMIT_BYTES
    }

    /// The last record of a payload that is decided.
    const fn looked(&self, payload: &Payload) -> u64 {
        if self.place.sequence == payload.sequence { self.place.ordinal } else { 0 }
    }

    fn add(&mut self, payload: &Payload, chunk: Chunk) {
        let start = self.rows.len();
        // A refused record counts as what is kept of it.
        let bytes = chunk.rows.iter().map(|row| row.bytes).sum::<u64>()
            + chunk.refused.iter().map(|refused| refused.raw.len() as u64).sum::<u64>();
        self.rows.extend(chunk.rows);
        self.refused += chunk.refused.len();
        self.bytes += bytes;
        let after = self.looked(payload);
        self.place = Place { sequence: payload.sequence, ordinal: chunk.last, done: chunk.finished };
        self.parts.push(Part {
            receipt: payload.receipt,
            sequence: payload.sequence,
            landed_at: payload.landed_at,
            start,
            end: self.rows.len(),
            after,
            through: self.place.ordinal + u64::from(chunk.finished),
            bytes,
            refused: chunk.refused,
            done: chunk.finished,
        });
    }
}

impl Drain<'_> {
    /// Conforms payloads up to place `until` in the landing zone, or until it is stopped.
    ///
    /// # Errors
    /// When a store fails, or [`EngineFault::Crashed`]: the same work may end the same way, and is
    /// taken up with more care each time until what is at fault is a dead letter.
    pub async fn run(&mut self, until: u64) -> Result<(), EngineFault> {
        let result = self.payloads(until).await;
        match &result {
            // What was begun and given up has not failed.
            Ok(()) if self.stop.is_cancelled() => self.attempts.forgive()?,
            Ok(()) => self.attempts.end()?,
            Err(EngineFault::Crashed(_)) => {}
            Err(_) => self.attempts.forgive()?,
        }
        result
    }

    async fn payloads(&mut self, until: u64) -> Result<(), EngineFault> {
        let mut place = self.place()?;
        loop {
            let feed = &self.feed.feed;
            let payloads = self.lake.landing().read(feed.channel, feed.id, place.read_after(), READ_BYTES).await?;
            let mut payloads: VecDeque<Payload> =
                payloads.into_iter().filter(|payload| payload.sequence <= until).collect();
            if payloads.is_empty() {
                return Ok(());
            }
            let mut batch = Batch { place, ..Batch::default() };
            loop {
                self.small(&mut payloads, &mut batch).await?;
                let Some(payload) = payloads.pop_front() else { break };
                self.payload(payload, &mut batch).await?;
                if self.stop.is_cancelled() {
                    return Ok(());
                }
            }
            self.commit(&mut batch).await?;
            place = batch.place;
        }
    }

    fn place(&self) -> Result<Place, EngineFault> {
        let feed = &self.feed.feed;
        let Some(text) = self.lake.log().position(feed.element, feed.channel, feed.id, PARTITION) else {
            return Ok(Place::default());
        };
        serde_json::from_str(&text)
            .map_err(|error| EngineFault::Invariant(format!("a feed's position is {text:?}: {error}")))
    }

    /// Conforms the small payloads at the front together and takes them away; what is to be conformed with care stays.
    async fn small(&mut self, payloads: &mut VecDeque<Payload>, batch: &mut Batch) -> Result<(), EngineFault> {
        while !self.stop.is_cancelled() {
            let count = payloads.iter().take(TOGETHER).take_while(|payload| is_small(payload)).count();
            if count < 2 || self.care(batch)? != Care::Records(COMMIT_RECORDS) {
                return Ok(());
            }
            let sources: Vec<Source> = payloads.range(..count).map(|payload| self.source(payload)).collect();
            let (plan, skip) = (Arc::clone(&self.feed.plan), batch.looked(&payloads[0]));
            let room = COMMIT_RECORDS - batch.decided();
            for chunk in blocking(move || conform_all(&plan, &sources, skip, room)).await?? {
                let finished = chunk.finished;
                batch.add(&payloads[0], chunk);
                if finished {
                    payloads.pop_front();
                }
            }
            if batch.is_full() {
                self.commit(batch).await?;
            }
        }
        Ok(())
    }

    /// How the batch is to be filled, which is decided when it is begun.
    fn care(&mut self, batch: &mut Batch) -> io::Result<Care> {
        Ok(match batch.care {
            Some(care) => care,
            None => *batch.care.insert(self.attempts.begin(batch.place)?),
        })
    }

    async fn payload(&mut self, payload: Payload, batch: &mut Batch) -> Result<(), EngineFault> {
        let mut looked = batch.looked(&payload);
        let mut conformer = None;
        while !self.stop.is_cancelled() {
            let care = self.care(batch)?;
            let chunk = if payload.content_type == source::REFUSED {
                let body = payload.body.clone();
                blocking(move || source::refused_chunk(body.open()?)).await??
            } else if care == Care::PassRest {
                let body = payload.body.clone();
                blocking(move || crashing_rest(looked + 1, body.open()?)).await??
            } else {
                let mut reader = match conformer.take() {
                    Some(reader) => reader,
                    None => self.open(&payload, looked).await?,
                };
                let room = match care {
                    Care::Records(most) => most.saturating_sub(batch.decided()).max(1),
                    Care::PassOne | Care::PassRest => 1,
                };
                let (returned, chunk) = blocking(move || {
                    let chunk = match care {
                        Care::Records(_) => reader.next_chunk(room, COMMIT_BYTES),
                        Care::PassOne | Care::PassRest => reader.refuse_next(),
                    };
                    (reader, chunk)
                })
                .await?;
                conformer = Some(returned);
                chunk?
            };
            let finished = chunk.finished;
            looked = chunk.last;
            batch.add(&payload, chunk);
            let enough = match care {
                // One by one the end of a payload is a step as well: what is passed over begins behind it.
                Care::Records(1) | Care::PassOne | Care::PassRest => true,
                Care::Records(most) => batch.decided() >= most,
            };
            if enough || batch.is_full() {
                self.commit(batch).await?;
            }
            if finished {
                break;
            }
        }
        Ok(())
    }

    async fn open(&self, payload: &Payload, skip: u64) -> Result<Conformer, EngineFault> {
        let (plan, source) = (Arc::clone(&self.feed.plan), self.source(payload));
        Ok(blocking(move || Conformer::open(plan, &source, skip)).await??)
    }

    fn source(&self, payload: &Payload) -> Source {
        let body = payload.body.clone();
        Source {
            // The listener takes no other types.
            format: PayloadFormat::from_content_type(&payload.content_type).unwrap_or(PayloadFormat::Ndjson),
            encoding: payload.encoding.clone(),
            limit: self.channel.limits.payload_bytes,
            open: Box::new(move || body.open()),
        }
    }

    /// Appends a batch and empties it; its place stays. A drain that is stopped first appends nothing.
    async fn commit(&self, batch: &mut Batch) -> Result<(), EngineFault> {
        if batch.parts.is_empty() {
            return Ok(());
        }
        let ready = async {
            self.feed.writer.prepare().await?;
            self.throttle(batch).await;
            Ok::<_, EngineFault>(())
        };
        match self.stop.run_until_cancelled(ready).await {
            Some(ready) => ready?,
            None => return Ok(()),
        }
        let feed = &self.feed.feed;
        let position = Position {
            channel: feed.channel,
            feed: feed.id,
            partition: PARTITION.to_owned(),
            value: serde_json::to_string(&batch.place).unwrap_or_default(),
        };
        let parts = &batch.parts;
        let side = |head: u64, logged: &[bool]| self.side(parts, head, logged);
        self.feed.writer.write(&batch.rows, vec![position], side).await?;
        *batch = Batch { place: batch.place, ..Batch::default() };
        Ok(())
    }

    /// Waits until the size's rate allows the batch: peaks stay in the landing zone.
    async fn throttle(&self, batch: &Batch) {
        loop {
            let wait = self.channel.allowance.conforming.lock().wait(Instant::now());
            if wait.is_zero() {
                break;
            }
            tokio::time::sleep(wait).await;
        }
        self.channel.allowance.conforming.lock().take(batch.decided() as u64, 0);
    }

    /// What leaves beside the records.
    fn side(&self, parts: &[Part], head: u64, logged: &[bool]) -> Result<Vec<Vec<u8>>, EngineFault> {
        let feed = &self.feed.feed;
        let (mut items, mut offset) = (Vec::new(), head);
        for part in parts {
            let origin = Origin {
                tenant: feed.tenant,
                channel: feed.channel,
                feed: feed.id,
                feed_name: feed.name.clone(),
                receipt: part.receipt,
                model_version: feed.model_version,
            };
            let rows = &logged[part.start..part.end];
            let records = rows.iter().filter(|logged| **logged).count() as u64;
            let offsets = (records > 0).then_some((offset + 1, offset + records));
            offset += records;
            for refused in &part.refused {
                items.push(Side::DeadLetter(side::Refusal {
                    origin: origin.clone(),
                    ordinal: refused.ordinal,
                    code: refused.refusal.code.to_owned(),
                    reason: refused.refusal.reason.clone(),
                    field_path: refused.refusal.field_path.clone(),
                    raw: refused.raw.clone(),
                }));
            }
            items.push(Side::Payload(PayloadPart {
                origin,
                sequence: part.sequence,
                landed_at: part.landed_at,
                after: part.after,
                through: part.through,
                records,
                unchanged: rows.len() as u64 - records,
                refused: part.refused.len() as u64,
                bytes: part.bytes,
                offsets,
                done: part.done,
                profile: self.channel.profile.clone(),
                size: self.channel.size.clone(),
                timing: self.channel.timing.mode().to_owned(),
            }));
        }
        let encode = |item: &Side| serde_json::to_vec(item).map_err(|error| EngineFault::Invariant(error.to_string()));
        items.iter().map(encode).collect()
    }
}

/// Whole payloads, the first behind record `skip`, until there is no room for more records: only the last may be
/// unfinished.
fn conform_all(plan: &Arc<InputPlan>, sources: &[Source], skip: u64, mut room: usize) -> io::Result<Vec<Chunk>> {
    let mut chunks = Vec::with_capacity(sources.len());
    for (source, skip) in sources.iter().zip(std::iter::once(skip).chain(std::iter::repeat(0))) {
        let chunk = Conformer::open(Arc::clone(plan), source, skip)?.next_chunk(room, COMMIT_BYTES)?;
        room = room.saturating_sub(chunk.rows.len() + chunk.refused.len());
        let goes_on = chunk.finished && room > 0;
        chunks.push(chunk);
        if !goes_on {
            break;
        }
    }
    Ok(chunks)
}

/// All from record `first` on, refused: its bytes as they were sent, as many as are kept.
fn crashing_rest(first: u64, body: impl Read) -> io::Result<Chunk> {
    let mut raw = Vec::new();
    body.take(MAX_RAW_BYTES as u64).read_to_end(&mut raw)?;
    let refused = Refused {
        ordinal: first,
        refusal: Refusal::crash("the payload from this record on"),
        raw: excerpt(&raw, MAX_RAW_BYTES),
    };
    Ok(Chunk { refused: vec![refused], last: first, finished: true, ..Chunk::default() })
}

/// Whether a payload is in memory and small, unpacked too.
fn is_small(payload: &Payload) -> bool {
    let here = matches!(payload.body, StoredBody::Inline(_));
    here && payload.bytes <= SMALL_BYTES && payload.encoding.is_none() && payload.content_type != source::REFUSED
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, EngineFault> {
    tokio::task::spawn_blocking(work).await.map_err(|error| EngineFault::unfinished("conforming a payload", &error))
}
