//! B3 and B4: what rows cost to become Parquet, and how long a durable Delta commit takes, beside
//! DuckDB and delta-rs in the Python that the tests use.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use headgate_fanout_engine::conform::{Conformer, InputPlan, Row, Source, declared_batch};
use headgate_lake::{ElementLayout, Lake, LakeConfig, NewCommit, log_schema};
use headgate_types::model::{InputModel, PayloadFormat};
use headgate_types::schema::{DataType, ElementKind, Field, Schema};
use headgate_types::{ElementId, SchemaId, SystemClock};
use serde_json::{Value, json};

use super::python::Python;
use super::report::{Report, say};
use super::row;
use super::server::own;
use crate::cli::BenchArguments;

/// Rows of a file in B3.
const ROWS: u64 = 500_000;
/// Rows of a commit in B3: as many as the ingestion writes at once.
const COMMIT: usize = 8_192;
/// Rows of a commit in B4, and commits of each size.
const COMMITS: [(u64, u32); 3] = [(1_000, 30), (10_000, 20), (100_000, 8)];

fn schema() -> Schema {
    let columns = [
        ("id", DataType::Int64),
        ("ts", DataType::Int64),
        ("tenant", DataType::String),
        ("device", DataType::String),
        ("site", DataType::String),
        ("metric", DataType::String),
        ("value", DataType::Float64),
        ("note", DataType::String),
    ];
    Schema { fields: columns.into_iter().map(|(name, data_type)| Field::new(name, data_type)).collect() }
}

/// A lake with one element of events.
struct World {
    lake: Lake,
    layout: ElementLayout,
    _directory: tempfile::TempDir,
}

impl World {
    async fn new() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("headgate-bench-").tempdir()?;
        let lake = Lake::open(LakeConfig::new(directory.path()), SystemClock::shared()).await?;
        let layout = ElementLayout {
            element: ElementId::new(),
            kind: ElementKind::Events,
            schema_id: SchemaId::new(),
            schema: schema(),
        };
        lake.register(layout.clone()).await?;
        Ok(Self { lake, layout, _directory: directory })
    }

    async fn append(&self, mut columns: Vec<ArrayRef>) -> Result<()> {
        let rows = columns.first().map_or(0, |column| column.len());
        columns.push(Arc::new(StringArray::from_iter_values(std::iter::repeat_n("insert", rows))));
        let commit = NewCommit {
            element: self.layout.element,
            expected_head: self.lake.log().head(self.layout.element),
            schema_id: self.layout.schema_id,
            batch: RecordBatch::try_new(log_schema(self.layout.kind, &self.layout.schema), columns)?,
            positions: Vec::new(),
            side: Vec::new(),
        };
        self.lake.log().append(commit).await?;
        Ok(())
    }

    /// Bytes of the element's Parquet files.
    fn parquet_bytes(&self) -> Result<u64> {
        let mut bytes = 0;
        for entry in std::fs::read_dir(self.lake.changes_directory(self.layout.element))? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|extension| extension == "parquet") {
                bytes += entry.metadata()?.len();
            }
        }
        Ok(bytes)
    }
}

