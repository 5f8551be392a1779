//! The Parquet files of a table. Each covers a range of offsets, and its name says which: ranges of
//! a table are disjoint, and the name is there where statistics may have been left out.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute;
use arrow::datatypes::{DataType, Date32Type, Float64Type, Int64Type, SchemaRef, TimestampMicrosecondType};
use chrono::{DateTime, NaiveDate, SecondsFormat, TimeDelta};
use parquet::arrow::ArrowWriter;
use parquet::data_type::ByteArray;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::properties::EnabledStatistics;
use parquet::file::statistics::Statistics;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::encodings::parquet_properties;
use crate::error::{LakeError, Result};
use crate::layout::OFFSET;

/// Rows of a row group: the unit a reader of the middle of a file has to decode.
const ROW_GROUP_ROWS: usize = 128 << 10;
/// Texts above this length have no maximum in the statistics: a cut one would be too small.
const STATISTICS_CHARS: usize = 32;

/// One file of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DataFile {
    /// Relative to the table.
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) records: u64,
    /// The first offset covered.
    pub(crate) first: u64,
    /// The last offset covered.
    pub(crate) last: u64,
}

impl DataFile {
    /// The file an `add` of a log entry names.
    pub(crate) fn parse(path: &str, bytes: u64, records: Option<u64>) -> Result<Self> {
        let foreign = || LakeError::Damaged(format!("the table holds the foreign file {path:?}"));
        let mut parts = path.splitn(3, '-');
        let first = parts.next().and_then(|first| first.parse().ok()).ok_or_else(foreign)?;
        let last: u64 = parts.next().and_then(|last| last.parse().ok()).ok_or_else(foreign)?;
        if last < first {
            return Err(foreign());
        }
        Ok(Self { path: path.to_owned(), bytes, records: records.unwrap_or(last - first + 1), first, last })
    }
}

/// A finished file that is not stored yet.
pub(crate) struct Encoded {
    pub(crate) file: DataFile,
    pub(crate) content: Vec<u8>,
    /// The `stats` of the `add` action.
    pub(crate) stats: String,
}

/// A file that is stored and waits for the commit that makes it part of the table.
pub(crate) struct Stored {
    pub(crate) file: DataFile,
    pub(crate) stats: String,
}

/// Writes one file, in memory: it is bounded by the roll and compaction sizes.
pub(crate) struct FileEncoder {
    writer: ArrowWriter<Vec<u8>>,
    schema: SchemaRef,
    statistics: Vec<Option<Column>>,
    first: Option<u64>,
    last: u64,
    records: u64,
}

#[derive(Default)]
struct Column {
    min: Option<Value>,
    max: Option<Value>,
    /// A text was too long for a maximum.
    open: bool,
    /// A number has no JSON form, so neither bound can be told.
    unbounded: bool,
    nulls: u64,
}

