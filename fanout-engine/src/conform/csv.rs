//! RFC 4180 with a header row.

use std::io::{self, Read};

use csv::{ByteRecord, ReaderBuilder};

use super::body::Unpacked;
use super::{MAX_RECORD_BYTES, Refusal};

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
        let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(Watched::new(body));
        let mut record = ByteRecord::new();
        if !read(&mut reader, &mut record)? {
            return Ok(Ok(None));
        }
        let mut header = Vec::with_capacity(record.len());
        for (index, field) in record.iter().enumerate() {
            let Ok(name) = std::str::from_utf8(field) else {
                return Ok(Err(Refusal::new("invalid_utf8", "the header is not UTF-8")));
            };
            let name = if index == 0 { name.trim_start_matches('\u{feff}') } else { name };
            if header.iter().any(|known| known == name) {
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
        Ok(Some(self.checked()))
    }

    fn checked(&self) -> Result<CsvRow<'_>, Refusal> {
        let record = &self.record;
        if record.as_slice().len() > MAX_RECORD_BYTES {
            let reason = format!("a record has at most {MAX_RECORD_BYTES} bytes");
            return Err(Refusal::new("record_too_large", reason));
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

/// Follows the quotes, because the reader takes a payload that ends inside a quoted field for a
/// whole one.
struct Watched {
    body: Unpacked,
    place: Place,
    ended: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Start,
    Plain,
    Quoted,
    /// Behind a quote within a quoted field: its end, or the first half of an escaped one.
    Quote,
}

impl Watched {
    const fn new(body: Unpacked) -> Self {
        Self { body, place: Place::Start, ended: false }
    }

    /// The end was reached, and inside a quoted field. The end is only met by the last row.
    fn broke_off(&self) -> bool {
        self.ended && self.place == Place::Quoted
    }
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.body.read(buffer)?;
        self.ended = count == 0 && !buffer.is_empty();
        for byte in &buffer[..count] {
            self.place = match (self.place, byte) {
                (Place::Start | Place::Quote, b'"') => Place::Quoted,
                (Place::Quoted, b'"') => Place::Quote,
                (Place::Quoted, _) => Place::Quoted,
                (_, b',' | b'\n' | b'\r') => Place::Start,
                _ => Place::Plain,
            };
        }
        Ok(count)
    }
}

fn read(reader: &mut csv::Reader<Watched>, record: &mut ByteRecord) -> io::Result<bool> {
    reader.read_byte_record(record).map_err(|error| match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, format!("{other:?}")),
    })
}
