//! SQL text to a typed, checked expression over the fields of one record.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{DataType as ArrowType, Schema as ArrowSchema, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DataFusionError, ScalarValue};
use datafusion::logical_expr::expr::{Between, BinaryExpr, Cast, InList, ScalarFunction, TryCast};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator};
use datafusion::optimizer::analyzer::type_coercion::TypeCoercionRewriter;
use datafusion::sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, Ident, VisitMut, VisitorMut};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::constants;
use super::evaluate::Compiled;
use super::functions::{PLAIN_FLOAT, WORLD, is_allowed};
use super::literal;
use super::types::timestamp_type;

/// The longest expression, in bytes.
const MAX_BYTES: usize = 8_192;
/// The deepest nesting. Planning and evaluation recurse, and a chain of `OR` nests once per term.
const MAX_DEPTH: usize = 64;
/// How much longer than its input the text of nested replacements may become.
const MAX_GROWTH: usize = 256;

/// What is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    /// Stable code.
    pub code: &'static str,
    /// For a person.
    pub detail: String,
}

impl Refused {
    pub(super) fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

/// A checked expression.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    /// The expression, all types agreed.
    pub expr: Expr,
    /// Its Arrow type.
    pub arrow: ArrowType,
    /// The SQL text in one spelling: names resolved, one kind of white space. Part of identities,
    /// because unlike the expression's own text it quotes literals and so is unambiguous.
    pub text: String,
}

impl Checked {
    /// The fields it reads.
    pub fn columns(&self) -> BTreeSet<String> {
        self.expr.column_refs().into_iter().map(|column| column.name.clone()).collect()
    }
}

/// Compiles a predicate over `visible`.
pub(super) fn predicate(text: &str, visible: &ArrowSchema) -> Result<Checked, Refused> {
    let checked = scalar(text, visible)?;
    match checked.arrow {
        ArrowType::Boolean => Ok(checked),
        other => {
            let detail = format!("a filter is true or false, this expression gives {}", literal::name(&other));
            Err(Refused::new("not_a_predicate", detail))
        }
    }
}

/// Compiles an expression over `visible`.
pub(super) fn scalar(text: &str, visible: &ArrowSchema) -> Result<Checked, Refused> {
    if text.len() > MAX_BYTES {
        return Err(Refused::new("expression_too_long", format!("an expression has at most {MAX_BYTES} bytes")));
    }
    let mut sql = parse(text)?;
    let mut names = Names { visible, depth: 0, refused: None };
    if sql.visit(&mut names).is_break() {
        let unknown = || Refused::new("invalid_expression", "the expression is refused");
        return Err(names.refused.unwrap_or_else(unknown));
    }
    let canonical = sql.to_string();
    let schema = DFSchema::try_from(visible.clone()).map_err(|error| planning(&error))?;
    let options = ParserOptions::new()
        .with_parse_float_as_decimal(false)
        .with_enable_ident_normalization(false)
        .with_map_string_types_to_utf8view(false);
    let expr = SqlToRel::new_with_options(&*WORLD, options)
        .sql_to_expr(sql, &schema, &mut PlannerContext::new())
        .map_err(|error| planning(&error))?;
    let expr = check(expr, &schema)?;
    let expr = expr.rewrite(&mut TypeCoercionRewriter::new(&schema)).map_err(|error| planning(&error))?.data;
    let schema = Arc::new(schema);
    let expr = constants::settle(expr, &schema).map_err(|error| planning(&error))?;
    let arrow = expr.get_type(schema.as_ref()).map_err(|error| planning(&error))?;
    Ok(Checked { expr, arrow, text: canonical })
}

fn parse(text: &str) -> Result<SqlExpr, Refused> {
    let refused = |detail: String| Refused::new("invalid_expression", detail);
    let mut parser = Parser::new(&GenericDialect)
        .try_with_sql(text)
        .map_err(|error| refused(error.to_string().trim_start_matches("sql parser error: ").to_owned()))?;
    let expr = parser
        .parse_expr()
        .map_err(|error| refused(error.to_string().trim_start_matches("sql parser error: ").to_owned()))?;
    match parser.peek_token().token {
        Token::EOF => Ok(expr),
        other => Err(refused(format!("expected one expression, found {other} after it"))),
    }
}

fn planning(error: &DataFusionError) -> Refused {
    let detail = error.strip_backtrace();
    let detail = detail.trim_start_matches("Error during planning: ").trim_start_matches("Schema error: ");
    Refused::new("invalid_expression", detail.to_owned())
}

/// Resolves names to the fields in scope and refuses what is not a function of one record.
struct Names<'a> {
    visible: &'a ArrowSchema,
    depth: usize,
    refused: Option<Refused>,
}

