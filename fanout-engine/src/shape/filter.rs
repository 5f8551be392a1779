//! A compiled effective predicate: what plans of the same rows have in common.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType as ArrowType, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::logical_expr::utils::conjunction;

use super::ShapeError;
use super::evaluate::Compiled;
use super::expression::Checked;
use super::identity::FilterId;
use super::routing::Access;

/// Policy, row filter and model filter of a scope in one.
#[derive(Debug)]
pub struct Filter {
    id: FilterId,
    /// The schema's columns, over which it is evaluated.
    pub(super) declared: SchemaRef,
    compiled: Option<Compiled>,
    /// Where its rows are found.
    pub(super) access: Access,
}

impl Filter {
    /// The conjunction of checked predicates over `declared`.
    pub(super) fn compile(
        id: FilterId,
        declared: &SchemaRef,
        df: &DFSchema,
        predicates: &[Checked],
    ) -> Result<Self, datafusion::common::DataFusionError> {
        let predicate = conjunction(predicates.iter().map(|checked| checked.expr.clone()));
        let access = Access::of(predicate.as_ref(), declared);
        let compiled = predicate.map(|expr| Compiled::new(&expr, ArrowType::Boolean, df)).transpose()?;
        Ok(Self { id, declared: Arc::clone(declared), compiled, access })
    }

    /// Filters with the same id match the same rows.
    #[must_use]
    pub const fn id(&self) -> FilterId {
        self.id
    }

    /// Which rows of a batch of declared columns match, never null; `None`: all.
    pub(super) fn matches(&self, declared: &RecordBatch) -> Result<Option<BooleanArray>, ShapeError> {
        let Some(predicate) = &self.compiled else { return Ok(None) };
        let array: ArrayRef =
            predicate.evaluate(declared).map_err(|error| ShapeError::Batch(error.strip_backtrace()))?;
        let truth = array.as_any().downcast_ref::<BooleanArray>();
        let truth = truth.ok_or_else(|| ShapeError::Batch("a predicate did not give truth values".to_owned()))?;
        // UNKNOWN never matches.
        Ok(Some(if truth.null_count() > 0 { arrow::compute::prep_null_mask_filter(truth) } else { truth.clone() }))
    }
}
