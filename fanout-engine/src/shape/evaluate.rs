//! Compiled expressions, evaluated over batches so that no value can stop them.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::DataType as ArrowType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DataFusionError, Result};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::expressions::BinaryExpr;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};

/// An expression ready to be evaluated.
#[derive(Debug, Clone)]
pub(super) struct Compiled {
    physical: Arc<dyn PhysicalExpr>,
    arrow: ArrowType,
}

impl Compiled {
    /// Compiles `expr`, of type `arrow`, for batches of `schema`.
    pub fn new(expr: &Expr, arrow: ArrowType, schema: &DFSchema) -> Result<Self> {
        let physical = create_physical_expr(expr, schema, &ExecutionProps::new(), &Default::default())?;
        // Integers that overflow have no value; wrapping round would give them a wrong one.
        let physical = physical
            .transform_up(|node| {
                Ok(match node.downcast_ref::<BinaryExpr>() {
                    Some(binary) => {
                        let checked =
                            BinaryExpr::new(Arc::clone(binary.left()), *binary.op(), Arc::clone(binary.right()))
                                .with_fail_on_overflow(true);
                        Transformed::yes(Arc::new(checked) as Arc<dyn PhysicalExpr>)
                    }
                    None => Transformed::no(node),
                })
            })?
            .data;
        let compiled = Self { physical, arrow };
        // What no kernel can do fails for a record without values too, and must not be mistaken for
        // an expression that happens to have no value.
        let probe: Vec<ArrayRef> = schema.fields().iter().map(|field| new_null_array(field.data_type(), 1)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let probe = RecordBatch::try_new_with_options(Arc::clone(schema.inner()), probe, &options)?;
        compiled.physical.evaluate(&probe)?;
        Ok(compiled)
    }

    /// The value for every row; null where the expression has none (division by zero, overflow).
    ///
    /// Kernels fail for a whole batch. Halving finds the rows at fault in `O(k log n)` evaluations.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let rows = batch.num_rows();
        if rows == 0 {
            return Ok(new_null_array(&self.arrow, 0));
        }
        match self.physical.evaluate(batch).and_then(|value| value.into_array(rows)) {
            Ok(array) => Ok(array),
            Err(_) if rows == 1 => Ok(new_null_array(&self.arrow, 1)),
            Err(_) => {
                let half = rows / 2;
                let first = self.evaluate(&batch.slice(0, half))?;
                let second = self.evaluate(&batch.slice(half, rows - half))?;
                concat(&[first.as_ref(), second.as_ref()]).map_err(DataFusionError::from)
            }
        }
    }
}