impl Names<'_> {
    fn refuse(&mut self, code: &'static str, detail: impl Into<String>) -> ControlFlow<()> {
        self.refused = Some(Refused::new(code, detail));
        ControlFlow::Break(())
    }

    /// As written; else, without quotation marks, whatever the case: names of a schema differ in
    /// more than case.
    fn resolve(&self, ident: &Ident) -> Option<String> {
        let fields = self.visible.fields();
        let exact = fields.iter().find(|field| *field.name() == ident.value);
        let loose = || fields.iter().find(|field| field.name().eq_ignore_ascii_case(&ident.value));
        let found = if ident.quote_style.is_some() { exact } else { exact.or_else(loose) };
        found.map(|field| field.name().clone())
    }
}

impl VisitorMut for Names<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut datafusion::sql::sqlparser::ast::Query) -> ControlFlow<()> {
        self.refuse("subquery_not_allowed", "an expression sees one record; subqueries are not allowed")
    }

    fn pre_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let detail = format!("an expression nests at most {MAX_DEPTH} levels; IN takes a list of any length");
            return self.refuse("expression_too_deep", detail);
        }
        match expr {
            SqlExpr::Identifier(ident) => match self.resolve(ident) {
                Some(name) => *ident = Ident::with_quote('"', name),
                None => return self.refuse("unknown_column", format!("there is no field {:?}", ident.value)),
            },
            SqlExpr::CompoundIdentifier(_) | SqlExpr::CompoundFieldAccess { .. } => {
                return self.refuse("unknown_column", format!("{expr} is not a field; fields have plain names"));
            }
            SqlExpr::Function(function) => {
                let name = function.name.to_string().to_ascii_lowercase();
                if function.over.is_some() || function.filter.is_some() || !function.within_group.is_empty() {
                    return self.refuse("function_not_allowed", format!("{name} over several records is not allowed"));
                }
                if !is_allowed(&name) {
                    return self.refuse("function_not_allowed", format!("the function {name} is not allowed here"));
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _: &mut SqlExpr) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

/// Agrees the literals with what they are compared with and refuses every kind of node that is not
/// known to be a deterministic function of one record.
fn check(expr: Expr, schema: &DFSchema) -> Result<Expr, Refused> {
    let mut refused = None;
    let checked = expr.transform_up(|expr| match node(expr, schema) {
        Ok(expr) => Ok(Transformed::yes(expr)),
        Err(why) => {
            refused = Some(why);
            datafusion::common::plan_err!("refused")
        }
    });
    match (checked, refused) {
        (_, Some(why)) => Err(why),
        (Ok(checked), None) => Ok(checked.data),
        (Err(error), None) => Err(planning(&error)),
    }
}

fn node(expr: Expr, schema: &DFSchema) -> Result<Expr, Refused> {
    Ok(match expr {
        Expr::Column(_) | Expr::Literal(..) | Expr::Alias(_) => expr,
        Expr::Not(_)
        | Expr::IsTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNotFalse(_)
        | Expr::IsNotUnknown(_)
        | Expr::Negative(_) => expr,
        Expr::IsNull(inner) => Expr::IsNull(Box::new(plain(*inner, schema)?)),
        Expr::IsNotNull(inner) => Expr::IsNotNull(Box::new(plain(*inner, schema)?)),
        Expr::BinaryExpr(binary) => Expr::BinaryExpr(binary_node(binary, schema)?),
        Expr::Between(Between { expr, negated, low, high }) => {
            let [expr, low, high] = agree([*expr, *low, *high], schema)?;
            Expr::Between(Between { expr: Box::new(expr), negated, low: Box::new(low), high: Box::new(high) })
        }
        Expr::InList(InList { expr, list, negated }) => {
            let mut all = vec![*expr];
            all.extend(list);
            let mut all = agree_all(all, schema)?.into_iter();
            let Some(expr) = all.next() else { return Err(Refused::new("invalid_expression", "IN needs a value")) };
            Expr::InList(InList { expr: Box::new(expr), list: all.collect(), negated })
        }
        Expr::Like(ref like) | Expr::SimilarTo(ref like) => {
            for side in [&like.expr, &like.pattern] {
                text_only(side, schema, "LIKE")?;
            }
            constant(&like.pattern, "the pattern of LIKE")?;
            expr
        }
        Expr::Case(mut case) => {
            if let Some(base) = case.expr.take() {
                let mut all = vec![*base];
                all.extend(case.when_then_expr.iter().map(|(when, _)| when.as_ref().clone()));
                let mut all = agree_all(all, schema)?.into_iter();
                case.expr = all.next().map(Box::new);
                for ((when, _), agreed) in case.when_then_expr.iter_mut().zip(all) {
                    **when = agreed;
                }
            }
            Expr::Case(case)
        }
        Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field }) => {
            cast_node(*expr, field.data_type(), schema)?
        }
        Expr::ScalarFunction(function) => function_node(function)?,
        other => {
            let detail = format!("{other} is not a deterministic expression over one record");
            return Err(Refused::new("expression_not_allowed", detail));
        }
    })
}

