//! B5: what a commit costs to be matched with ever more filtered subscriptions, its matching rows
//! selected and projected; beside Arrow's kernels subscription by subscription, and one join in DuckDB.
//!
//! The domains of the values grow with the subscriptions, so that about the same rows are
//! delivered however many there are. Everything runs on one thread; CPU is that of the thread.

mod duckdb;

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch, Scalar, StringArray,
    TimestampMicrosecondArray,
};
use arrow::compute::kernels::cmp::{eq, gt_eq, lt_eq};
use arrow::compute::{and, filter_record_batch};
use chrono::DateTime;
use headgate_fanout_engine::shape::{FilterId, Plan, PlanInput, Routes};
use headgate_lake::{LakeBatch, arrow_schema};
use headgate_types::model::OutputModel;
use headgate_types::schema::{DataType, ElementKind, Field, Schema};
use headgate_types::selection::{Policy, Scope};
use headgate_types::{ElementId, SchemaId};
use serde_json::json;

use super::report::{Report, say};
use crate::cli::BenchArguments;
use duckdb::DuckDb;

/// Rows of a commit.
const ROWS: u64 = 32_768;
/// Distinct metrics; sites make up the rest of the pairs.
const METRICS: u64 = 7;
/// Subscriptions that Arrow's kernels are measured with; more take in proportion.
const NAIVE: usize = 1_000;
/// Subscriptions nobody sends anything for, added to see what they cost.
const STRANGERS: u64 = 10_000;
/// How long a measurement takes.
const AT_LEAST: Duration = Duration::from_millis(200);
/// What a subscriber gets.
const COLUMNS: [&str; 3] = ["id", "ts", "value"];

/// A filter as all three read it.
#[derive(Debug, Clone, PartialEq)]
struct Subscription {
    equal: Vec<(&'static str, String)>,
    /// Least and greatest value.
    value: Option<(f64, f64)>,
}

impl Subscription {
    /// The `index`-th of `all`: 40 % by tenant, 30 % by device, 30 % by site and metric, every other
    /// one within half of the values.
    fn new(index: u64, all: u64) -> Self {
        let (kind, place) = (index % 10, index / 10);
        let equal = match kind {
            0..=3 => vec![("tenant", format!("tenant-{}", place * 4 + kind))],
            4..=6 => vec![("device", format!("device-{}", place * 3 + kind - 4))],
            _ => {
                let pair = place * 3 + kind - 7;
                vec![("site", format!("site-{}", pair / METRICS)), ("metric", format!("metric-{}", pair % METRICS))]
            }
        };
        let low = (index * 7_919 % 500) as f64 + 0.25;
        Self { equal, value: (index / 10 % 2 == 1 || all < 20 && index % 2 == 1).then_some((low, low + 500.0)) }
    }

