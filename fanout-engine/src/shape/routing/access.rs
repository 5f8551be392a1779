//! What of a predicate an index can look up: conditions that every matching row has to meet.
//!
//! The result is a bounded disjunction of conjunctions of tests on one column each. It may accept
//! more rows than the predicate (whatever is not understood accepts every row), never fewer.
//! Comparisons with NULL are never true and never false, so they accept no row either way round.

use std::ops::Bound;

use arrow::datatypes::{DataType as ArrowType, Schema as ArrowSchema, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{Between, BinaryExpr, InList};
use datafusion::logical_expr::{Expr, Operator};

/// The most conjunctions of a predicate. Beyond it one side of an AND is left to the expression,
/// and an OR is not looked up at all.
const MAX_CONJUNCTIONS: usize = 64;

/// A value as it is looked up: numbers, times and truth values in an order-preserving integer, text
/// by its bytes. A column has keys of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// Everything that is not text.
    Number(i64),
    /// Text.
    Text(Box<str>),
}

/// What one column has to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Values {
    /// One of these, sorted.
    OneOf(Vec<Key>),
    /// Something between these.
    Between(Bound<Key>, Bound<Key>),
}

/// One necessary condition. NULL never meets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    /// Index of the declared column.
    pub column: usize,
    /// What it has to hold.
    pub values: Values,
}

/// Tests that all have to be met, one per column; none accepts every row.
pub type Conjunction = Vec<Test>;

/// Where the rows of a predicate are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// A matching row meets at least one of these; without any, no row matches.
    pub any: Vec<Conjunction>,
    /// Whether every row that meets one of them matches, so that nothing is left to evaluate: keys are
    /// exact, so all that is understood decides (ADR 19).
    pub decides: bool,
}

impl Access {
    /// The access paths of a predicate over `schema`; `None`: no predicate, every row matches.
    pub fn of(predicate: Option<&Expr>, schema: &ArrowSchema) -> Self {
        predicate.map_or_else(Self::every_row, |expr| Paths { schema }.of(expr, true))
    }

    /// Whether the index cannot tell rows apart: every row is accepted.
    pub fn is_open(&self) -> bool {
        self.any.iter().any(Vec::is_empty)
    }

    fn every_row() -> Self {
        Self { any: vec![Vec::new()], decides: true }
    }

    const fn no_row() -> Self {
        Self { any: Vec::new(), decides: true }
    }

    fn unknown() -> Self {
        Self { any: vec![Vec::new()], decides: false }
    }

    fn test(column: usize, values: Values) -> Self {
        Self { any: vec![vec![Test { column, values }]], decides: true }
    }

    /// Both.
    fn and(self, other: Self) -> Self {
        if self.any.len() * other.any.len() > MAX_CONJUNCTIONS {
            // Either side alone accepts more; the smaller one is cheaper.
            let smaller = if self.any.len() <= other.any.len() { self } else { other };
            return Self { decides: false, ..smaller };
        }
        let pairs = self.any.iter().flat_map(|one| other.any.iter().filter_map(move |two| both(one, two)));
        Self { any: pairs.collect(), decides: self.decides && other.decides }
    }

    /// Either.
    fn or(mut self, other: Self) -> Self {
        let decides = self.decides && other.decides;
        for conjunction in other.any {
            if !absorb(&mut self.any, &conjunction) {
                self.any.push(conjunction);
            }
        }
        if self.is_open() || self.any.len() > MAX_CONJUNCTIONS {
            // A row that one side accepts needs no second look at the other.
            let decides = decides && self.is_open() && self.any.len() == 1;
            return Self { any: vec![Vec::new()], decides };
        }
        Self { decides, ..self }
    }
}

/// Puts `column = a` beside `column = b` as one test of two values.
fn absorb(all: &mut [Conjunction], added: &Conjunction) -> bool {
    let [Test { column, values: Values::OneOf(more) }] = added.as_slice() else { return false };
    for conjunction in all {
        if let [Test { column: known, values: Values::OneOf(values) }] = conjunction.as_mut_slice()
            && known == column
        {
            values.extend(more.iter().cloned());
            values.sort();
            values.dedup();
            return true;
        }
    }
    false
}