fn binary_node(binary: BinaryExpr, schema: &DFSchema) -> Result<BinaryExpr, Refused> {
    let BinaryExpr { left, op, right } = binary;
    let (left, right) = match op {
        Operator::Eq
        | Operator::NotEq
        | Operator::Lt
        | Operator::LtEq
        | Operator::Gt
        | Operator::GtEq
        | Operator::IsDistinctFrom
        | Operator::IsNotDistinctFrom => {
            let [left, right] = agree([*left, *right], schema)?;
            (Box::new(left), Box::new(right))
        }
        Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo => {
            for side in [&left, &right] {
                let arrow = type_of(side, schema)?;
                if matches!(class(&arrow), Class::Text | Class::Bool) {
                    let detail = format!("{op} does not apply to a value of type {}", literal::name(&arrow));
                    return Err(Refused::new("type_mismatch", detail));
                }
            }
            let divides = matches!(op, Operator::Divide | Operator::Modulo);
            (left, if divides { Box::new(divisor(*right, schema)?) } else { right })
        }
        Operator::And | Operator::Or | Operator::StringConcat => (left, right),
        Operator::RegexMatch | Operator::RegexIMatch | Operator::RegexNotMatch | Operator::RegexNotIMatch => {
            text_only(&left, schema, "a pattern")?;
            pattern(&right)?;
            (left, right)
        }
        other => {
            return Err(Refused::new("expression_not_allowed", format!("the operator {other} is not allowed here")));
        }
    };
    Ok(BinaryExpr { left, op, right })
}

/// A divisor that is null instead of zero: floats divide by zero into what is no number, integers
/// fail the batch; either way the quotient has no value.
fn divisor(expr: Expr, schema: &DFSchema) -> Result<Expr, Refused> {
    let arrow = type_of(&expr, schema)?;
    let zero = match &expr {
        Expr::Literal(ScalarValue::Int64(Some(value)), _) if *value != 0 => return Ok(expr),
        _ if arrow.is_integer() => ScalarValue::Int64(Some(0)),
        _ => return Ok(expr),
    };
    let nullif = WORLD.function("nullif").map_err(|error| planning(&error))?;
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(nullif, vec![expr, Expr::Literal(zero, None)])))
}

/// Casts give null where the value has no counterpart. Times are microseconds in UTC throughout:
/// nanoseconds would end in the year 2262 and turn later values into none.
fn cast_node(expr: Expr, target: &ArrowType, schema: &DFSchema) -> Result<Expr, Refused> {
    let target = match target {
        ArrowType::Timestamp(_, Some(zone)) => ArrowType::Timestamp(TimeUnit::Microsecond, Some(zone.clone())),
        ArrowType::Timestamp(_, None) => timestamp_type(),
        ArrowType::Utf8View | ArrowType::LargeUtf8 => ArrowType::Utf8,
        other => other.clone(),
    };
    if super::types::declared_type(&target).is_none() {
        return Err(Refused::new("invalid_cast", format!("there is no value of type {target} here")));
    }
    if let Expr::Literal(ScalarValue::Utf8(Some(text)), metadata) = &expr
        && matches!(class(&target), Class::Time)
    {
        let value = literal::temporal(text, &target).map_err(|detail| Refused::new("invalid_literal", detail))?;
        return Ok(Expr::Literal(value, metadata.clone()));
    }
    // A float that is no number must not become an integer or a text.
    Ok(Expr::TryCast(TryCast::new(Box::new(plain(expr, schema)?), target)))
}

fn function_node(function: ScalarFunction) -> Result<Expr, Refused> {
    let argument = |index: usize, what: &str| function.args.get(index).map_or(Ok(()), |arg| constant(arg, what));
    match function.func.name() {
        "regexp_like" | "regexp_count" => function.args.get(1).map_or(Ok(()), pattern)?,
        "regexp_replace" => {
            function.args.get(1).map_or(Ok(()), pattern)?;
            argument(2, "a replacement")?;
        }
        "replace" => argument(2, "a replacement")?,
        "date_trunc" | "date_part" => argument(0, "the part of a time")?,
        "to_char" => argument(1, "a format")?,
        _ => {}
    }
    let expr = Expr::ScalarFunction(function);
    if growth(&expr) > MAX_GROWTH {
        let detail = format!("nested replacements could make a text more than {MAX_GROWTH} times as long");
        return Err(Refused::new("expression_too_large", detail));
    }
    Ok(expr)
}