    fn filter(&self) -> String {
        let mut terms: Vec<String> = self.equal.iter().map(|(name, value)| format!("{name} = '{value}'")).collect();
        if let Some((low, high)) = self.value {
            terms.push(format!("value >= {low:?} AND value <= {high:?}"));
        }
        terms.join(" AND ")
    }
}

/// An element and a commit on it, whose values range over what `subscriptions` ask for.
struct Commit {
    element: ElementId,
    schema_id: SchemaId,
    schema: Schema,
    range: LakeBatch,
}

impl Commit {
    fn new(subscriptions: u64) -> Result<Self> {
        let text = DataType::String;
        let fields = [
            ("id", DataType::Int64),
            ("ts", DataType::Int64),
            ("tenant", text),
            ("device", text),
            ("site", text),
            ("metric", text),
            ("value", DataType::Float64),
            ("note", text),
        ];
        let schema = Schema { fields: fields.iter().map(|(name, kind)| Field::new(*name, *kind)).collect() };
        let of = |share: u64| (subscriptions * share / 10).max(1);
        // Each column walks its domain with a stride of its own, so that columns are independent.
        let walk = |name: &'static str, stride: u64, domain: u64| {
            let value = move |row: u64| format!("{name}-{}", (row * stride + row / 97) % domain);
            Arc::new(StringArray::from_iter_values((0..ROWS).map(value))) as ArrayRef
        };
        let pairs = of(3);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(0..ROWS as i64)),
            Arc::new(Int64Array::from_iter_values((0..ROWS as i64).map(|row| 1_700_000_000_000 + row))),
            walk("tenant", 31, of(4)),
            walk("device", 37, of(3)),
            walk("site", 41, pairs.div_ceil(METRICS)),
            walk("metric", 43, METRICS.min(pairs)),
            Arc::new(Float64Array::from_iter_values((0..ROWS).map(|row| (row * 613 % 1_000) as f64 + 0.5))),
            Arc::new(StringArray::from_iter_values((0..ROWS).map(|row| format!("{row:0>180}")))),
            Arc::new(StringArray::from_iter_values((0..ROWS).map(|_| "insert"))),
            Arc::new(Int64Array::from_iter_values(1..=ROWS as i64)),
            Arc::new(TimestampMicrosecondArray::from_value(0, ROWS as usize).with_timezone("UTC")),
        ];
        let (element, schema_id) = (ElementId::new(), SchemaId::new());
        let range = LakeBatch {
            element,
            epoch: 1,
            first: 1,
            last: ROWS,
            schema_id,
            committed_at: DateTime::UNIX_EPOCH,
            batch: RecordBatch::try_new(arrow_schema(ElementKind::Events, &schema), columns)?,
        };
        Ok(Self { element, schema_id, schema, range })
    }

    fn plan(&self, subscription: &Subscription) -> Result<Plan> {
        let scope = Scope {
            element: self.element,
            name: "rows".to_owned(),
            filter: Some(subscription.filter()),
            columns: COLUMNS.map(str::to_owned).to_vec(),
            policy: Policy::default(),
            model: OutputModel::default(),
            model_version: 1,
        };
        let input = PlanInput {
            element: self.element,
            kind: ElementKind::Events,
            schema_id: self.schema_id,
            schema: &self.schema,
            scope: &scope,
            record_id_key: &[7; 32],
        };
        Plan::compile(input).map_err(|errors| anyhow!("a filter was refused: {errors:?}"))
    }
}

/// Headgate's own matching of a commit, as delivery uses it.
struct Ours {
    routes: Routes,
    plans: HashMap<FilterId, Plan>,
}

impl Ours {
    fn new(commit: &Commit, subscriptions: &[Subscription]) -> Result<Self> {
        let plans = subscriptions.iter().map(|one| commit.plan(one)).collect::<Result<Vec<_>>>()?;
        let mut routes = Routes::like(plans.first().context("no subscription")?);
        plans.iter().for_each(|plan| routes.add(plan));
        routes.snapshot();
        Ok(Self { routes, plans: plans.into_iter().map(|plan| (plan.filter().id(), plan)).collect() })
    }

    /// Rows selected, and expressions evaluated over all rows.
    fn run(&mut self, commit: &Commit) -> Result<(u64, u64)> {
        let routed = self.routes.snapshot().route(&commit.range)?;
        let mut rows = 0;
        for (id, candidates) in &routed.found {
            let plan = self.plans.get(id).context("a predicate without a plan")?;
            rows += black_box(plan.shape_routed(candidates)?).offsets.len() as u64;
        }
        Ok((rows, routed.evaluated))
    }
}

/// Every subscription over the whole batch with Arrow's kernels.
fn naive(commit: &Commit, subscriptions: &[Subscription]) -> Result<u64> {
    let batch = &commit.range.batch;
    let column = |name: &str| batch.column_by_name(name).context("no such column");
    let indices = COLUMNS.map(|name| batch.schema().index_of(name));
    let projected = batch.project(&indices.into_iter().collect::<Result<Vec<_>, _>>()?)?;
    let values = column("value")?.as_primitive::<arrow::datatypes::Float64Type>();
    let mut rows = 0;
    for subscription in subscriptions {
        let mut mask: Option<BooleanArray> = None;
        let mut also = |next: BooleanArray| -> Result<()> {
            mask = Some(match mask.take() {
                Some(mask) => and(&mask, &next)?,
                None => next,
            });
            Ok(())
        };
        for (name, value) in &subscription.equal {
            also(eq(column(name)?, &Scalar::new(StringArray::from(vec![value.as_str()])))?)?;
        }
        if let Some((low, high)) = subscription.value {
            also(gt_eq(values, &Float64Array::new_scalar(low))?)?;
            also(lt_eq(values, &Float64Array::new_scalar(high))?)?;
        }
        if let Some(mask) = mask {
            rows += black_box(filter_record_batch(&projected, &mask)?).num_rows() as u64;
        }
    }
    Ok(rows)
}

