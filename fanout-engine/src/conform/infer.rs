//! A schema and a model from a sample (CONVENTIONS §6): the whole sample is read, and a column is
//! numeric if every value outside the null markers is.

use std::collections::BTreeSet;
use std::io::Cursor;

use headgate_types::FieldError;
use headgate_types::engine::{InferSchema, InferredSchema};
use headgate_types::model::{InputField, InputModel, PayloadFormat};
use headgate_types::schema::{DAYS, DataType, Field, MAX_FIELDS, MICROS, Schema, name_error};
use indexmap::IndexMap;

use super::csv::CsvReader;
use super::json::{Json, Parser, Syntax};
use super::time;
use crate::EngineFault;

/// The largest sample, in bytes.
pub const MAX_SAMPLE_BYTES: usize = 64 << 20;

/// Texts that are taken for "no value" in a column whose other values are no text.
const MARKERS: &[&str] = &[
    "NA", "N/A", "n/a", "na", "#N/A", "NaN", "nan", "NAN", "null", "NULL", "Null", "None", "none", "nil", "-", "--",
    "?", ".",
];

/// What the values of a column have been so far.
#[derive(Debug, Default)]
struct Column {
    values: u64,
    /// Types that every text outside the markers has.
    text: Option<Fits>,
    markers: BTreeSet<&'static str>,
    bools: u64,
    integers: u64,
    floats: u64,
    nested: u64,
    texts: u64,
}

/// Which types a text could be.
#[derive(Debug, Clone, Copy)]
struct Fits {
    bool: bool,
    int: bool,
    float: bool,
    date: bool,
    timestamp: bool,
}

impl Fits {
    fn of(text: &str) -> Self {
        let float = is_number(text);
        Self {
            bool: matches!(text, "true" | "TRUE" | "True" | "false" | "FALSE" | "False"),
            int: float && text.parse::<i64>().is_ok(),
            float,
            date: time::days(text, None).is_some_and(|days| DAYS.contains(&days)),
            timestamp: time::micros(text, None).is_some_and(|micros| MICROS.contains(&micros)),
        }
    }

    const fn and(self, other: Self) -> Self {
        Self {
            bool: self.bool && other.bool,
            int: self.int && other.int,
            float: self.float && other.float,
            date: self.date && other.date,
            timestamp: self.timestamp && other.timestamp,
        }
    }

    const fn data_type(self) -> Option<DataType> {
        match self {
            Self { bool: true, .. } => Some(DataType::Bool),
            Self { int: true, .. } => Some(DataType::Int64),
            Self { float: true, .. } => Some(DataType::Float64),
            Self { date: true, .. } => Some(DataType::Date),
            Self { timestamp: true, .. } => Some(DataType::Timestamp),
            _ => None,
        }
    }
}

/// A finite number. `007` is a code, not a number, and so is `+49`.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let padded = digits.len() > 1 && digits.starts_with('0') && !digits[1..].starts_with(['.', 'e', 'E']);
    digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && !padded
        && text.parse::<f64>().is_ok_and(f64::is_finite)
}

impl Column {
    fn text(&mut self, text: &str, textual: bool) {
        if textual && text.is_empty() {
            return;
        }
        self.values += 1;
        self.texts += 1;
        if let Some(marker) = MARKERS.iter().find(|marker| **marker == text) {
            self.markers.insert(marker);
            return;
        }
        let fits = Fits::of(text);
        self.text = Some(self.text.map_or(fits, |before| before.and(fits)));
    }

    fn json(&mut self, value: &Json<'_>) {
        match value {
            Json::Null => return,
            Json::String(text) => return self.text(text, false),
            Json::Bool(_) => self.bools += 1,
            Json::Number(number) if number.parse::<i64>().is_ok() => self.integers += 1,
            Json::Number(_) => self.floats += 1,
            Json::Array(_) | Json::Object(_) => self.nested += 1,
        }
        self.values += 1;
    }

    /// The type, and whether the markers mean "no value".
    fn decide(&self, textual: bool) -> (DataType, bool) {
        let numbers = self.integers + self.floats;
        if self.texts == 0 {
            let one_kind = |count: u64| count == self.values;
            let data_type = match self.values {
                0 => DataType::String,
                _ if one_kind(self.bools) => DataType::Bool,
                _ if one_kind(self.integers) => DataType::Int64,
                _ if one_kind(numbers) => DataType::Float64,
                _ => DataType::Json,
            };
            return (data_type, false);
        }
        let marked = !self.markers.is_empty();
        if self.texts == self.values {
            // Numbers in quotes stay text in JSON: the source wrote them so on purpose.
            let found = self.text.and_then(Fits::data_type);
            return match found {
                Some(found) if textual || matches!(found, DataType::Date | DataType::Timestamp) => (found, marked),
                _ => (DataType::String, false),
            };
        }
        // Something else beside text: only markers may be text then.
        if self.text.is_none() && marked {
            let others = self.values - self.texts;
            if self.integers == others {
                return (DataType::Int64, true);
            }
            if numbers == others {
                return (DataType::Float64, true);
            }
            if self.bools == others {
                return (DataType::Bool, true);
            }
        }
        (DataType::Json, false)
    }
}

