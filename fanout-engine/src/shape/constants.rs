//! What of an expression is settled before the first record.
//!
//! The query engine's own simplifier also rewrites comparisons with columns, and not all of those
//! rewrites know that a column may be null (`a IN (1) AND a IN (2)` becomes false instead of
//! unknown, so its negation holds for a null). A record in the wrong tenant's hands costs more than
//! a comparison saved; so only what reads no column is rewritten here.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema as ArrowSchema;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DFSchemaRef, Result, ScalarValue};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{ColumnarValue, Expr};
use datafusion::physical_expr::create_physical_expr;

/// Rewrites the functions that exist only as what they stand for (`coalesce`) and replaces what
/// reads no field by its value. What has no value (`1 / 0`) stays, and has none for any record.
pub(super) fn settle(expr: Expr, schema: &DFSchemaRef) -> Result<Expr> {
    let context = SimplifyContext::builder().with_schema(Arc::clone(schema)).build();
    let expanded = expr.transform_up(|node| match node {
        Expr::ScalarFunction(ScalarFunction { func, args }) => Ok(match func.simplify(args, &context)? {
            ExprSimplifyResult::Simplified(instead) => Transformed::yes(instead),
            ExprSimplifyResult::Original(args) => Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args })),
        }),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(expanded.data.transform_up(|node| Ok(fold(node)))?.data)
}

fn fold(expr: Expr) -> Transformed<Expr> {
    let folds = !matches!(expr, Expr::Literal(..) | Expr::Column(_)) && reads_only_literals(&expr);
    match if folds { value(&expr) } else { None } {
        Some(value) => Transformed::yes(Expr::Literal(value, None)),
        None => Transformed::no(expr),
    }
}

fn reads_only_literals(expr: &Expr) -> bool {
    let mut only = true;
    // The closure cannot fail, so neither can the walk.
    let _ = expr.apply_children(|child| {
        only &= matches!(child, Expr::Literal(..));
        Ok(TreeNodeRecursion::Continue)
    });
    only
}

fn value(expr: &Expr) -> Option<ScalarValue> {
    let physical = create_physical_expr(expr, &DFSchema::empty(), &ExecutionProps::new(), &Default::default()).ok()?;
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::new(ArrowSchema::empty()), Vec::new(), &options).ok()?;
    match physical.evaluate(&row).ok()? {
        ColumnarValue::Scalar(value) => Some(value),
        ColumnarValue::Array(array) => ScalarValue::try_from_array(&array, 0).ok(),
    }
}