/// B5.
pub fn subscriptions(arguments: &BenchArguments, report: &mut Report) -> Result<()> {
    let sizes: Vec<u64> =
        [10, 100, 1_000, 10_000, 100_000].into_iter().filter(|size| *size <= arguments.subscriptions).collect();
    for size in &sizes {
        let all: Vec<Subscription> = (0..*size).map(|index| Subscription::new(index, *size)).collect();
        let commit = Commit::new(*size)?;
        let mut ours = Ours::new(&commit, &all)?;
        let mut more = None;
        if *size == 1_000 {
            let strangers = (0..STRANGERS).map(|index| Subscription::new(10 * size + index, STRANGERS));
            let both: Vec<Subscription> = all.iter().cloned().chain(strangers).collect();
            more = Some(Ours::new(&commit, &both)?);
        }
        let sample = &all[..all.len().min(NAIVE)];
        let mut duck = DuckDb::start(&commit.range.batch, &all)?;
        if duck.is_none() && *size == sizes[0] {
            say("B5   DuckDB is absent: no Python of HEADGATE_TEST_PYTHON or python3 has it");
        }
        for _ in 0..arguments.rounds {
            let ((rows, evaluated), cpu) = timed(|| ours.run(&commit))?;
            let who = format!("S={size}");
            report.add("B5", &who, figures(cpu, rows, json!({"evaluated": evaluated})));
            if let Some(more) = &mut more {
                let ((same, evaluated), cpu) = timed(|| more.run(&commit))?;
                if same != rows {
                    bail!("strangers changed what is delivered: {same} instead of {rows} rows");
                }
                report.add("B5", "S=1000 and 10000 strangers", figures(cpu, rows, json!({"evaluated": evaluated})));
            }
            let (found, cpu) = timed(|| naive(&commit, sample))?;
            if sample.len() == all.len() && found != rows {
                bail!("the kernels select {found} rows, Headgate {rows}");
            }
            let scale = all.len() as f64 / sample.len() as f64;
            let found = (found as f64 * scale) as u64;
            report.add(
                "B5",
                &format!("S={size} kernels"),
                figures(cpu * scale, found, json!({"measured": sample.len()})),
            );
            if let Some(duck) = &mut duck {
                let (found, cpu) = duck.run()?;
                if found != rows {
                    bail!("DuckDB selects {found} rows, Headgate {rows}");
                }
                report.add("B5", &format!("S={size} DuckDB"), figures(cpu, found, json!({})));
            }
        }
        report.ratio("B5", "cpu_ms", &format!("S={size} kernels"), &format!("S={size}"));
        if duck.is_some() {
            report.ratio("B5", "cpu_ms", &format!("S={size}"), &format!("S={size} DuckDB"));
        }
        if more.is_some() {
            report.ratio("B5", "cpu_ms", "S=1000 and 10000 strangers", "S=1000");
        }
    }
    if let (Some(least), Some(most)) = (sizes.first(), sizes.last()) {
        let cost = |size: &u64| report.median("B5", &format!("S={size}"), "cpu_ms");
        let exponent = (cost(most) / cost(least)).ln() / (*most as f64 / *least as f64).ln();
        say(&format!("B5   exponent of cost in S from {least} to {most}: {exponent:.2}"));
    }
    Ok(())
}

fn figures(cpu: f64, rows: u64, more: serde_json::Value) -> serde_json::Value {
    let mut figures = json!({
        "cpu_ms": cpu * 1e3,
        "selected_rows": rows,
        "cpu_us_per_row_in": cpu * 1e6 / ROWS as f64,
    });
    if let (Some(figures), Some(more)) = (figures.as_object_mut(), more.as_object()) {
        figures.extend(more.clone());
    }
    figures
}

/// What it gave, and the seconds of CPU it took on this thread. What is short is done several times: the kernel
/// counts a thread's time by its ticks of some milliseconds.
fn timed<T>(mut work: impl FnMut() -> Result<T>) -> Result<(T, f64)> {
    let (wall, before) = (Instant::now(), on_cpu());
    let (mut result, mut times) = (work()?, 1.0);
    while wall.elapsed() < AT_LEAST {
        result = work()?;
        times += 1.0;
    }
    let used = before.zip(on_cpu()).map(|(before, after)| (after - before) as f64 / 1e9);
    Ok((result, used.unwrap_or_else(|| wall.elapsed().as_secs_f64()) / times))
}

/// Nanoseconds this thread has spent on a CPU (`schedstat`, proc(5)).
fn on_cpu() -> Option<u64> {
    std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split_whitespace().next()?.parse().ok()
}
