//! RFC 4180 with a header row.

use std::collections::{HashSet, VecDeque};
use std::io::{self, Read};
use std::ops::Range;

use csv::{ByteRecord, ReaderBuilder};

use super::body::Unpacked;
use super::{MAX_RECORD_BYTES, Refusal};

/// The most bytes of a row as it is written, quotes and their doubling included; the rest is passed
/// over. What fits a record is never longer.
const MAX_WRITTEN_BYTES: u64 = 2 * MAX_RECORD_BYTES as u64 + (64 << 10);

/// Reads rows under a header.
pub(super) struct CsvReader {
    reader: csv::Reader<Watched>,
    pub(super) header: Vec<String>,
    record: ByteRecord,
}

/// A row whose fields are all text, one per column of the header.
pub(super) struct CsvRow<'a> {
    record: &'a ByteRecord,
}

impl CsvRow<'_> {
    pub(super) fn get(&self, column: usize) -> Option<&str> {
        // Checked when the row was read.
        self.record.get(column).and_then(|field| std::str::from_utf8(field).ok())
    }
}

impl CsvReader {
    /// Reads the header. `None`: the payload is empty.
    pub(super) fn open(body: Unpacked) -> io::Result<Result<Option<Self>, Refusal>> {
        Self::open_limited(body, MAX_WRITTEN_BYTES)
    }

    fn open_limited(body: Unpacked, limit: u64) -> io::Result<Result<Option<Self>, Refusal>> {
        let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(Watched::new(body, limit));
        let mut record = ByteRecord::new();
        if !read(&mut reader, &mut record)? {
            return Ok(Ok(None));
        }
        if cut_off(&mut reader, &record) {
            return Ok(Err(too_large()));
        }
        let mut header = Vec::with_capacity(record.len());
        let mut known = HashSet::with_capacity(record.len());
        for (index, field) in record.iter().enumerate() {
            let Ok(name) = std::str::from_utf8(field) else {
                return Ok(Err(Refusal::new("invalid_utf8", "the header is not UTF-8")));
            };
            let name = if index == 0 { name.trim_start_matches('\u{feff}') } else { name };
            if !known.insert(name.to_owned()) {
                let reason = format!("the header names the column {name:?} twice");
                return Ok(Err(Refusal::new("duplicate_key", reason).at(name)));
            }
            header.push(name.to_owned());
        }
        Ok(Ok(Some(Self { reader, header, record })))
    }

    /// The next row; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Result<CsvRow<'_>, Refusal>>> {
        if !read(&mut self.reader, &mut self.record)? {
            return Ok(None);
        }
        let whole = !cut_off(&mut self.reader, &self.record);
        Ok(Some(if whole { self.checked() } else { Err(too_large()) }))
    }

    fn checked(&self) -> Result<CsvRow<'_>, Refusal> {
        let record = &self.record;
        if record.as_slice().len() > MAX_RECORD_BYTES {
            return Err(too_large());
        }
        if self.reader.get_ref().broke_off() {
            return Err(Refusal::new("truncated", "the payload ends inside a quoted field"));
        }
        if record.len() != self.header.len() {
            let reason = format!("the row has {} fields and the header {}", record.len(), self.header.len());
            return Err(Refusal::new("ragged_row", reason));
        }
        for (field, name) in record.iter().zip(&self.header) {
            if std::str::from_utf8(field).is_err() {
                return Err(Refusal::new("invalid_utf8", "the text is not UTF-8").at(name));
            }
        }
        Ok(CsvRow { record })
    }

    /// Bytes of the current row: its fields and what separates them.
    pub(super) fn bytes(&self) -> u64 {
        (self.record.as_slice().len() + self.record.len()) as u64
    }

    /// The current row as a line.
    pub(super) fn raw(&self) -> Vec<u8> {
        let mut writer =
            csv::WriterBuilder::new().flexible(true).terminator(csv::Terminator::Any(b'\n')).from_writer(Vec::new());
        // Writing into memory cannot fail.
        let _ = writer.write_byte_record(&self.record);
        let mut line = writer.into_inner().unwrap_or_default();
        line.pop();
        line
    }
}

fn too_large() -> Refusal {
    Refusal::new("record_too_large", format!("a record has at most {MAX_RECORD_BYTES} bytes"))
}

/// Whether the row just read is only the beginning of what was sent.
fn cut_off(reader: &mut csv::Reader<Watched>, record: &ByteRecord) -> bool {
    let start = record.position().map_or(0, csv::Position::byte);
    let span = start..reader.position().byte();
    reader.get_mut().was_cut(&span)
}

/// Follows the quotes, because the reader takes a payload that ends inside a quoted field for a
/// whole one, and holds a row in memory however long it is: one that is too long is ended early here.
struct Watched {
    body: Unpacked,
    /// The most bytes of a row.
    limit: u64,
    place: Place,
    ended: bool,
    /// Bytes of the current row.
    length: u64,
    /// Bytes handed out.
    handed: u64,
    /// Whether the rest of the current row is passed over.
    passing: bool,
    /// What ends a row that was cut, still to be handed out.
    owed: &'static [u8],
    /// Where rows were cut, as places in what was handed out.
    cuts: VecDeque<u64>,
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Start,
    Plain,
    Quoted,
    /// Behind a quote within a quoted field: its end, or the first half of an escaped one.
    Quote,
}