/// B3: NDJSON, checked and with one unit converted, into the log and into Parquet.
pub async fn conform(arguments: &BenchArguments, report: &mut Report) -> Result<()> {
    let directory = tempfile::tempdir()?;
    for _ in 0..arguments.rounds {
        for bad in [0, 100] {
            let file = directory.path().join(format!("{bad}.ndjson"));
            write_rows(&file, bad)?;
            let name = if bad == 0 { "headgate" } else { "headgate, 1 % bad" };
            let (rows, whole, conformed, bytes) = conform_file(&file).await?;
            let expected = ROWS - ROWS.checked_div(bad).unwrap_or(0);
            if rows != expected {
                bail!("{rows} rows of {expected} are in the table");
            }
            let figures = json!({
                "cpu_us_per_row": whole * 1e6 / ROWS as f64,
                "cpu_us_per_row_until_rows": conformed * 1e6 / ROWS as f64,
                "parquet_bytes_per_row": bytes as f64 / rows as f64,
            });
            report.add("B3", name, figures);
        }
        let file = directory.path().join("0.ndjson");
        let Some(mut python) = peers()? else {
            say("B3   DuckDB is not here: HEADGATE_TEST_PYTHON names a Python that has duckdb and deltalake");
            continue;
        };
        let answer =
            asked(&mut python, &json!({"do": "parquet", "file": file, "to": directory.path().join("duckdb.parquet")}))?;
        let number = |name: &str| answer[name].as_f64().with_context(|| format!("{answer}"));
        report.add(
            "B3",
            "DuckDB, 1 thread",
            json!({"cpu_us_per_row": number("cpu")? * 1e6 / ROWS as f64,
                   "parquet_bytes_per_row": number("bytes")? / ROWS as f64}),
        );
    }
    for who in ["headgate", "headgate, 1 % bad"] {
        report.ratio("B3", "cpu_us_per_row", "DuckDB, 1 thread", who);
    }
    report.ratio("B3", "parquet_bytes_per_row", "headgate", "DuckDB, 1 thread");
    Ok(())
}

/// Every `bad`-th row has text where a number belongs; 0: none.
fn write_rows(file: &Path, bad: u64) -> Result<()> {
    if file.exists() {
        return Ok(());
    }
    let mut out = std::io::BufWriter::new(std::fs::File::create(file)?);
    for id in 0..ROWS {
        let row = row(id, 1_700_000_000_000_000 + id * 1_000);
        let row = if bad > 0 && id % bad == 0 {
            row.replace(".25,\"note\"", "\" \",\"note\"").replace("\"value\":", "\"value\":\"")
        } else {
            row
        };
        std::io::Write::write_all(&mut out, row.as_bytes())?;
        std::io::Write::write_all(&mut out, b"\n")?;
    }
    std::io::Write::flush(&mut out)?;
    Ok(())
}

/// Rows in the table, CPU seconds of all of it and of the part until rows, bytes of Parquet.
async fn conform_file(file: &Path) -> Result<(u64, f64, f64, u64)> {
    let world = World::new().await?;
    let model: InputModel = serde_json::from_value(json!({
        "fields": [{"name": "id"}, {"name": "ts"}, {"name": "tenant"}, {"name": "device"}, {"name": "site"},
                   {"name": "metric"}, {"name": "value", "unit": {"from": "[degF]", "to": "Cel"}}, {"name": "note"}],
    }))?;
    let plan = InputPlan::compile(ElementKind::Events, &world.layout.schema, &model)
        .map_err(|errors| anyhow!("the model is refused: {errors:?}"))?;
    let file = file.to_owned();
    let open = move || -> std::io::Result<Box<dyn Read + Send>> { Ok(Box::new(std::fs::File::open(&file)?)) };
    let source = Source { format: PayloadFormat::Ndjson, encoding: None, limit: u64::MAX, open: Box::new(open) };
    let before = own()?.cpu;
    let (mut conformer, mut conformed, mut rows) = (Conformer::open(Arc::new(plan), &source, 0)?, 0.0, 0);
    loop {
        let begun = own()?.cpu;
        let chunk = conformer.next_chunk(COMMIT, u64::MAX)?;
        let columns =
            declared_batch(&world.layout.schema, chunk.rows.iter().map(|row: &Row| Some(row.values.as_slice())))?;
        rows += chunk.rows.len() as u64;
        conformed += own()?.cpu - begun;
        world.append(columns).await?;
        if chunk.finished {
            break;
        }
    }
    world.lake.roll(world.layout.element).await?;
    Ok((rows, own()?.cpu - before, conformed, world.parquet_bytes()?))
}