/// By how much an expression may lengthen its longest text, at most.
fn growth(expr: &Expr) -> usize {
    let mut own = 1;
    if let Expr::ScalarFunction(function) = expr
        && matches!(function.func.name(), "replace" | "regexp_replace" | "translate")
        && let Some(Expr::Literal(ScalarValue::Utf8(Some(text)), _)) = function.args.get(2)
    {
        own = text.len().max(1);
    }
    let mut inner = 1;
    // The closure cannot fail, so neither can the walk.
    let _ = expr.apply_children(|child| {
        inner = inner.max(growth(child));
        Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
    });
    own.saturating_mul(inner)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Bool,
    Number,
    Text,
    Time,
    Null,
    Other,
}

fn class(arrow: &ArrowType) -> Class {
    use headgate_types::schema::DataType;
    match super::types::declared_type(arrow) {
        Some(DataType::Bool) => Class::Bool,
        Some(DataType::Int64 | DataType::Float64) => Class::Number,
        Some(DataType::String | DataType::Json) => Class::Text,
        Some(DataType::Timestamp | DataType::Date) => Class::Time,
        None if *arrow == ArrowType::Null => Class::Null,
        None => Class::Other,
    }
}

fn agree<const N: usize>(sides: [Expr; N], schema: &DFSchema) -> Result<[Expr; N], Refused> {
    let agreed = agree_all(sides.into(), schema)?;
    agreed.try_into().map_err(|_| Refused::new("invalid_expression", "a comparison lost one of its sides"))
}

/// Gives the literals among `sides` the type of the first side that is none, and refuses sides of
/// different classes.
fn agree_all(sides: Vec<Expr>, schema: &DFSchema) -> Result<Vec<Expr>, Refused> {
    let mut target: Option<ArrowType> = None;
    for side in sides.iter().filter(|side| !matches!(side, Expr::Literal(..))) {
        let arrow = type_of(side, schema)?;
        match &target {
            None => target = Some(arrow),
            Some(first) if class(first) == class(&arrow) => {}
            Some(first) => {
                let detail =
                    format!("{} cannot be compared with {}: {side}", literal::name(&arrow), literal::name(first));
                return Err(Refused::new("type_mismatch", detail));
            }
        }
    }
    sides
        .into_iter()
        .map(|side| match (side, &target) {
            (Expr::Literal(value, metadata), Some(target)) => literal::cast(&value, target)
                .map(|value| Expr::Literal(value, metadata))
                .map_err(|detail| Refused::new("invalid_literal", detail)),
            (side, _) => plain(side, schema),
        })
        .collect()
}

/// The expression without NaN, infinities and -0.0, if it computes floats.
fn plain(expr: Expr, schema: &DFSchema) -> Result<Expr, Refused> {
    if matches!(expr, Expr::Column(_) | Expr::Literal(..)) || type_of(&expr, schema)? != ArrowType::Float64 {
        return Ok(expr);
    }
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(PLAIN_FLOAT.clone(), vec![expr])))
}

fn type_of(expr: &Expr, schema: &DFSchema) -> Result<ArrowType, Refused> {
    expr.get_type(schema).map_err(|error| planning(&error))
}

fn text_only(expr: &Expr, schema: &DFSchema, what: &str) -> Result<(), Refused> {
    let arrow = type_of(expr, schema)?;
    if class(&arrow) == Class::Text {
        return Ok(());
    }
    let detail = format!("{what} applies to text, not to a value of type {}", literal::name(&arrow));
    Err(Refused::new("type_mismatch", detail))
}

/// A regular expression has to be one, and known now: one that cannot be compiled would fail for
/// every record and look as if it never matched.
fn pattern(expr: &Expr) -> Result<(), Refused> {
    constant(expr, "a pattern")?;
    let like = WORLD.function("regexp_like").map_err(|error| planning(&error))?;
    let empty = Expr::Literal(ScalarValue::Utf8(Some(String::new())), None);
    let probe = Expr::ScalarFunction(ScalarFunction::new_udf(like, vec![empty, expr.clone()]));
    Compiled::new(&probe, ArrowType::Boolean, &DFSchema::empty())
        .map(drop)
        .map_err(|error| Refused::new("invalid_pattern", error.strip_backtrace()))
}

fn constant(expr: &Expr, what: &str) -> Result<(), Refused> {
    if matches!(expr, Expr::Literal(..)) {
        return Ok(());
    }
    Err(Refused::new("expression_not_allowed", format!("{what} must be a literal")))
}
