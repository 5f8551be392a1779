//! The functions a scope may call: immutable, total up to "no value", and with results of bounded
//! size. Everything else is refused, by name.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::DataType as ArrowType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::{Result, TableReference, plan_err};
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner};
use datafusion::logical_expr::{
    AggregateUDF, ColumnarValue, HigherOrderUDF, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TableSource,
    Volatility, WindowUDF,
};

use super::types::plain_floats;

/// Names as SQL spells them, aliases included. Left out on purpose: clocks and chance (`now`,
/// `random`, `uuid`), what grows without bound (`repeat`, `lpad`, `rpad`), quadratic work
/// (`levenshtein`), and what looks into the engine (`version`, `arrow_typeof`, `input_file_name`).
const ALLOWED: &[&str] = &[
    "abs",
    "acos",
    "ascii",
    "asin",
    "atan",
    "atan2",
    "bit_length",
    "btrim",
    "cbrt",
    "ceil",
    "char_length",
    "character_length",
    "coalesce",
    "concat",
    "concat_ws",
    "contains",
    "cos",
    "date_bin",
    "date_part",
    "date_trunc",
    "datepart",
    "datetrunc",
    "degrees",
    "ends_with",
    "exp",
    "floor",
    "from_unixtime",
    "greatest",
    "ifnull",
    "initcap",
    "instr",
    "least",
    "left",
    "length",
    "ln",
    "log",
    "log10",
    "log2",
    "lower",
    "ltrim",
    "nullif",
    "nvl",
    "nvl2",
    "octet_length",
    "pi",
    "position",
    "pow",
    "power",
    "radians",
    "regexp_count",
    "regexp_like",
    "regexp_replace",
    "replace",
    "reverse",
    "right",
    "round",
    "rtrim",
    "signum",
    "sin",
    "split_part",
    "sqrt",
    "starts_with",
    "strpos",
    "substr",
    "substring",
    "tan",
    "to_char",
    "to_date",
    "to_hex",
    "to_unixtime",
    "translate",
    "trim",
    "trunc",
    "upper",
];

/// Whether a scope may call the function `name`.
pub(super) fn is_allowed(name: &str) -> bool {
    ALLOWED.binary_search(&name).is_ok()
}

/// The world an expression is planned in: no tables, no variables, the allowed functions.
pub(super) struct ExpressionWorld {
    functions: HashMap<String, Arc<ScalarUDF>>,
    planners: Vec<Arc<dyn ExprPlanner>>,
    options: ConfigOptions,
}

/// The one world, made at first use.
pub(super) static WORLD: LazyLock<ExpressionWorld> = LazyLock::new(|| {
    let mut functions = HashMap::new();
    for function in SessionStateDefaults::default_scalar_functions() {
        if function.signature().volatility != Volatility::Immutable {
            continue;
        }
        for name in std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str)) {
            if is_allowed(name) {
                functions.insert(name.to_owned(), Arc::clone(&function));
            }
        }
    }
    ExpressionWorld {
        functions,
        planners: SessionStateDefaults::default_expr_planners(),
        options: ConfigOptions::default(),
    }
});

impl ExpressionWorld {
    /// One of the allowed functions.
    pub fn function(&self, name: &str) -> Result<Arc<ScalarUDF>> {
        match self.functions.get(name) {
            Some(function) => Ok(Arc::clone(function)),
            None => plan_err!("there is no function {name}"),
        }
    }
}

impl ContextProvider for ExpressionWorld {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        plan_err!("there is no table {name} here")
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.functions.get(name).cloned()
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, _name: &str) -> Option<Arc<AggregateUDF>> {
        None
    }

    fn get_window_meta(&self, _name: &str) -> Option<Arc<WindowUDF>> {
        None
    }

    fn get_variable_type(&self, _variable_names: &[String]) -> Option<ArrowType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.functions.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Wraps computed floats before they are compared. Arrow orders floats totally: NaN would be
/// greater than everything and -0.0 would differ from 0.0, where SQL says "unknown" and "equal".
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct PlainFloat(Signature);

/// [`PlainFloat`] as a function.
pub(super) static PLAIN_FLOAT: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    Arc::new(ScalarUDF::new_from_impl(PlainFloat(Signature::exact(vec![ArrowType::Float64], Volatility::Immutable))))
});

impl ScalarUDFImpl for PlainFloat {
    fn name(&self) -> &str {
        "plain_float"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _arg_types: &[ArrowType]) -> Result<ArrowType> {
        Ok(ArrowType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        match arrays.first() {
            Some(array) => Ok(ColumnarValue::Array(plain_floats(array))),
            None => plan_err!("plain_float takes one argument"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_every_name_exists_or_is_syntax() {
        assert!(ALLOWED.is_sorted());
        // `position`, `substring` and `trim` are syntax that plans to functions of other names.
        let missing: Vec<_> =
            ALLOWED.iter().filter(|name| !WORLD.functions.contains_key(**name) && **name != "position").collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