impl Place {
    const fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Start | Self::Quote, b'"') => Self::Quoted,
            (Self::Quoted, b'"') => Self::Quote,
            (Self::Quoted, _) => Self::Quoted,
            (_, b',' | b'\n' | b'\r') => Self::Start,
            _ => Self::Plain,
        }
    }
}

impl Watched {
    const fn new(body: Unpacked, limit: u64) -> Self {
        Self {
            body,
            limit,
            place: Place::Start,
            ended: false,
            length: 0,
            handed: 0,
            passing: false,
            owed: &[],
            cuts: VecDeque::new(),
        }
    }

    /// The end was reached, and inside a quoted field. The end is only met by the last row.
    fn broke_off(&self) -> bool {
        self.ended && self.place == Place::Quoted
    }

    /// Whether a row was cut within `span` of what was handed out; earlier ones are forgotten.
    fn was_cut(&mut self, span: &Range<u64>) -> bool {
        while self.cuts.front().is_some_and(|cut| *cut < span.start) {
            self.cuts.pop_front();
        }
        self.cuts.front().is_some_and(|cut| span.contains(cut))
    }

    /// Hands out what is owed from `kept` on, as far as there is room; returns where it ends.
    fn pay(&mut self, room: &mut [u8], kept: usize) -> usize {
        let count = self.owed.len().min(room.len() - kept);
        room[kept..kept + count].copy_from_slice(&self.owed[..count]);
        self.owed = &self.owed[count..];
        kept + count
    }

    /// Looks at the fresh bytes of the buffer and leaves out what is passed over; returns how many
    /// bytes the buffer then holds.
    fn look(&mut self, buffer: &mut [u8], fresh: Range<usize>) -> usize {
        let mut kept = fresh.start;
        for at in fresh {
            let byte = buffer[at];
            let before = self.place;
            self.place = before.after(byte);
            let row_ends = self.place == Place::Start && byte != b',';
            self.length = if row_ends { 0 } else { self.length + 1 };
            if self.passing {
                self.passing = !row_ends;
                kept = self.pay(&mut buffer[..=at], kept);
            } else if self.length > self.limit {
                self.passing = true;
                self.cuts.push_back(self.handed + kept as u64);
                self.owed = if before == Place::Quoted { b"\"\n" } else { b"\n" };
                kept = self.pay(&mut buffer[..=at], kept);
            } else {
                buffer[kept] = byte;
                kept += 1;
            }
        }
        kept
    }
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let paid = self.pay(buffer, 0);
            if paid == buffer.len() {
                self.handed += paid as u64;
                return Ok(paid);
            }
            let count = self.body.read(&mut buffer[paid..])?;
            self.ended = count == 0;
            let kept = self.look(buffer, paid..paid + count);
            self.handed += kept as u64;
            // Nothing kept of a long row is not the end.
            if kept > 0 || self.ended {
                return Ok(kept);
            }
        }
    }
}

fn read(reader: &mut csv::Reader<Watched>, record: &mut ByteRecord) -> io::Result<bool> {
    reader.read_byte_record(record).map_err(|error| match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, format!("{other:?}")),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    const LIMIT: usize = 30_000;

    fn open(text: String) -> Result<Option<CsvReader>, Refusal> {
        CsvReader::open_limited(Box::new(Cursor::new(text)), LIMIT as u64).unwrap()
    }

    #[test]
    fn a_row_is_cut_before_it_fills_the_memory_and_the_next_one_is_read() {
        let fill = |text: &str| text.repeat(LIMIT + 1);
        let rows = [
            fill("x"),
            format!("a,\"{}\n{}\"", fill("y"), fill("z")),
            format!("\"{}\",b", fill("\"\"")),
            format!("\"a{}\",b", fill("\"\"")),
            format!("a,b\"{}\"\"", fill("x")),
            fill(","),
        ];
        for row in rows {
            let mut reader = open(format!("id,v\r\nfirst,\"1,\n2\"\r\n{row}\r\nlast,\"2\"\r\n")).unwrap().unwrap();
            assert_eq!(reader.next().unwrap().unwrap().ok().unwrap().get(1), Some("1,\n2"));
            assert_eq!(reader.next().unwrap().unwrap().err().unwrap().code, "record_too_large");
            assert!(reader.record.as_slice().len() <= LIMIT);
            assert_eq!(reader.next().unwrap().unwrap().ok().unwrap().get(0), Some("last"));
            assert!(reader.next().unwrap().is_none());
        }
    }

    #[test]
    fn a_header_without_end_is_refused_and_an_open_quote_ends_with_the_payload() {
        assert_eq!(open("x".repeat(LIMIT * 2)).err().unwrap().code, "record_too_large");
        let mut reader = open(format!("id\n\"{}", "x".repeat(LIMIT * 2))).unwrap().unwrap();
        assert_eq!(reader.next().unwrap().unwrap().err().unwrap().code, "record_too_large");
        assert!(reader.next().unwrap().is_none());
    }
}