/// B4: what is in the log becomes durable in the Delta table.
pub async fn commits(arguments: &BenchArguments, report: &mut Report) -> Result<()> {
    for _ in 0..arguments.rounds {
        let sync = fdatasync()?;
        report.add("B4", "fdatasync", json!({"p50_ms": sync * 1e3}));
        for (rows, commits) in COMMITS {
            let world = World::new().await?;
            let mut times = Vec::new();
            let (mut cpu, mut merging) = (0.0, 0.0);
            for commit in 0..commits {
                world.append(columns(u64::from(commit) * rows, rows)).await?;
                let (begun, before) = (Instant::now(), own()?.cpu);
                world.lake.publish_tables(world.layout.element).await?;
                times.push(begun.elapsed());
                let committed = own()?.cpu;
                cpu += committed - before;
                // What small files cost later, which delta-rs leaves to whoever owns the table.
                world.lake.roll(world.layout.element).await?;
                merging += own()?.cpu - committed;
            }
            let figures = json!({
                "p50_ms": median(&mut times).as_secs_f64() * 1e3,
                "cpu_ms": cpu * 1e3 / f64::from(commits),
                "merging_cpu_ms": merging * 1e3 / f64::from(commits),
            });
            report.add("B4", &format!("headgate {rows}"), figures);
            let Some(mut python) = peers()? else {
                say("B4   delta-rs is not here: HEADGATE_TEST_PYTHON names a Python that has duckdb and deltalake");
                continue;
            };
            let directory = tempfile::Builder::new().prefix("headgate-bench-").tempdir()?;
            let answer = asked(
                &mut python,
                &json!({"do": "commits", "rows": rows, "commits": commits, "to": directory.path()}),
            )?;
            let p50 = answer["p50"].as_f64().with_context(|| format!("{answer}"))?;
            let figures = json!({
                "p50_ms": p50 * 1e3,
                "p50_ms_with_3_syncs": (p50 + 3.0 * sync) * 1e3,
                "cpu_ms": answer["cpu"].as_f64().unwrap_or(f64::NAN) * 1e3 / f64::from(commits),
            });
            report.add("B4", &format!("delta-rs {rows}"), figures);
        }
    }
    for (rows, _) in COMMITS {
        let (ours, theirs) = (format!("headgate {rows}"), format!("delta-rs {rows}"));
        let ratio = report.median("B4", &ours, "p50_ms") / report.median("B4", &theirs, "p50_ms_with_3_syncs");
        say(&format!("B4   p50: {ours} / {theirs} with 3 syncs = {ratio:.2}"));
        report.ratio("B4", "cpu_ms", &ours, &theirs);
    }
    Ok(())
}

fn columns(first: u64, rows: u64) -> Vec<ArrayRef> {
    let ids = || first..first + rows;
    let text = |prefix: &'static str, modulus: u64| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(ids().map(move |id| format!("{prefix}-{}", id % modulus))))
    };
    vec![
        Arc::new(Int64Array::from_iter_values(ids().map(|id| id as i64))),
        Arc::new(Int64Array::from_iter_values(ids().map(|id| id as i64 * 1_000))),
        text("tenant", 100),
        text("device", 10_000),
        text("site", 40),
        text("metric", 7),
        Arc::new(Float64Array::from_iter_values(ids().map(|id| id as f64 / 4.0))),
        Arc::new(StringArray::from_iter_values(ids().map(|id| format!("{id:0>130}")))),
    ]
}

/// DuckDB and delta-rs; `None` when no Python here has both.
fn peers() -> Result<Option<Python>> {
    Python::start("duckdb, deltalake", include_str!("peers.py"), &[])
}

/// One piece of work, and what it took.
fn asked(peers: &mut Python, what: &Value) -> Result<Value> {
    serde_json::from_str(&peers.ask(&what.to_string())?).context("Python did not answer")
}

/// The median time of an append of 4 KiB with `fdatasync`.
fn fdatasync() -> Result<f64> {
    let directory = tempfile::Builder::new().prefix("headgate-bench-").tempdir()?;
    let mut file = std::fs::File::create(directory.path().join("file"))?;
    let mut times = Vec::new();
    for _ in 0..50 {
        std::io::Write::write_all(&mut file, &[7; 4_096])?;
        let begun = Instant::now();
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    Ok(median(&mut times).as_secs_f64())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