/// The tests of both; `None` when no value can meet them.
fn both(one: &Conjunction, two: &Conjunction) -> Option<Conjunction> {
    let mut all = one.clone();
    for test in two {
        match all.iter_mut().find(|known| known.column == test.column) {
            Some(known) => known.values = common(&known.values, &test.values)?,
            None => all.push(test.clone()),
        }
    }
    Some(all)
}

/// Values that meet both; `None` when there is none.
fn common(one: &Values, two: &Values) -> Option<Values> {
    match (one, two) {
        (Values::OneOf(keys), other) | (other, Values::OneOf(keys)) => {
            let kept: Vec<Key> = keys.iter().filter(|key| other.holds(key)).cloned().collect();
            (!kept.is_empty()).then_some(Values::OneOf(kept))
        }
        (Values::Between(low, high), Values::Between(other_low, other_high)) => {
            let (low, high) = (higher(low, other_low), lower(high, other_high));
            let empty = match (&low, &high) {
                (Bound::Included(low), Bound::Included(high)) => low > high,
                (Bound::Included(low) | Bound::Excluded(low), Bound::Included(high) | Bound::Excluded(high)) => {
                    low >= high
                }
                _ => false,
            };
            (!empty).then_some(Values::Between(low, high))
        }
    }
}

fn higher(one: &Bound<Key>, two: &Bound<Key>) -> Bound<Key> {
    match (one, two) {
        (Bound::Unbounded, other) | (other, Bound::Unbounded) => other.clone(),
        (Bound::Excluded(a), Bound::Included(b)) if a >= b => one.clone(),
        (Bound::Included(a), Bound::Excluded(b)) if a <= b => two.clone(),
        (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => {
            if a >= b {
                one.clone()
            } else {
                two.clone()
            }
        }
    }
}

fn lower(one: &Bound<Key>, two: &Bound<Key>) -> Bound<Key> {
    match (one, two) {
        (Bound::Unbounded, other) | (other, Bound::Unbounded) => other.clone(),
        (Bound::Excluded(a), Bound::Included(b)) if a <= b => one.clone(),
        (Bound::Included(a), Bound::Excluded(b)) if a >= b => two.clone(),
        (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => {
            if a <= b {
                one.clone()
            } else {
                two.clone()
            }
        }
    }
}

impl Values {
    fn holds(&self, key: &Key) -> bool {
        match self {
            Self::OneOf(keys) => keys.binary_search(key).is_ok(),
            Self::Between(low, high) => {
                let above = match low {
                    Bound::Unbounded => true,
                    Bound::Included(low) => key >= low,
                    Bound::Excluded(low) => key > low,
                };
                above
                    && match high {
                        Bound::Unbounded => true,
                        Bound::Included(high) => key <= high,
                        Bound::Excluded(high) => key < high,
                    }
            }
        }
    }
}

/// Reads expressions over a schema.
struct Paths<'a> {
    schema: &'a ArrowSchema,
}

impl Paths<'_> {
    /// Rows for which `expr` is `wanted`: true or false, never NULL.
    fn of(&self, expr: &Expr, wanted: bool) -> Access {
        match expr {
            Expr::Alias(alias) => self.of(&alias.expr, wanted),
            Expr::Not(inner) => self.of(inner, !wanted),
            // Of what is not true, and of what is not false, NULL is a part.
            Expr::IsTrue(inner) if wanted => self.of(inner, true),
            Expr::IsNotTrue(inner) if !wanted => self.of(inner, true),
            Expr::IsFalse(inner) if wanted => self.of(inner, false),
            Expr::IsNotFalse(inner) if !wanted => self.of(inner, false),
            Expr::Literal(ScalarValue::Boolean(Some(value)), _) if *value == wanted => Access::every_row(),
            Expr::Literal(value, _) if value.is_null() || matches!(value, ScalarValue::Boolean(_)) => Access::no_row(),
            Expr::Column(_) => match self.column(expr) {
                Some((column, ArrowType::Boolean)) => {
                    Access::test(column, Values::OneOf(vec![Key::Number(wanted.into())]))
                }
                _ => Access::unknown(),
            },
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                let (left, right) = (self.of(left, wanted), self.of(right, wanted));
                if wanted { left.and(right) } else { left.or(right) }
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
                let (left, right) = (self.of(left, wanted), self.of(right, wanted));
                if wanted { left.or(right) } else { left.and(right) }
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => self.comparison(left, *op, right, wanted),
            Expr::Between(Between { expr, negated, low, high }) => {
                let inside = *negated != wanted;
                let low = self.comparison(expr, Operator::GtEq, low, inside);
                let high = self.comparison(expr, Operator::LtEq, high, inside);
                if inside { low.and(high) } else { low.or(high) }
            }
            Expr::InList(InList { expr, list, negated }) if *negated != wanted => self.one_of(expr, list),
            _ => Access::unknown(),
        }
    }

    fn comparison(&self, left: &Expr, op: Operator, right: &Expr, wanted: bool) -> Access {
        let (column, op, value) = match (left, right) {
            (column, Expr::Literal(value, _)) => (column, Some(op), value),
            (Expr::Literal(value, _), column) => (column, op.swap(), value),
            _ => return Access::unknown(),
        };
        let Some((column, arrow)) = self.column(column) else { return Access::unknown() };
        let op = if wanted { op } else { op.and_then(|op| op.negate()) };
        let compares = matches!(
            op,
            Some(Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq)
        );
        if compares && value.is_null() {
            return Access::no_row();
        }
        let (Some(key), Some(op)) = (key(value, arrow), op) else { return Access::unknown() };
        let between = |low, high| Access::test(column, Values::Between(low, high));
        match op {
            Operator::Eq | Operator::IsNotDistinctFrom => Access::test(column, Values::OneOf(vec![key])),
            Operator::NotEq => match (arrow, key) {
                (ArrowType::Boolean, Key::Number(value)) => {
                    Access::test(column, Values::OneOf(vec![Key::Number(1 - value)]))
                }
                _ => Access::unknown(),
            },
            Operator::Lt => between(Bound::Unbounded, Bound::Excluded(key)),
            Operator::LtEq => between(Bound::Unbounded, Bound::Included(key)),
            Operator::Gt => between(Bound::Excluded(key), Bound::Unbounded),
            Operator::GtEq => between(Bound::Included(key), Bound::Unbounded),
            _ => Access::unknown(),
        }
    }

    /// `column IN (…)`: a NULL in the list makes it true for no further row.
    fn one_of(&self, expr: &Expr, list: &[Expr]) -> Access {
        let Some((column, arrow)) = self.column(expr) else { return Access::unknown() };
        let mut keys = Vec::with_capacity(list.len());
        for item in list {
            match item {
                Expr::Literal(value, _) if value.is_null() => {}
                Expr::Literal(value, _) => match key(value, arrow) {
                    Some(key) => keys.push(key),
                    None => return Access::unknown(),
                },
                _ => return Access::unknown(),
            }
        }
        keys.sort();
        keys.dedup();
        if keys.is_empty() {
            return Access::no_row();
        }
        Access::test(column, Values::OneOf(keys))
    }

    fn column(&self, expr: &Expr) -> Option<(usize, &ArrowType)> {
        let Expr::Column(column) = expr else { return None };
        let index = self.schema.index_of(&column.name).ok()?;
        Some((index, self.schema.field(index).data_type()))
    }
}

