//! A payload, record by record.

use std::io::{self, BufRead, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use headgate_types::model::PayloadFormat;
use memchr::memchr;

use super::body::{BodyError, Unpacked, unpack};
use super::csv::CsvReader;
use super::json::{Json, Parser, Syntax};
use super::plan::{Columns, InputPlan};
use super::repeated::Layout;
use super::{MAX_EXCERPT_BYTES, MAX_RAW_BYTES, MAX_RECORD_BYTES, Operation, Refusal, Refused, Row, Scalar, excerpt};

/// The largest JSON document. NDJSON has no such limit, because it is read line by line.
const MAX_DOCUMENT_BYTES: u64 = 64 << 20;
/// Bytes of a line that is passed over, at once.
const PASSED_AT_ONCE: usize = 64 << 10;

/// Where the bytes of a payload come from.
pub struct Source {
    /// How they are encoded.
    pub format: PayloadFormat,
    /// Their content encoding: `gzip`, `zstd` or none.
    pub encoding: Option<String>,
    /// The most bytes a packed payload may have once unpacked.
    pub limit: u64,
    /// Opens them; may be called more than once.
    pub open: Box<dyn Fn() -> io::Result<Box<dyn Read + Send>> + Send>,
}

/// Some records of a payload.
#[derive(Debug, Default, PartialEq)]
pub struct Chunk {
    /// Those that fit.
    pub rows: Vec<Row>,
    /// Those that do not.
    pub refused: Vec<Refused>,
    /// The ordinal of the last record looked at.
    pub last: u64,
    /// Whether it was the last of the payload.
    pub finished: bool,
}

/// Reads a payload under a plan.
pub struct Conformer {
    plan: Arc<InputPlan>,
    reader: Reader,
    ordinal: u64,
}

enum Reader {
    /// A JSON document known to be well-formed.
    Document {
        text: String,
        at: usize,
        in_array: bool,
    },
    Lines {
        body: Unpacked,
        line: Vec<u8>,
        first: bool,
        /// Of the line before.
        layout: Option<Box<Layout>>,
    },
    Csv {
        reader: Box<CsvReader>,
        columns: Columns,
    },
    /// Nothing more to come; perhaps the payload was refused as a whole.
    Done(Option<Box<Refused>>),
}

type Record = Result<(Operation, Vec<Scalar>), Refusal>;

impl Conformer {
    /// Opens a payload and passes over its first `skip` records.
    ///
    /// # Errors
    /// The bytes cannot be read. A payload that is broken is no error: its only chunk refuses it.
    pub fn open(plan: Arc<InputPlan>, source: &Source, skip: u64) -> io::Result<Self> {
        let reader = open(&plan, source)?;
        let mut conformer = Self { plan, reader, ordinal: 0 };
        while conformer.ordinal < skip && conformer.step(false)?.is_some() {}
        if skip > 0 {
            // A refusal of the whole was the first thing decided.
            if let Reader::Done(refused) = &mut conformer.reader {
                *refused = None;
            }
        }
        Ok(conformer)
    }

    /// The next records: at most `max_records`, and about `max_bytes` of payload.
    ///
    /// # Errors
    /// The bytes cannot be read.
    pub fn next_chunk(&mut self, max_records: usize, max_bytes: u64) -> io::Result<Chunk> {
        let mut chunk = Chunk { last: self.ordinal, ..Chunk::default() };
        let mut bytes = 0;
        if let Reader::Done(refused) = &mut self.reader {
            chunk.refused.extend(refused.take().map(|refused| *refused));
            chunk.finished = true;
            return Ok(chunk);
        }
        while chunk.rows.len() + chunk.refused.len() < max_records && bytes < max_bytes {
            let Some(step) = self.step(true)? else {
                chunk.finished = true;
                break;
            };
            chunk.last = self.ordinal;
            bytes += step.bytes;
            match step.record {
                Ok((operation, values)) => {
                    chunk.rows.push(Row { ordinal: self.ordinal, operation, values, bytes: step.bytes });
                }
                Err(refusal) => {
                    let limit = if refusal.code == "record_too_large" { MAX_EXCERPT_BYTES } else { MAX_RAW_BYTES };
                    let raw = excerpt(&step.raw, limit);
                    chunk.refused.push(Refused { ordinal: self.ordinal, refusal, raw });
                }
            }
        }
        Ok(chunk)
    }

    /// Refuses the next record without deciding it, because that ended the process before.
    ///
    /// # Errors
    /// The bytes cannot be read.
    pub fn refuse_next(&mut self) -> io::Result<Chunk> {
        let from = if let Reader::Document { at, .. } = &self.reader { *at } else { 0 };
        if self.step(false)?.is_none() {
            return self.next_chunk(0, 0).map(|chunk| Chunk { finished: true, ..chunk });
        }
        let raw = match &self.reader {
            Reader::Document { text, at, .. } => text.as_bytes()[from..*at].trim_ascii().to_vec(),
            Reader::Lines { line, .. } => line.trim_ascii().to_vec(),
            Reader::Csv { reader, .. } => reader.raw(),
            Reader::Done(_) => Vec::new(),
        };
        let refused =
            Refused { ordinal: self.ordinal, refusal: Refusal::crash("the record"), raw: excerpt(&raw, MAX_RAW_BYTES) };
        Ok(Chunk { refused: vec![refused], last: self.ordinal, ..Chunk::default() })
    }

    /// One record; `None` at the end. Without `wanted` it is only passed over.
    fn step(&mut self, wanted: bool) -> io::Result<Option<Step>> {
        let plan = &self.plan;
        let step = match &mut self.reader {
            Reader::Done(_) => None,
            Reader::Document { text, at, in_array } => document_step(plan, text, at, *in_array, wanted),
            Reader::Lines { body, line, first, layout } => line_step(plan, body, line, first, layout, wanted)?,
            Reader::Csv { reader, columns } => csv_step(plan, reader, columns, wanted)?,
        };
        self.ordinal += u64::from(step.is_some());
        Ok(step)
    }
}

struct Step {
    record: Record,
    bytes: u64,
    /// Filled only for a refused record.
    raw: Vec<u8>,
}

impl Step {
    fn passed() -> Self {
        Self { record: Ok((Operation::Write, Vec::new())), bytes: 0, raw: Vec::new() }
    }
}

fn open(plan: &InputPlan, source: &Source) -> io::Result<Reader> {
    let whole = |refusal: Refusal, raw: &[u8]| {
        let raw = excerpt(raw, MAX_EXCERPT_BYTES);
        Reader::Done(Some(Box::new(Refused { ordinal: 0, refusal, raw })))
    };
    let body = match unpack(&source.open, source.encoding.as_deref(), source.limit) {
        Ok(body) => body,
        Err(BodyError::Io(error)) => return Err(error),
        Err(error) => {
            let code = match error {
                BodyError::TooLarge { .. } => "payload_too_large",
                BodyError::UnknownEncoding(_) => "unknown_encoding",
                _ => "invalid_encoding",
            };
            return Ok(whole(Refusal::new(code, error.to_string()), &[]));
        }
    };
    match source.format {
        PayloadFormat::Ndjson => Ok(Reader::Lines { body, line: Vec::new(), first: true, layout: None }),
        PayloadFormat::Csv => Ok(match CsvReader::open(body)? {
            Ok(None) => Reader::Done(None),
            Ok(Some(reader)) => match plan.columns(&reader.header) {
                Ok(columns) => Reader::Csv { reader: Box::new(reader), columns },
                Err(refusal) => whole(refusal, reader.header.join(",").as_bytes()),
            },
            Err(refusal) => whole(refusal, &[]),
        }),
        PayloadFormat::Json => {
            let mut bytes = Vec::new();
            body.take(MAX_DOCUMENT_BYTES + 1).read_to_end(&mut bytes)?;
            if bytes.len() as u64 > MAX_DOCUMENT_BYTES {
                let reason =
                    format!("a JSON document has at most {MAX_DOCUMENT_BYTES} bytes; send larger ones as NDJSON");
                return Ok(whole(Refusal::new("payload_too_large", reason), &bytes));
            }
            let text = match String::from_utf8(bytes) {
                Ok(text) => text,
                Err(error) => {
                    return Ok(whole(Refusal::new("invalid_utf8", "the payload is not UTF-8"), error.as_bytes()));
                }
            };
            Ok(match well_formed(&text) {
                Ok((at, in_array)) => Reader::Document { text, at, in_array },
                Err(error) => whole(syntax(&error, "the payload"), text.as_bytes()),
            })
        }
    }
}

/// Where the first record starts, and whether it is one of an array.
fn well_formed(text: &str) -> Result<(usize, bool), Syntax> {
    let mut parser = Parser::new(text, if text.starts_with('\u{feff}') { 3 } else { 0 });
    parser.skip_space();
    let start = parser.at;
    if !parser.eat(b'[') {
        parser.value()?;
        parser.end()?;
        return Ok((start, false));
    }
    let first = parser.at;
    parser.skip_space();
    if !parser.eat(b']') {
        loop {
            // One element at a time: the whole would be in memory several times over.
            parser.value()?;
            parser.skip_space();
            if parser.eat(b']') {
                break;
            }
            if !parser.eat(b',') {
                let truncated = parser.peek().is_none();
                return Err(Syntax { at: parser.at, what: "a comma or the end of the array is expected", truncated });
            }
        }
    }
    parser.end()?;
    Ok((first, true))
}

fn document_step(plan: &InputPlan, text: &str, at: &mut usize, in_array: bool, wanted: bool) -> Option<Step> {
    let mut parser = Parser::new(text, *at);
    parser.skip_space();
    if in_array && parser.eat(b',') {
        parser.skip_space();
    }
    if parser.peek().is_none_or(|byte| in_array && byte == b']') {
        return None;
    }
    let start = parser.at;
    // The document is known to be well-formed.
    let value = parser.value().ok()?;
    *at = parser.at;
    if !wanted {
        return Some(Step::passed());
    }
    let raw = &text.as_bytes()[start..parser.at];
    Some(decided(json_record(plan, &value, raw.len(), parser.duplicate.take()), raw))
}

fn line_step(
    plan: &InputPlan,
    body: &mut Unpacked,
    line: &mut Vec<u8>,
    first: &mut bool,
    layout: &mut Option<Box<Layout>>,
    wanted: bool,
) -> io::Result<Option<Step>> {
    loop {
        line.clear();
        let limit = MAX_RECORD_BYTES + 1;
        let complete = read_line(body, line, limit)?;
        if line.is_empty() {
            return Ok(None);
        }
        if !complete && line.len() == limit {
            let passed = pass_line(body)?;
            let reason =
                format!("a record has at most {MAX_RECORD_BYTES} bytes, this has {}", line.len() as u64 + passed);
            let refusal = Refusal::new("record_too_large", reason);
            let bytes = line.len() as u64 + passed;
            return Ok(Some(Step { record: Err(refusal), bytes, raw: line[..MAX_EXCERPT_BYTES].to_vec() }));
        }
        let mut raw = line.as_slice();
        if std::mem::take(first) {
            raw = raw.strip_prefix(b"\xef\xbb\xbf").unwrap_or(raw);
        }
        let raw = raw.trim_ascii();
        if raw.is_empty() {
            continue;
        }
        #[cfg(test)]
        assert!(!raw.starts_with(super::OUTRAGE), "an outrage");
        if !wanted {
            return Ok(Some(Step::passed()));
        }
        #[cfg(test)]
        assert!(!raw.starts_with(super::POISON), "poison");
        let Ok(text) = std::str::from_utf8(raw) else {
            return Ok(Some(decided(Err(Refusal::new("invalid_utf8", "the line is not UTF-8")), raw)));
        };
        if raw.len() <= MAX_RECORD_BYTES
            && let Some(layout) = layout
            && let Ok(Some(values)) = catch_unwind(AssertUnwindSafe(|| layout.read(plan, text)))
        {
            return Ok(Some(Step { record: Ok((Operation::Write, values)), bytes: raw.len() as u64, raw: Vec::new() }));
        }
        let mut parser = Parser::new(text, 0);
        let record = match parser.value().and_then(|value| parser.end().map(|()| value)) {
            Ok(value) => {
                let record = json_record(plan, &value, raw.len(), parser.duplicate.take());
                if record.is_ok() {
                    *layout = Layout::of(plan, &value).map(Box::new);
                }
                record
            }
            Err(error) => Err(syntax(&error, "the line")),
        };
        return Ok(Some(decided(record, raw)));
    }
}

/// Reads a line with its end, or `limit` bytes of it; returns whether its end is there. (`BufRead::read_until` looks for
/// the end without the processor's vectors.)
fn read_line(body: &mut Unpacked, line: &mut Vec<u8>, limit: usize) -> io::Result<bool> {
    while line.len() < limit {
        let buffer = match body.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            buffer => buffer?,
        };
        let buffer = &buffer[..buffer.len().min(limit - line.len())];
        let end = memchr(b'\n', buffer);
        let used = end.map_or(buffer.len(), |end| end + 1);
        line.extend_from_slice(&buffer[..used]);
        body.consume(used);
        if end.is_some() || used == 0 {
            return Ok(end.is_some());
        }
    }
    Ok(false)
}

