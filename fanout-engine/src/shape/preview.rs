//! Whether a scope can be served, and what it would deliver: asked before it is ordered.

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::{Stream, StreamExt};
use headgate_lake::{LakeBatch, LakeError};
use headgate_types::engine::ScopeReport;
use headgate_types::schema::Schema;
use serde_json::Value;

use super::ShapeError;
use super::plan::{Plan, PlanInput};

/// Records in scope that are encoded to estimate the size of all.
const SAMPLE: u64 = 10_000;

/// The rows of an element as they are looked at.
pub struct Looking<R, A> {
    /// How many shaped sample records are wanted.
    pub preview_records: usize,
    /// The live rows of an entity (its snapshot), the records of events (a scan).
    pub rows: R,
    /// Of more rows than this the rest is reckoned.
    pub most: u64,
    /// How many there are altogether.
    pub all: A,
}

/// Compiles a scope and applies it to rows, if they are to be looked at. The very plan decides that will decide in
/// delivery (rule 21).
///
/// # Errors
/// The lake could not be read. What is wrong with the scope is part of the report.
pub async fn check_scope<R, A>(input: PlanInput<'_>, looking: Option<Looking<R, A>>) -> Result<ScopeReport, ShapeError>
where
    R: Stream<Item = Result<Arc<LakeBatch>, LakeError>> + Unpin,
    A: AsyncFnOnce() -> Result<u64, LakeError>,
{
    let report = |errors, output_schema, seen: Seen| ScopeReport {
        errors,
        output_schema,
        preview: seen.preview,
        records_in_scope: seen.records,
        bytes_in_scope: seen.bytes,
    };
    let plan = match Plan::compile(input) {
        Ok(plan) => Arc::new(plan),
        Err(errors) => return Ok(report(errors, Schema::default(), Seen::default())),
    };
    let seen = match looking {
        Some(looking) => look(&plan, looking).await?,
        None => Seen::default(),
    };
    Ok(report(Vec::new(), plan.output_schema().clone(), seen))
}

async fn look<R, A>(plan: &Arc<Plan>, looking: Looking<R, A>) -> Result<Seen, ShapeError>
where
    R: Stream<Item = Result<Arc<LakeBatch>, LakeError>> + Unpin,
    A: AsyncFnOnce() -> Result<u64, LakeError>,
{
    let Looking { preview_records, mut rows, most, all } = looking;
    let lake = |error: LakeError| ShapeError::Lake(error.to_string());
    let (mut seen, mut looked_at) = (Seen::default(), 0);
    while let Some(range) = rows.next().await {
        let (plan, range) = (Arc::clone(plan), range.map_err(lake)?);
        looked_at += range.batch.num_rows() as u64;
        seen = tokio::task::spawn_blocking(move || seen.with(&plan, &range, preview_records))
            .await
            .map_err(|_| ShapeError::Interrupted)??;
        if looked_at >= most {
            seen.records = share(seen.records, all().await.map_err(lake)?.max(looked_at), looked_at);
            break;
        }
    }
    seen.bytes = share(seen.bytes, seen.records, seen.sampled);
    Ok(seen)
}

/// `part` in proportion to `all` in place of `of`.
fn share(part: u64, all: u64, of: u64) -> u64 {
    u64::try_from(u128::from(part) * u128::from(all) / u128::from(of.max(1))).unwrap_or(u64::MAX)
}

#[derive(Debug, Default)]
struct Seen {
    records: u64,
    sampled: u64,
    bytes: u64,
    preview: Vec<Value>,
}

impl Seen {
    fn with(mut self, plan: &Plan, range: &LakeBatch, wanted: usize) -> Result<Self, ShapeError> {
        if self.sampled >= SAMPLE {
            self.records += plan.count(&range.batch)?;
            return Ok(self);
        }
        let encoded = plan.encode_snapshot(range)?;
        for row in 0..encoded.len().min(wanted.saturating_sub(self.preview.len())) {
            self.preview.extend(serde_json::from_slice(encoded.json(row)).ok());
        }
        self.records += encoded.len() as u64;
        self.sampled += encoded.len() as u64;
        self.bytes += encoded.total_bytes();
        Ok(self)
    }
}

impl Plan {
    /// How many rows of a snapshot or scan are in scope.
    ///
    /// # Errors
    /// As [`Plan::shape`].
    pub fn count(&self, batch: &RecordBatch) -> Result<u64, ShapeError> {
        let declared = self.declared(batch)?;
        let matches = self.matches(&declared)?;
        Ok(matches.map_or(declared.num_rows(), |matches| matches.true_count()) as u64)
    }
}
