//! The peer: DuckDB in the Python that the tests use, with the subscriptions in a table and one join.

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use arrow::util::display::array_value_to_string;

use super::Subscription;
use crate::bench::python::Python;

const SCRIPT: &str = include_str!("duckdb.py");

/// A DuckDB with the rows and the subscriptions loaded.
pub struct DuckDb {
    python: Python,
    _directory: tempfile::TempDir,
}

impl DuckDb {
    /// `None` when no Python here has it.
    pub fn start(batch: &RecordBatch, subscriptions: &[Subscription]) -> Result<Option<Self>> {
        let directory = tempfile::tempdir()?;
        let (rows, filters) = (directory.path().join("rows.csv"), directory.path().join("filters.csv"));
        write_rows(&rows, batch)?;
        write_filters(&filters, subscriptions)?;
        let Some(python) = Python::start("duckdb", SCRIPT, &[&rows, &filters])? else { return Ok(None) };
        let mut peer = Self { python, _directory: directory };
        // The first join also loads what Python and DuckDB load lazily.
        peer.run()?;
        Ok(Some(peer))
    }

    /// One commit: rows selected, and the seconds of CPU the join took.
    pub fn run(&mut self) -> Result<(u64, f64)> {
        let answer = self.python.ask("join")?;
        let (rows, cpu) = answer.trim().split_once(' ').context("DuckDB did not answer")?;
        Ok((rows.parse()?, cpu.parse()?))
    }
}

fn write_rows(file: &std::path::Path, batch: &RecordBatch) -> Result<()> {
    let mut csv = csv::Writer::from_path(file)?;
    let names: Vec<String> = batch
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .filter(|name| !name.starts_with('_'))
        .collect();
    csv.write_record(&names)?;
    for row in 0..batch.num_rows() {
        let cells = batch.columns()[..names.len()].iter().map(|column| array_value_to_string(column, row));
        csv.write_record(&cells.collect::<Result<Vec<_>, _>>()?)?;
    }
    csv.flush()?;
    Ok(())
}

fn write_filters(file: &std::path::Path, subscriptions: &[Subscription]) -> Result<()> {
    let mut csv = csv::Writer::from_path(file)?;
    csv.write_record(["subscription", "tenant", "device", "site", "metric", "low", "high"])?;
    for (number, one) in subscriptions.iter().enumerate() {
        let of =
            |name: &str| one.equal.iter().find(|(column, _)| *column == name).map_or("", |(_, value)| value.as_str());
        let bound = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        csv.write_record([
            &number.to_string(),
            of("tenant"),
            of("device"),
            of("site"),
            of("metric"),
            &bound(one.value.map(|(low, _)| low)),
            &bound(one.value.map(|(_, high)| high)),
        ])?;
    }
    csv.flush()?;
    Ok(())
}
