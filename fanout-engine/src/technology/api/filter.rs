//! A list filter (AIP-160) as a SQL condition over one table, its values bound.

use headgate_types::FieldError;
use headgate_types::filter::{Comparator, Filter, Literal};
use headgate_types::schema::DataType;
use rusqlite::types::Value;

use super::cells;
use super::table::{Column, Table, quoted};
use crate::shape::RecordId;

/// The condition, its placeholders `?`; values are pushed in their order.
///
/// # Errors
/// A field does not exist, or a value or comparator does not fit it.
pub fn condition(filter: &Filter, table: &Table, values: &mut Vec<Value>) -> Result<String, FieldError> {
    match filter {
        Filter::And(parts) => joined(parts, " AND ", table, values),
        Filter::Or(parts) => joined(parts, " OR ", table, values),
        // A comparison with an absent value does not hold, and so its opposite does.
        Filter::Not(part) => Ok(format!("NOT ({} IS TRUE)", condition(part, table, values)?)),
        Filter::Compare { name, comparator, value } if name == "_id" => record(*comparator, value, values),
        Filter::Compare { name, comparator, value } => {
            let (_, column) = table.column(name).ok_or_else(|| {
                let known: Vec<_> = table.columns.iter().map(|column| column.name.as_str()).collect();
                error("unknown_field", format!("there is no field {name:?}; there are {}", known.join(", ")))
            })?;
            compare(column, *comparator, value, values)
        }
    }
}

fn joined(parts: &[Filter], operator: &str, table: &Table, values: &mut Vec<Value>) -> Result<String, FieldError> {
    let parts = parts.iter().map(|part| condition(part, table, values)).collect::<Result<Vec<_>, _>>()?;
    Ok(format!("({})", parts.join(operator)))
}

fn compare(
    column: &Column,
    comparator: Comparator,
    value: &Literal,
    values: &mut Vec<Value>,
) -> Result<String, FieldError> {
    let sql = quoted(&column.name);
    let wildcard = *value == Literal::Text("*".to_owned());
    match (value, comparator) {
        (Literal::Null, Comparator::Equal) => return Ok(format!("({sql} IS NULL)")),
        (Literal::Null, Comparator::NotEqual) => return Ok(format!("({sql} IS NOT NULL)")),
        (Literal::Null, _) => return Err(error("invalid_comparator", "null is compared with = or !=")),
        (_, Comparator::Has) if wildcard => return Ok(format!("({sql} IS NOT NULL)")),
        _ => {}
    }
    if column.data_type == DataType::Json {
        let detail = format!("{} holds JSON; it can be compared with null only", column.name);
        return Err(error("invalid_comparator", detail));
    }
    let bound = bind(column, value)?;
    let Some(operator) = comparator.sql() else {
        let Value::Text(text) = bound else {
            return Err(error("invalid_comparator", format!("{} is not text, so : does not apply", column.name)));
        };
        let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        values.push(Value::Text(format!("%{escaped}%")));
        return Ok(format!("({sql} LIKE ? ESCAPE '\\')"));
    };
    let ordered = !matches!(comparator, Comparator::Equal | Comparator::NotEqual);
    if ordered && column.data_type == DataType::Bool {
        return Err(error("invalid_comparator", format!("{} is compared with = or !=", column.name)));
    }
    values.push(bound);
    Ok(format!("({sql} {operator} ?)"))
}

fn bind(column: &Column, value: &Literal) -> Result<Value, FieldError> {
    let wrong = || error("invalid_value", format!("{} is a {}", column.name, column.data_type));
    match (column.data_type, value) {
        (DataType::Int64 | DataType::Float64, Literal::Integer(number)) => Ok(Value::Integer(*number)),
        (DataType::Int64 | DataType::Float64, Literal::Float(number)) => Ok(Value::Real(*number)),
        (DataType::Bool, Literal::Bool(value)) => Ok(Value::Integer(i64::from(*value))),
        (DataType::Int64 | DataType::Float64 | DataType::Bool, _) => Err(wrong()),
        // A bare word that looks like a number is still text to a text column.
        (DataType::String, Literal::Integer(number)) => Ok(Value::Text(number.to_string())),
        (DataType::String, Literal::Bool(value)) => Ok(Value::Text(value.to_string())),
        (_, Literal::Text(text)) => cells::parse(column, text).map_err(|detail| error("invalid_value", detail)),
        _ => Err(wrong()),
    }
}

fn record(comparator: Comparator, value: &Literal, values: &mut Vec<Value>) -> Result<String, FieldError> {
    let text = match value {
        Literal::Text(text) => text.clone(),
        Literal::Integer(number) => number.to_string(),
        _ => String::new(),
    };
    let id: RecordId =
        text.parse().map_err(|_| error("invalid_value", "_id is compared with 32 hexadecimal digits"))?;
    let operator = match comparator {
        Comparator::Equal => "=",
        Comparator::NotEqual => "<>",
        _ => return Err(error("invalid_comparator", "_id is compared with = or !=")),
    };
    values.push(Value::Blob(id.0.to_vec()));
    Ok(format!("(_id {operator} ?)"))
}

fn error(code: &str, detail: impl Into<String>) -> FieldError {
    FieldError::new("filter", code, detail)
}
