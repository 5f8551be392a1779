//! Whether a scope can be served, and what it would deliver: asked before it is ordered.

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::{Stream, StreamExt, pin_mut};
use headgate_lake::{LakeBatch, LakeError};
use headgate_types::engine::ScopeReport;
use headgate_types::schema::Schema;
use serde_json::Value;

use super::ShapeError;
use super::plan::{Plan, PlanInput};

/// Records in scope that are encoded to estimate the size of all.
const SAMPLE: u64 = 10_000;

/// Compiles a scope and applies it to `rows`: the live rows of an entity (its snapshot), the
/// records of events (a scan). The very plan decides that will decide in delivery (rule 21).
///
/// # Errors
/// The lake could not be read. What is wrong with the scope is part of the report.
pub async fn check_scope(
    input: PlanInput<'_>,
    preview_records: u32,
    rows: impl Stream<Item = Result<Arc<LakeBatch>, LakeError>>,
) -> Result<ScopeReport, ShapeError> {
    let plan = match Plan::compile(input) {
        Ok(plan) => Arc::new(plan),
        Err(errors) => {
            return Ok(ScopeReport {
                errors,
                output_schema: Schema::default(),
                preview: Vec::new(),
                records_in_scope: 0,
                bytes_in_scope: 0,
            });
        }
    };
    let mut seen = Seen::default();
    pin_mut!(rows);
    while let Some(range) = rows.next().await {
        let range = range.map_err(|error| ShapeError::Lake(error.to_string()))?;
        let (plan, wanted) = (Arc::clone(&plan), preview_records as usize);
        seen = tokio::task::spawn_blocking(move || seen.with(&plan, &range, wanted))
            .await
            .map_err(|_| ShapeError::Interrupted)??;
    }
    let bytes = u128::from(seen.bytes) * u128::from(seen.records) / u128::from(seen.sampled.max(1));
    Ok(ScopeReport {
        errors: Vec::new(),
        output_schema: plan.output_schema().clone(),
        preview: seen.preview,
        records_in_scope: seen.records,
        bytes_in_scope: u64::try_from(bytes).unwrap_or(u64::MAX),
    })
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
