//! One shard, record by record.

use std::cmp::Ordering;
use std::time::Duration;

use aws_sdk_kinesis::types::{Record, ShardIteratorType};
use bytes::Bytes;
use headgate_lake::Checkpoint;
use headgate_types::FeedId;
use tokio::time::Instant;

use super::super::door::{Door, Held, Piece};
use super::super::failure::Failure;
use super::{ANSWER_BYTES, Mark, Stream, mark_of};

/// Records that become durable in one step, in bytes.
const STEP_BYTES: usize = 4 << 20;
/// Lines that are joined into one payload: what fits into a row of the landing zone.
const JOINED_BYTES: usize = 1 << 20;
const LINES: &str = "application/x-ndjson";
const DOCUMENT: &str = "application/json";

/// Why a shard is read no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It has no more records, and gets none.
    Read,
    /// The channel stops.
    Stopped,
    /// Somebody else has read it further.
    Overtaken,
}

impl From<Held> for Ended {
    fn from(held: Held) -> Self {
        match held {
            Held::Stopped => Self::Stopped,
            Held::Overtaken => Self::Overtaken,
        }
    }
}

impl Stream {
    /// Reads a shard from where `stored` stands, until there is nothing more to read in it.
    pub(super) async fn read(&self, shard: String, stored: Option<String>) -> (String, Ended) {
        let ended = self.follow(&shard, stored).await.unwrap_or_else(|ended| ended);
        (shard, ended)
    }

    async fn follow(&self, shard: &str, mut stored: Option<String>) -> Result<Ended, Ended> {
        let reach = &self.reach;
        let mut after = mark_of(stored.as_deref()).after;
        let mut iterator: Option<String> = None;
        loop {
            if !reach.door.open_for(ANSWER_BYTES).await {
                return Ok(Ended::Stopped);
            }
            let began = Instant::now();
            let Ok(in_memory) = self.answers.acquire().await else { return Ok(Ended::Stopped) };
            let place = match iterator.take() {
                Some(place) => place,
                None => match reach.unless_stopped(self.place(shard, after.as_deref())).await {
                    None => return Ok(Ended::Stopped),
                    Some(Ok(place)) => place,
                    Some(Err(failure)) => {
                        reach.trouble(failure.told()).await;
                        continue;
                    }
                },
            };
            let asked = self.client.get_records().shard_iterator(&place).send();
            let Some(answer) = reach.unless_stopped(asked).await else { return Ok(Ended::Stopped) };
            let answer = match answer.map_err(Failure::of("reading the stream")) {
                Ok(answer) => answer,
                Err(failure) if failure.is("ExpiredIteratorException") => continue,
                Err(failure) => {
                    // A place that was refused for being asked too often is still good.
                    iterator = failure.is_throttle().then_some(place);
                    reach.trouble(failure.told()).await;
                    continue;
                }
            };
            reach.taking();
            let is_empty = answer.records.is_empty();
            for step in steps(&answer.records, after.as_deref()) {
                let mark = Mark { after: Some(step.last.clone()), is_ended: false };
                self.landed(shard, &mut stored, &step.pieces(&reach.door), &mark).await?;
                after = Some(step.last);
            }
            if answer.next_shard_iterator.is_none() {
                self.landed(shard, &mut stored, &[], &Mark { after, is_ended: true }).await?;
                return Ok(Ended::Read);
            }
            iterator = answer.next_shard_iterator;
            let is_behind = answer.millis_behind_latest.is_some_and(|behind| behind > 0);
            let pace = if is_empty && !is_behind { reach.pace.idle } else { reach.pace.busy };
            drop(in_memory);
            reach.rest(pace.saturating_sub(began.elapsed()).max(Duration::from_millis(1))).await;
        }
    }

    async fn place(&self, shard: &str, after: Option<&str>) -> Result<String, Failure> {
        let asked = self.client.get_shard_iterator().stream_name(&self.name).shard_id(shard);
        let asked = match after {
            Some(after) => {
                asked.shard_iterator_type(ShardIteratorType::AfterSequenceNumber).starting_sequence_number(after)
            }
            None => asked.shard_iterator_type(ShardIteratorType::TrimHorizon),
        };
        let answer = asked.send().await.map_err(Failure::of("finding the place in the stream"))?;
        Ok(answer.shard_iterator.unwrap_or_default())
    }

    /// Makes pieces and how far the shard was read durable in one step.
    async fn landed(
        &self,
        shard: &str,
        stored: &mut Option<String>,
        pieces: &[Piece],
        mark: &Mark,
    ) -> Result<(), Held> {
        let value = serde_json::to_string(mark).unwrap_or_default();
        let checkpoint = Checkpoint { partition: shard.to_owned(), before: stored.take(), value: value.clone() };
        self.reach.land(pieces, Some(&checkpoint)).await?;
        *stored = Some(value);
        Ok(())
    }
}

/// Records that become durable together.
struct Step<'a> {
    records: Vec<&'a Record>,
    last: String,
}