impl FileEncoder {
    pub(crate) fn new(schema: &SchemaRef) -> Result<Self> {
        let properties = parquet_properties(schema)?
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_created_by(concat!("headgate-lake ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let statistics = schema.fields().iter().map(|field| has_statistics(field.data_type())).collect();
        Ok(Self {
            writer: ArrowWriter::try_new(Vec::new(), Arc::clone(schema), Some(properties))?,
            schema: Arc::clone(schema),
            statistics,
            first: None,
            last: 0,
            records: 0,
        })
    }

    /// Adds records that cover offsets `first..=last`.
    pub(crate) fn write(&mut self, batch: &RecordBatch, first: u64, last: u64) -> Result<()> {
        self.first.get_or_insert(first);
        self.last = last;
        self.records += batch.num_rows() as u64;
        for (column, statistics) in batch.columns().iter().zip(&mut self.statistics) {
            if let Some(statistics) = statistics {
                statistics.observe(column);
            }
        }
        Ok(self.writer.write(batch)?)
    }

    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// Bytes so far, about.
    pub(crate) fn bytes(&self) -> u64 {
        (self.writer.bytes_written() + self.writer.in_progress_size()) as u64
    }

    pub(crate) fn finish(mut self) -> Result<Encoded> {
        let metadata = self.writer.finish()?;
        let content = std::mem::take(self.writer.inner_mut());
        let schema = metadata.file_metadata().schema_descr();
        for group in metadata.row_groups() {
            for (leaf, chunk) in group.columns().iter().enumerate() {
                if let Some(Some(column)) = self.statistics.get_mut(schema.get_column_root_idx(leaf)) {
                    column.observe_texts(chunk);
                }
            }
        }
        let (first, last) = (self.first.unwrap_or(0), self.last);
        let file = DataFile {
            path: format!("{first:020}-{last:020}-{}.parquet", Uuid::now_v7().simple()),
            bytes: content.len() as u64,
            records: self.records,
            first,
            last,
        };
        let (mut min, mut max, mut nulls) = (Map::new(), Map::new(), Map::new());
        for (field, column) in self.schema.fields().iter().zip(self.statistics) {
            let Some(column) = column else { continue };
            nulls.insert(field.name().clone(), json!(column.nulls));
            if column.unbounded {
                continue;
            }
            min.extend(column.min.map(|value| (field.name().clone(), value)));
            if !column.open {
                max.extend(column.max.map(|value| (field.name().clone(), value)));
            }
        }
        let stats = json!({"numRecords": file.records, "minValues": min, "maxValues": max, "nullCount": nulls});
        Ok(Encoded { file, content, stats: stats.to_string() })
    }
}

fn has_statistics(data_type: &DataType) -> Option<Column> {
    (!matches!(data_type, DataType::Struct(_))).then(Column::default)
}

impl Column {
    fn observe(&mut self, column: &ArrayRef) {
        self.nulls += column.null_count() as u64;
        let (min, max) = match column.data_type() {
            DataType::Int64 => {
                let column = column.as_primitive::<Int64Type>();
                (compute::min(column).map(Value::from), compute::max(column).map(Value::from))
            }
            DataType::Float64 => {
                let column = column.as_primitive::<Float64Type>();
                (compute::min(column).map(Value::from), compute::max(column).map(Value::from))
            }
            DataType::Timestamp(..) => {
                let column = column.as_primitive::<TimestampMicrosecondType>();
                (compute::min(column).and_then(timestamp), compute::max(column).and_then(timestamp))
            }
            DataType::Date32 => {
                let column = column.as_primitive::<Date32Type>();
                (compute::min(column).and_then(date), compute::max(column).and_then(date))
            }
            // Those of texts are in the file's own statistics: comparing them a second time would cost more than all the others.
            _ => return,
        };
        self.unbounded |= [&min, &max].into_iter().flatten().any(Value::is_null);
        keep(&mut self.min, min, std::cmp::Ordering::Less);
        keep(&mut self.max, max, std::cmp::Ordering::Greater);
    }

    /// Takes the bounds of a column chunk, if it is one of texts. The writer cuts long ones: a minimum to its beginning,
    /// a maximum to something larger.
    fn observe_texts(&mut self, chunk: &ColumnChunkMetaData) {
        let Some(Statistics::ByteArray(statistics)) = chunk.statistics() else { return };
        let text = |bound: &ByteArray| bound.as_utf8().map(str::to_owned).ok();
        let (min, max) = (statistics.min_opt().and_then(text), statistics.max_opt().and_then(text));
        let is_empty = statistics.null_count_opt() == u64::try_from(chunk.num_values()).ok();
        self.unbounded |= !is_empty && (min.is_none() || max.is_none());
        self.open |=
            max.as_ref().is_some_and(|max| !statistics.max_is_exact() || max.chars().count() > STATISTICS_CHARS);
        let min = min.map(|min| min.chars().take(STATISTICS_CHARS).collect::<String>());
        keep(&mut self.min, min.map(Value::from), std::cmp::Ordering::Less);
        keep(&mut self.max, max.map(Value::from), std::cmp::Ordering::Greater);
    }
}

fn keep(kept: &mut Option<Value>, new: Option<Value>, wanted: std::cmp::Ordering) {
    let Some(new) = new else { return };
    let replaces = match (&*kept, &new) {
        (None, _) => true,
        (Some(Value::String(old)), Value::String(new)) => new.cmp(old) == wanted,
        (Some(old), new) => match (old.as_i64(), new.as_i64()) {
            (Some(old), Some(new)) => new.cmp(&old) == wanted,
            _ => old.as_f64().zip(new.as_f64()).is_some_and(|(old, new)| new.total_cmp(&old) == wanted),
        },
    };
    if replaces {
        *kept = Some(new);
    }
}

fn timestamp(micros: i64) -> Option<Value> {
    let at = DateTime::from_timestamp_micros(micros)?;
    Some(at.to_rfc3339_opts(SecondsFormat::Micros, true).into())
}

fn date(days: i32) -> Option<Value> {
    let day = NaiveDate::from_ymd_opt(1970, 1, 1)?.checked_add_signed(TimeDelta::try_days(days.into())?)?;
    Some(day.format("%Y-%m-%d").to_string().into())
}

/// The smallest and largest `_offset` of a batch in offset order.
pub(crate) fn offsets(batch: &RecordBatch) -> Result<&[i64]> {
    let column = batch.column_by_name(OFFSET).filter(|column| column.data_type() == &DataType::Int64);
    let column = column.ok_or_else(|| LakeError::Damaged("a file has no offsets".to_owned()))?;
    Ok(column.as_primitive::<Int64Type>().values())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int64Array, StringArray};
    use arrow::datatypes::{Field, Schema};

    use super::*;

    fn stats(name: &str, batches: &[ArrayRef]) -> Value {
        let field = Field::new(name, batches[0].data_type().clone(), true);
        let schema = Arc::new(Schema::new(vec![field]));
        let mut file = FileEncoder::new(&schema).unwrap();
        for batch in batches {
            let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::clone(batch)]).unwrap();
            file.write(&batch, 1, 1).unwrap();
        }
        serde_json::from_str(&file.finish().unwrap().stats).unwrap()
    }

    fn texts(batches: &[&[Option<&str>]]) -> Value {
        let batches: Vec<_> = batches.iter().map(|it| Arc::new(StringArray::from(it.to_vec())) as ArrayRef).collect();
        stats("t", &batches)
    }

    #[test]
    fn statistics_bound_what_is_in_the_file_or_say_nothing() {
        let found = texts(&[&[Some("b"), None, Some("a")], &[Some("d"), Some("c")]]);
        assert_eq!(
            found,
            json!({"numRecords": 5, "minValues": {"t": "a"}, "maxValues": {"t": "d"}, "nullCount": {"t": 1}})
        );
        // A maximum that would have to be cut is none; a minimum may be cut.
        for long in ["z".repeat(33), "z".repeat(300), "é".repeat(40)] {
            let found = texts(&[&[Some(&long), Some("zz")]]);
            assert_eq!(found["maxValues"], json!({}), "{long}");
            let found = texts(&[&[Some(&long)]]);
            let min = found["minValues"]["t"].as_str().unwrap();
            assert!(long.starts_with(min) && min.chars().count() >= 16, "{min} of {long}");
        }
        // Nothing is larger that is shorter: it stays whole.
        let largest = "\u{10ffff}".repeat(20);
        assert_eq!(texts(&[&[Some(&largest)]])["maxValues"], json!({"t": largest}));
        assert_eq!(texts(&[&[None, None]])["minValues"], json!({}));
        assert_eq!(texts(&[&[None], &[Some("")]])["maxValues"], json!({"t": ""}));
        let numbers = |values: Vec<f64>| stats("t", &[Arc::new(Float64Array::from(values))]);
        assert_eq!(numbers(vec![2.0, -1.5])["minValues"], json!({"t": -1.5}));
        // What JSON cannot say bounds nothing, and neither does the rest then.
        assert_eq!(numbers(vec![2.0, f64::NAN])["maxValues"], json!({}));
        assert_eq!(numbers(vec![2.0, f64::INFINITY])["minValues"], json!({}));
        let whole: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX, i64::MIN]));
        assert_eq!(stats("t", &[whole])["maxValues"], json!({"t": i64::MAX}));
    }
}
