//! A parsed list filter as a SQL condition with bound parameters.
//!
//! Whoever owns a table names the columns that may be filtered; nothing of the request's text gets
//! into the statement, so a filter can select but never inject.

use chrono::{DateTime, Utc};
use headgate_types::FieldError;
use headgate_types::filter::{Comparator, Filter, Literal};
use uuid::Uuid;

use crate::arguments::{Argument, Arguments};

/// The type of a column that may be filtered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterType {
    /// Text; `:` means "contains", without regard to ASCII case.
    Text,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Bool,
    /// A moment, RFC 3339 in the filter.
    Time,
    /// An id with this prefix (`ChannelId::PREFIX`), a UUID in the table.
    Id(&'static str),
}

/// A column that may be filtered.
#[derive(Debug, Clone, Copy)]
pub struct FilterColumn {
    /// The name in filters.
    pub name: &'static str,
    /// The column or expression in SQL.
    pub sql: &'static str,
    /// Its type.
    pub column_type: FilterType,
}

impl FilterColumn {
    /// A column that is called the same in filters and in SQL.
    #[must_use]
    pub const fn new(name: &'static str, column_type: FilterType) -> Self {
        Self { name, sql: name, column_type }
    }

    /// The same column under another expression in SQL.
    #[must_use]
    pub const fn at(mut self, sql: &'static str) -> Self {
        self.sql = sql;
        self
    }
}

/// The condition a filter stands for. Its values are pushed onto `arguments`, and its placeholders
/// count on from those already there.
///
/// # Errors
/// When a field is unknown, or a value or comparator does not fit its type.
pub fn filter_condition(
    filter: &Filter,
    columns: &[FilterColumn],
    arguments: &mut Arguments,
) -> Result<String, FieldError> {
    match filter {
        Filter::And(parts) => joined(parts, " AND ", columns, arguments),
        Filter::Or(parts) => joined(parts, " OR ", columns, arguments),
        // IS TRUE: a comparison with an absent value is "does not hold", and NOT of it holds.
        Filter::Not(part) => Ok(format!("NOT ({} IS TRUE)", filter_condition(part, columns, arguments)?)),
        Filter::Compare { name, comparator, value } => compare(name, *comparator, value, columns, arguments),
    }
}

fn joined(
    parts: &[Filter],
    operator: &str,
    columns: &[FilterColumn],
    arguments: &mut Arguments,
) -> Result<String, FieldError> {
    let parts: Result<Vec<_>, _> = parts.iter().map(|part| filter_condition(part, columns, arguments)).collect();
    Ok(format!("({})", parts?.join(operator)))
}

fn compare(
    name: &str,
    comparator: Comparator,
    value: &Literal,
    columns: &[FilterColumn],
    arguments: &mut Arguments,
) -> Result<String, FieldError> {
    let Some(column) = columns.iter().find(|column| column.name == name) else {
        let known: Vec<_> = columns.iter().map(|column| column.name).collect();
        return Err(error("unknown_field", format!("{name:?} cannot be filtered; known are {}", known.join(", "))));
    };
    let sql = column.sql;
    let present = *value == Literal::Text("*".to_owned()) && comparator == Comparator::Has;
    match (value, comparator) {
        (Literal::Null, Comparator::Equal) => return Ok(format!("({sql} IS NULL)")),
        (Literal::Null, Comparator::NotEqual) => return Ok(format!("({sql} IS NOT NULL)")),
        (Literal::Null, _) => return Err(error("invalid_comparator", "null is compared with = or !=".to_owned())),
        _ if present => return Ok(format!("({sql} IS NOT NULL)")),
        _ => {}
    }
    let bound = bind(column, value)?;
    let Some(operator) = comparator.sql() else {
        return contains(column, bound, arguments);
    };
    let ordered = !matches!(comparator, Comparator::Equal | Comparator::NotEqual);
    if ordered && matches!(column.column_type, FilterType::Bool | FilterType::Id(_)) {
        return Err(error("invalid_comparator", format!("{name} is compared with = or !=")));
    }
    arguments.push(bound);
    Ok(format!("({sql} {operator} ${})", arguments.len()))
}

fn contains(column: &FilterColumn, bound: Argument, arguments: &mut Arguments) -> Result<String, FieldError> {
    let Argument::Text(Some(text)) = bound else {
        return Err(error("invalid_comparator", format!("{} is not text, so : does not apply to it", column.name)));
    };
    let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    arguments.push(Argument::from(format!("%{escaped}%")));
    Ok(format!("(LOWER({}) LIKE LOWER(${}) ESCAPE '\\')", column.sql, arguments.len()))
}