/// Divides an answer; what `after` names and what is before it was landed already.
fn steps<'a>(records: &'a [Record], after: Option<&str>) -> Vec<Step<'a>> {
    let mut steps: Vec<Step<'a>> = Vec::new();
    let mut bytes = usize::MAX;
    for record in records {
        let sequence = record.sequence_number.as_str();
        if after.is_some_and(|after| by_number(sequence, after) != Ordering::Greater) {
            continue;
        }
        let size = record.data.as_ref().len();
        match steps.last_mut() {
            Some(step) if bytes + size <= STEP_BYTES => {
                step.records.push(record);
                sequence.clone_into(&mut step.last);
                bytes += size;
            }
            _ => {
                steps.push(Step { records: vec![record], last: sequence.to_owned() });
                bytes = size;
            }
        }
    }
    steps
}

/// Sequence numbers are decimal numbers of up to 128 digits.
fn by_number(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Payloads in the making: lines of a feed are joined while nothing else of that feed comes between.
#[derive(Default)]
struct Joined {
    done: Vec<Piece>,
    open: Vec<(FeedId, Vec<u8>)>,
}

impl Joined {
    fn line(&mut self, feed: FeedId, line: &[u8]) {
        if let Some((_, lines)) =
            self.open.iter_mut().find(|(of, lines)| *of == feed && lines.len() + line.len() < JOINED_BYTES)
        {
            lines.extend_from_slice(line);
            lines.push(b'\n');
            return;
        }
        self.close(feed);
        self.open.push((feed, [line, b"\n"].concat()));
    }

    fn close(&mut self, feed: FeedId) {
        if let Some(index) = self.open.iter().position(|(of, _)| *of == feed) {
            let (feed, lines) = self.open.remove(index);
            self.done.push(piece(feed, LINES, lines.into()));
        }
    }

    fn alone(&mut self, piece: Piece) {
        self.close(piece.feed);
        self.done.push(piece);
    }

    fn finish(mut self) -> Vec<Piece> {
        while let Some((feed, _)) = self.open.first() {
            self.close(*feed);
        }
        self.done
    }
}

fn piece(feed: FeedId, content_type: &str, bytes: Bytes) -> Piece {
    // Its place in the shard is its name: the checkpoint says that it landed.
    Piece { feed, key: None, content_type: content_type.to_owned(), encoding: None, bytes }
}

impl Step<'_> {
    /// Its records as they land: of each feed in their order.
    fn pieces(&self, door: &Door) -> Vec<Piece> {
        let mut joined = Joined::default();
        for record in &self.records {
            let data = record.data.as_ref().trim_ascii();
            if data.is_empty() {
                continue;
            }
            // With one feed partition keys are whatever the client likes.
            let feed = match door.only_feed() {
                Some(feed) => Ok(feed),
                None => door.feed(record.partition_key.as_deref().and_then(|key| key.split('/').next())),
            };
            match door.record(feed, None, DOCUMENT, Bytes::copy_from_slice(data)) {
                // One line is one record; what a line cannot hold is a document of its own.
                Ok(one) if data[0] == b'[' || data.contains(&b'\n') => joined.alone(one),
                Ok(one) => joined.line(one.feed, data),
                Err(untaken) => {
                    if let Some(one) = door.untaken(None, &untaken) {
                        joined.alone(one);
                    }
                }
            }
        }
        joined.finish()
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_kinesis::primitives::Blob;

    use super::*;

    fn record(sequence: &str, bytes: usize) -> Record {
        Record::builder()
            .sequence_number(sequence)
            .partition_key("k")
            .data(Blob::new(vec![b'1'; bytes]))
            .build()
            .unwrap()
    }

    #[test]
    fn an_answer_is_taken_in_steps_from_behind_what_was_landed() {
        let records = [record("9", 10), record("10", 3 << 20), record("11", 2 << 20), record("12", 1)];
        let of =
            |after| steps(&records, after).into_iter().map(|step| (step.records.len(), step.last)).collect::<Vec<_>>();
        assert_eq!(of(None), [(2, "10".to_owned()), (2, "12".to_owned())]);
        assert_eq!(of(Some("9")), [(1, "10".to_owned()), (2, "12".to_owned())]);
        assert_eq!(of(Some("12")), []);
        assert_eq!(by_number("99", "100"), Ordering::Less);
    }

    #[test]
    fn lines_are_joined_and_a_document_keeps_its_place_among_them() {
        let (a, b) = (FeedId::new(), FeedId::new());
        let mut joined = Joined::default();
        joined.line(a, b"1");
        joined.line(b, b"x");
        joined.line(a, b"2");
        joined.alone(piece(a, DOCUMENT, Bytes::from_static(b"[3,\n4]")));
        joined.line(a, b"5");
        joined.line(b, b"y");
        let pieces = joined.finish();
        let of = |feed| {
            let texts = pieces.iter().filter(|piece| piece.feed == feed);
            texts.map(|piece| String::from_utf8(piece.bytes.to_vec()).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(of(a), ["1\n2\n", "[3,\n4]", "5\n"]);
        assert_eq!(of(b), ["x\ny\n"]);
    }
}