/// The literal as a key of a column of type `arrow`; `None` when the two types differ, because
/// then some cast stands between them that only the expression knows.
fn key(value: &ScalarValue, arrow: &ArrowType) -> Option<Key> {
    Some(match (value, arrow) {
        (ScalarValue::Boolean(Some(value)), ArrowType::Boolean) => Key::Number((*value).into()),
        (ScalarValue::Int64(Some(value)), ArrowType::Int64) => Key::Number(*value),
        (ScalarValue::Date32(Some(days)), ArrowType::Date32) => Key::Number((*days).into()),
        (ScalarValue::TimestampMicrosecond(Some(micros), _), ArrowType::Timestamp(TimeUnit::Microsecond, _)) => {
            Key::Number(*micros)
        }
        (ScalarValue::Float64(Some(value)), ArrowType::Float64) if value.is_finite() => Key::Number(ordered(*value)),
        (ScalarValue::Utf8(Some(text)), ArrowType::Utf8) => Key::Text(text.as_str().into()),
        _ => return None,
    })
}

/// A float as an integer of the same order; -0.0 as 0.0.
pub fn ordered(value: f64) -> i64 {
    let bits = (value + 0.0).to_bits() as i64;
    // Negative floats count downwards in their bits.
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

#[cfg(test)]
mod tests {
    use super::super::super::expression;
    use super::*;
    use crate::shape::testing::sensors;
    use headgate_lake::declared_fields;
    use headgate_types::schema::ElementKind;

    fn access(text: &str) -> Access {
        let schema = ArrowSchema::new(declared_fields(&sensors(ElementKind::Events).schema));
        let checked = expression::predicate(text, &schema).unwrap();
        Access::of(Some(&checked.expr), &schema)
    }

    fn columns(text: &str) -> Vec<Vec<usize>> {
        access(text).any.iter().map(|all| all.iter().map(|test| test.column).collect()).collect()
    }

    #[test]
    fn floats_keep_their_order_as_integers() {
        let mut floats = [f64::MIN, -1.5, -f64::MIN_POSITIVE, 0.0, f64::MIN_POSITIVE, 1.0, 1.5, f64::MAX];
        let ascending: Vec<i64> = floats.iter().copied().map(ordered).collect();
        assert!(ascending.windows(2).all(|pair| pair[0] < pair[1]), "{ascending:?}");
        floats.reverse();
        assert_eq!(ordered(-0.0), ordered(0.0));
    }

    #[test]
    fn all_that_is_understood_decides() {
        for text in [
            "site = 'a'",
            "count IN (1, 2)",
            "ok",
            "NOT ok",
            "ok <> true",
            "day = '2024-01-01'",
            "site = 'a' AND count = 1",
            "site = 'a' OR site = 'b'",
            "temp_f = 1.5",
            "temp_f > 1.5 AND temp_f <= 2.5",
            "count > 1",
            "site = 'a' AND count > 1",
            "at = '2024-01-01'",
        ] {
            assert!(access(text).decides, "{text}");
        }
        for text in ["site LIKE 'a%'", "site = 'a' OR 1 / count > 0"] {
            assert!(!access(text).decides, "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_accepts_every_row_and_and_narrows_it() {
        for open in [
            "site LIKE 'a%'",
            "count <> 1",
            "site IS NULL",
            "count + 1 = 2",
            "site = 'a' OR site LIKE 'b%'",
            "NOT (site = 'a' AND count = 1)",
            "count NOT IN (1)",
        ] {
            assert!(access(open).is_open(), "{open}");
        }
        assert_eq!(columns("site = 'a' AND site LIKE 'a%'"), [[1]]);
        assert_eq!(columns("site = 'a' AND count > 1 AND count < 5"), [[1, 3]]);
        assert_eq!(columns("(site = 'a' OR count = 1) AND ok"), [[1, 4], [3, 4]]);
        assert_eq!(columns("site = 'a' OR site = 'b' OR site IN ('c')"), [[1]]);
        for never in [
            "site = 'a' AND site = 'b'",
            "count > 5 AND count < 5",
            "count = NULL",
            "false",
            "count BETWEEN 5 AND 4",
            "count IN (NULL)",
        ] {
            assert!(access(never).any.is_empty(), "{never}");
        }
    }

    #[test]
    fn conjunctions_are_bounded() {
        let either = |column: &str| {
            let each: Vec<String> = (0..10).map(|at| format!("({column} > {at} AND {column} < {at}.5)")).collect();
            format!("({})", each.join(" OR "))
        };
        let wide =
            access(&format!("{} AND {}", either("temp_f"), either("temp_f / 1").replace("temp_f / 1", "temp_f")));
        assert!(wide.any.len() <= MAX_CONJUNCTIONS && !wide.is_open());
        let ors: Vec<String> = (0..30).map(|at| format!("(count = {at} AND site = 'a')")).collect();
        assert!(!access(&ors.join(" OR ")).is_open());
        let both = format!("({}) AND ({})", ors[..10].join(" OR "), ors[..10].join(" OR ").replace("count", "id"));
        let both = access(&both);
        assert!(!both.is_open() && !both.decides && both.any.len() == 10);
    }
}