/// Infers a schema and a model from a sample.
///
/// # Errors
/// [`EngineFault::Refused`] when the sample cannot be read or does not have the keys.
pub fn infer(request: &InferSchema) -> Result<InferredSchema, EngineFault> {
    if request.sample.len() > MAX_SAMPLE_BYTES {
        return Err(refused("/sample", "too_large", format!("a sample has at most {MAX_SAMPLE_BYTES} bytes")));
    }
    let textual = request.format == PayloadFormat::Csv;
    let (columns, records) = match request.format {
        PayloadFormat::Csv => csv_columns(&request.sample)?,
        PayloadFormat::Json | PayloadFormat::Ndjson => json_columns(&request.sample, request.format)?,
    };
    if columns.is_empty() || records == 0 {
        return Err(refused("/sample", "empty", "the sample holds no record".to_owned()));
    }
    if columns.len() > MAX_FIELDS {
        return Err(refused("/sample", "too_many", format!("a schema has at most {MAX_FIELDS} fields")));
    }
    let mut fields: Vec<Field> = Vec::with_capacity(columns.len());
    let mut inputs = Vec::with_capacity(columns.len());
    // No model could name a field whose name is empty.
    for (source, column) in columns.iter().filter(|(source, _)| !source.is_empty()) {
        let name = field_name(source, &fields);
        let (data_type, marked) = column.decide(textual);
        let mut field = Field::new(name.clone(), data_type);
        if request.keys.iter().any(|key| key == source || *key == name) {
            field = field.as_key();
        }
        let mut input = InputField::plain(name);
        if input.name != *source {
            input.from = Some(source.clone());
        }
        if marked {
            input.null_markers = column.markers.iter().map(|marker| (*marker).to_owned()).collect();
        }
        fields.push(field);
        inputs.push(input);
    }
    for (index, key) in request.keys.iter().enumerate() {
        if !columns.contains_key(key) && !fields.iter().any(|field| field.name == *key) {
            let detail = format!("the sample has no field {key:?}");
            return Err(refused(&format!("/keys/{index}"), "unknown_field", detail));
        }
    }
    let input_model = InputModel { fields: inputs, ..InputModel::default() };
    Ok(InferredSchema { schema: Schema { fields }, input_model, records })
}

fn csv_columns(sample: &str) -> Result<(IndexMap<String, Column>, u64), EngineFault> {
    let body = Box::new(Cursor::new(sample.as_bytes().to_vec()));
    let broken = |refusal: super::Refusal| refused("/sample", refusal.code, refusal.reason);
    let Some(mut reader) = CsvReader::open(body)?.map_err(broken)? else {
        return Ok((IndexMap::new(), 0));
    };
    let mut columns: Vec<Column> = reader.header.iter().map(|_| Column::default()).collect();
    let mut records = 0;
    while let Some(row) = reader.next()? {
        records += 1;
        let row = row.map_err(|mut refusal| {
            refusal.reason = format!("record {records}: {}", refusal.reason);
            broken(refusal)
        })?;
        for (index, column) in columns.iter_mut().enumerate() {
            column.text(row.get(index).unwrap_or_default(), true);
        }
    }
    Ok((reader.header.iter().cloned().zip(columns).collect(), records))
}

fn json_columns(sample: &str, format: PayloadFormat) -> Result<(IndexMap<String, Column>, u64), EngineFault> {
    let mut columns: IndexMap<String, Column> = IndexMap::new();
    let mut parser = Parser::new(sample, if sample.starts_with('\u{feff}') { 3 } else { 0 });
    let mut records = 0;
    parser.skip_space();
    let in_array = format == PayloadFormat::Json && parser.eat(b'[');
    loop {
        parser.skip_space();
        match parser.peek() {
            None if !in_array => break,
            Some(b']') if in_array => break,
            _ => {}
        }
        records += 1;
        let value = parser.value().map_err(|error| broken_json(records, &error))?;
        let Json::Object(members) = &value else {
            return Err(refused("/sample", "not_an_object", format!("record {records}: a record is a JSON object")));
        };
        if let Some(name) = parser.duplicate.take() {
            let detail = format!("record {records}: the member {name:?} is given twice");
            return Err(refused("/sample", "duplicate_key", detail));
        }
        for (name, value) in members {
            // The operation of a change is no field of the entity.
            if name != "_op" {
                columns.entry(name.to_string()).or_default().json(value);
            }
        }
        if in_array {
            parser.skip_space();
            if !parser.eat(b',') && parser.peek() != Some(b']') {
                let error = Syntax { at: parser.at, what: "a comma is expected", truncated: parser.peek().is_none() };
                return Err(broken_json(records, &error));
            }
        }
    }
    Ok((columns, records))
}

fn broken_json(record: u64, error: &Syntax) -> EngineFault {
    let code = if error.truncated { "truncated" } else { "invalid_json" };
    refused("/sample", code, format!("record {record}: not JSON at byte {}: {}", error.at, error.what))
}

fn refused(pointer: &str, code: &str, detail: String) -> EngineFault {
    EngineFault::Refused {
        code: "sample_refused",
        detail: detail.clone(),
        fields: vec![FieldError::new(pointer, code, detail)],
    }
}

/// A valid field name that is like the source's and not taken yet.
fn field_name(source: &str, taken: &[Field]) -> String {
    let mut name: String =
        source.trim().chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).take(100).collect();
    name = name.trim_matches('_').to_owned();
    if name_error(&name).is_some() {
        name = format!("f_{name}").trim_end_matches('_').to_owned();
    }
    let is_taken = |name: &str| taken.iter().any(|field| field.name.eq_ignore_ascii_case(name));
    let plain = name.clone();
    let mut count = 1;
    while is_taken(&name) {
        count += 1;
        name = format!("{plain}_{count}");
    }
    name
}