/// Passes over the rest of a line; returns its bytes.
fn pass_line(body: &mut Unpacked) -> io::Result<u64> {
    let (mut passed, mut piece) = (0, Vec::new());
    loop {
        piece.clear();
        let ended = read_line(body, &mut piece, PASSED_AT_ONCE)?;
        passed += piece.len() as u64;
        if ended || piece.is_empty() {
            return Ok(passed);
        }
    }
}

fn csv_step(plan: &InputPlan, reader: &mut CsvReader, columns: &Columns, wanted: bool) -> io::Result<Option<Step>> {
    let record = match reader.next()? {
        None => return Ok(None),
        Some(_) if !wanted => return Ok(Some(Step::passed())),
        Some(row) => row.and_then(|row| guarded(|| plan.csv(&row, columns))),
    };
    let raw = if record.is_err() { reader.raw() } else { Vec::new() };
    Ok(Some(Step { record, bytes: reader.bytes(), raw }))
}

fn json_record(plan: &InputPlan, value: &Json<'_>, bytes: usize, duplicate: Option<String>) -> Record {
    if bytes > MAX_RECORD_BYTES {
        return Err(Refusal::new("record_too_large", format!("a record has at most {MAX_RECORD_BYTES} bytes")));
    }
    if let Some(name) = duplicate {
        return Err(Refusal::new("duplicate_key", format!("the member {name:?} is given twice")).at(&name));
    }
    guarded(|| plan.json(value))
}

/// A record that makes the conformer panic costs that record (DATA-PLANE rule 29).
fn guarded(decide: impl FnOnce() -> Record) -> Record {
    catch_unwind(AssertUnwindSafe(decide)).unwrap_or_else(|_| Err(Refusal::crash("the record")))
}

fn decided(record: Record, raw: &[u8]) -> Step {
    let kept = if record.is_err() { raw.to_vec() } else { Vec::new() };
    Step { record, bytes: raw.len() as u64, raw: kept }
}

fn syntax(error: &Syntax, what: &str) -> Refusal {
    if error.truncated {
        return Refusal::new("truncated", format!("{what} ends in the middle of a JSON value"));
    }
    Refusal::new("invalid_json", format!("{what} is not JSON at byte {}: {}", error.at, error.what))
}