fn bind(column: &FilterColumn, value: &Literal) -> Result<Argument, FieldError> {
    let wrong = |wanted: &str| error("invalid_value", format!("{} is compared with {wanted}", column.name));
    match (column.column_type, value) {
        (FilterType::Text, Literal::Text(text)) => Ok(Argument::from(text)),
        // A bare word that looks like a number is still text to a text column.
        (FilterType::Text, Literal::Integer(number)) => Ok(Argument::from(number.to_string())),
        (FilterType::Text, Literal::Bool(value)) => Ok(Argument::from(value.to_string())),
        (FilterType::Text, _) => Err(wrong("text")),
        (FilterType::Integer, Literal::Integer(number)) => Ok(Argument::from(*number)),
        (FilterType::Integer, _) => Err(wrong("a whole number")),
        (FilterType::Bool, Literal::Bool(value)) => Ok(Argument::from(*value)),
        (FilterType::Bool, _) => Err(wrong("true or false")),
        (FilterType::Time, Literal::Text(text)) => match text.parse::<DateTime<Utc>>() {
            Ok(time) => Ok(Argument::from(headgate_types::clock::cut(time))),
            Err(_) => Err(wrong("an RFC 3339 time")),
        },
        (FilterType::Time, _) => Err(wrong("an RFC 3339 time")),
        (FilterType::Id(prefix), Literal::Text(text)) => {
            let digits = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_'));
            let uuid = digits.filter(|digits| digits.len() == 32).and_then(|digits| Uuid::parse_str(digits).ok());
            uuid.map(Argument::from).ok_or_else(|| wrong(&format!("an id that starts with {prefix}_")))
        }
        (FilterType::Id(prefix), _) => Err(wrong(&format!("an id that starts with {prefix}_"))),
    }
}

fn error(code: &str, detail: String) -> FieldError {
    FieldError::new("filter", code, detail)
}

#[cfg(test)]
mod tests {
    use headgate_types::ChannelId;
    use headgate_types::filter::parse;

    use super::*;
    use crate::args;
    use crate::testing::databases;

    const COLUMNS: &[FilterColumn] = &[
        FilterColumn::new("name", FilterType::Text),
        FilterColumn::new("size", FilterType::Integer),
        FilterColumn::new("open", FilterType::Bool),
        FilterColumn::new("created_at", FilterType::Time),
        FilterColumn::new("channel", FilterType::Id(ChannelId::PREFIX)).at("channel_id"),
    ];

    #[test]
    fn a_filter_never_puts_its_text_into_sql() {
        let mut arguments = args![1_i64];
        let filter = parse("name = \"x'; DROP TABLE t\" AND (size > 3 OR open = true)").unwrap();
        let sql = filter_condition(&filter, COLUMNS, &mut arguments).unwrap();
        assert_eq!(sql, "((name = $2) AND ((size > $3) OR (open = $4)))");
        assert_eq!(arguments.len(), 4);
    }

    #[test]
    fn a_filter_that_does_not_fit_a_column_is_refused() {
        for (text, code) in [
            ("nothing = 1", "unknown_field"),
            ("size = many", "invalid_value"),
            ("size:3", "invalid_comparator"),
            ("open > true", "invalid_comparator"),
            ("created_at > yesterday", "invalid_value"),
            ("channel = ord_00000000000000000000000000000000", "invalid_value"),
            ("name > null", "invalid_comparator"),
        ] {
            let error = filter_condition(&parse(text).unwrap(), COLUMNS, &mut Vec::new()).unwrap_err();
            assert_eq!(error.code, code, "{text}");
        }
    }

    #[tokio::test]
    async fn filters_select_the_same_rows_on_both_databases() {
        for db in databases().await.unwrap() {
            let mut tx = db.control.platform().await.unwrap();
            let bool_type = if db.name == "sqlite" { "BOOLEAN" } else { "BOOL" };
            tx.execute_script(format!(
                "CREATE TEMPORARY TABLE things (name TEXT, size BIGINT, open {bool_type});
                 INSERT INTO things VALUES ('50% off', 1, TRUE), ('Plain', 2, FALSE), (NULL, 3, NULL);"
            ))
            .await
            .unwrap();
            for (text, wanted) in [
                ("name:\"0% O\"", vec![1]),
                ("name = null", vec![3]),
                ("name:*", vec![1, 2]),
                ("NOT name:plain", vec![1, 3]),
                ("NOT open = true", vec![2, 3]),
                ("size >= 2 AND name = Plain", vec![2]),
            ] {
                let mut arguments = Vec::new();
                let condition = filter_condition(&parse(text).unwrap(), COLUMNS, &mut arguments).unwrap();
                let sql = format!("SELECT size FROM things WHERE {condition} ORDER BY size");
                let rows: Vec<(i64,)> = tx.fetch_all_built(sql, arguments).await.unwrap();
                assert_eq!(rows.into_iter().map(|row| row.0).collect::<Vec<_>>(), wanted, "{} on {}", text, db.name);
            }
        }
    }
}
