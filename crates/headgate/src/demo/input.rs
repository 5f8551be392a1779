//! What the demo feeds: sensor readings made here, or the user's own file.

use std::path::Path;

use anyhow::{Context, Result, bail};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use crate::cli::InputFormat;

/// Records of the demo's element and how they are described to the catalog.
pub struct Input {
    /// The payload format they are sent in.
    pub content_type: &'static str,
    /// Each record as one line of that format.
    pub lines: Vec<String>,
    /// The header line of CSV.
    pub header: Option<String>,
    /// Title and metadata of the element.
    pub metadata: Value,
}

impl Input {
    /// The records `range` as one payload.
    pub fn payload(&self, range: std::ops::Range<usize>) -> String {
        let mut payload = self.header.clone().map(|header| header + "\n").unwrap_or_default();
        for line in &self.lines[range] {
            payload.push_str(line);
            payload.push('\n');
        }
        payload
    }

    /// The format's name in requests to infer a schema.
    pub fn format(&self) -> &'static str {
        if self.header.is_some() { "csv" } else { "ndjson" }
    }

    /// Reads the user's file. A CSV record may span lines, so it is split by a CSV reader.
    pub fn from_file(file: &Path, format: InputFormat) -> Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?;
        let (header, lines, content_type) = match format {
            InputFormat::Ndjson => (
                None,
                text.lines().filter(|l| !l.trim().is_empty()).map(str::to_owned).collect(),
                "application/x-ndjson",
            ),
            InputFormat::Csv => {
                let (header, lines) = split_csv(&text)?;
                (Some(header), lines, "text/csv")
            }
        };
        let lines: Vec<String> = lines;
        if lines.is_empty() {
            bail!("{} holds no records", file.display());
        }
        let name = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or("input");
        let metadata = json!({
            "context": "headgate demo", "source": name, "format": format!("{format:?}").to_lowercase(),
            "what": format!("records of {name}"), "identified_by": "position in the file",
        });
        Ok(Self { content_type, lines, header, metadata })
    }

    /// Hourly readings of eight stations, some of them incomplete.
    pub fn generated(rows: usize, start: DateTime<Utc>) -> Self {
        const STATIONS: [&str; 8] = ["alder", "birch", "cedar", "dogwood", "elm", "fir", "ginkgo", "hazel"];
        let lines = (0..rows)
            .map(|row| {
                let (station, hour) = (STATIONS[row % STATIONS.len()], row / STATIONS.len());
                // A day's wave on a year's wave, and a little of something else: plain arithmetic,
                // so that two runs give the same readings.
                #[expect(clippy::cast_precision_loss, reason = "hours of a demo fit a float exactly")]
                let t = hour as f64;
                let wave =
                    20.0 * (t / 24.0 * std::f64::consts::TAU).sin() + 15.0 * (t / 8766.0 * std::f64::consts::TAU).sin();
                let jitter = f64::from(u8::try_from(row * 37 % 100).unwrap_or(0)) / 10.0;
                let mut reading = Map::new();
                reading.insert("station".into(), station.into());
                reading.insert(
                    "observed_at".into(),
                    (start + TimeDelta::hours(i64::try_from(hour).unwrap_or(0))).to_rfc3339().into(),
                );
                reading.insert("temperature".into(), json!(round(55.0 + wave + jitter)));
                reading
                    .insert("wind_speed".into(), if row % 11 == 0 { Value::Null } else { json!(round(jitter * 3.0)) });
                reading.insert("pressure".into(), json!(round(1013.0 + wave / 4.0)));
                reading.insert("status".into(), if row % 7 == 0 { "maintenance".into() } else { "ok".into() });
                Value::Object(reading).to_string()
            })
            .collect();
        let metadata = json!({
            "context": "environmental monitoring", "source": "station network", "format": "ndjson",
            "what": "hourly readings", "identified_by": "station and observed_at",
        });
        Self { content_type: "application/x-ndjson", lines, header: None, metadata }
    }
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn split_csv(text: &str) -> Result<(String, Vec<String>)> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut records = Vec::new();
    let mut record = csv::StringRecord::new();
    let mut start = 0;
    while reader.read_record(&mut record).context("the CSV file cannot be read")? {
        let end = usize::try_from(reader.position().byte())?;
        // The reader stops between the two bytes of CR LF, and skips empty lines at the start of the next.
        records.push(text[start..end].trim_matches(['\r', '\n']).to_owned());
        start = end;
    }
    if records.is_empty() {
        bail!("the CSV file has no header row");
    }
    let header = records.remove(0);
    Ok((header, records))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_records_keep_their_quoted_line_breaks() {
        let (header, records) = split_csv("a,b\r\n1,\"x\ny\"\r\n2,z\n").unwrap();
        assert_eq!(header, "a,b");
        assert_eq!(records, ["1,\"x\ny\"", "2,z"]);
    }

    #[test]
    fn generated_readings_are_the_same_every_time() {
        let start = DateTime::UNIX_EPOCH;
        assert_eq!(Input::generated(50, start).lines, Input::generated(50, start).lines);
        assert_eq!(Input::generated(50, start).payload(0..2).lines().count(), 2);
    }
}
