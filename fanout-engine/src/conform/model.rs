//! What is wrong with an input model, and its rules when nothing is.

use std::collections::HashMap;

use headgate_types::FieldError;
use headgate_types::model::{InputField, InputModel, WriteMode};
use headgate_types::schema::{DataType, ElementKind, Field, Schema};
use serde_json::Value;

use super::Scalar;
use super::plan::{InputPlan, OperationRule, Rule};
use super::time;
use super::value::{Found, Reading};
use crate::units;

const MAX_MARKERS: usize = 64;

/// Everything that is wrong with a model for an element of `kind`; pointers are relative to the
/// model document.
#[must_use]
pub fn check(kind: ElementKind, schema: &Schema, model: &InputModel) -> Vec<FieldError> {
    InputPlan::compile(kind, schema, model).err().unwrap_or_default()
}

/// One rule per field of the schema, in its order.
pub(super) fn compile(
    kind: ElementKind,
    schema: &Schema,
    model: &InputModel,
) -> Result<(Vec<Rule>, Option<OperationRule>), Vec<FieldError>> {
    let mut errors = Vec::new();
    check_mode(kind, model, &mut errors);
    if model.null_markers.len() > MAX_MARKERS {
        let detail = format!("a model has at most {MAX_MARKERS} null markers");
        errors.push(FieldError::new("/null_markers", "too_many", detail));
    }
    let mut given: HashMap<&str, Rule> = HashMap::new();
    for (index, input) in model.fields.iter().enumerate() {
        let at = format!("/fields/{index}");
        let Some(field) = schema.field(&input.name) else {
            let detail = format!("the element has no field {:?}", input.name);
            errors.push(FieldError::new(format!("{at}/name"), "unknown_field", detail));
            continue;
        };
        let rule = rule(field, input, model, &at, &mut errors);
        if given.insert(&field.name, rule).is_some() {
            let detail = format!("the field {:?} is made twice", field.name);
            errors.push(FieldError::new(format!("{at}/name"), "duplicate_name", detail));
        }
    }
    let mut rules = Vec::with_capacity(schema.fields.len());
    for field in &schema.fields {
        rules.push(match given.remove(field.name.as_str()) {
            Some(rule) => rule,
            None if model.fields.is_empty() => rule(field, &InputField::plain(&field.name), model, "", &mut errors),
            None => {
                if field.required || field.key {
                    let detail = format!("the element's field {:?} needs a value and the model makes none", field.name);
                    errors.push(FieldError::new("/fields", "required", detail));
                }
                Rule {
                    source: None,
                    reading: Reading::plain(field.data_type),
                    default: Scalar::Null,
                    required: field.required,
                    key: field.key,
                }
            }
        });
    }
    if errors.is_empty() { Ok((rules, operation(kind, model))) } else { Err(errors) }
}

fn check_mode(kind: ElementKind, model: &InputModel, errors: &mut Vec<FieldError>) {
    match (kind, model.mode) {
        (ElementKind::View, _) => {
            errors.push(FieldError::new("", "not_writable", "a view is made by Headgate and takes no records"));
        }
        (ElementKind::Events, Some(WriteMode::Replace)) => {
            errors.push(FieldError::new("/mode", "wrong_mode", "events are appended; only entities are replaced"));
        }
        (ElementKind::Entity, Some(WriteMode::Append)) => {
            errors.push(FieldError::new("/mode", "wrong_mode", "entities are replaced; only events are appended"));
        }
        _ => {}
    }
    if let Some(operation) = &model.operation {
        if kind == ElementKind::Events {
            errors.push(FieldError::new("/operation", "unexpected", "events are never deleted"));
        }
        if operation.field.is_empty() || operation.delete.is_empty() {
            let detail = "an operation names a field and at least one of its values";
            errors.push(FieldError::new("/operation", "empty", detail));
        }
    }
}

fn operation(kind: ElementKind, model: &InputModel) -> Option<OperationRule> {
    if kind != ElementKind::Entity {
        return None;
    }
    Some(match &model.operation {
        Some(operation) => OperationRule { field: operation.field.clone(), delete: operation.delete.clone() },
        None => OperationRule { field: "_op".to_owned(), delete: vec!["delete".to_owned()] },
    })
}

fn rule(field: &Field, input: &InputField, model: &InputModel, at: &str, errors: &mut Vec<FieldError>) -> Rule {
    let mut wrong = |place: &str, code: &str, detail: String| {
        errors.push(FieldError::new(format!("{at}/{place}"), code, detail));
    };
    let data_type = field.data_type;
    if input.from.as_ref().is_some_and(String::is_empty) {
        wrong("from", "empty", "the payload field needs a name".to_owned());
    }
    if input.null_markers.len() > MAX_MARKERS {
        wrong("null_markers", "too_many", format!("a field has at most {MAX_MARKERS} null markers"));
    }
    if let Some(pattern) = &input.date_format {
        if !matches!(data_type, DataType::Date | DataType::Timestamp) {
            wrong("date_format", "unexpected", format!("a {data_type} has no date format"));
        } else if !time::pattern_is_valid(pattern) {
            wrong("date_format", "invalid_pattern", format!("{pattern:?} is not a strftime pattern"));
        }
    }
    if let Some(separator) = input.decimal_separator {
        if !data_type.is_numeric() {
            wrong("decimal_separator", "unexpected", format!("a {data_type} has no decimal separator"));
        } else if separator.is_ascii_alphanumeric() || matches!(separator, '+' | '-') {
            wrong("decimal_separator", "invalid", format!("{separator:?} cannot separate decimals"));
        }
    }
    let unit = input.unit.as_ref().and_then(|conversion| match unit(field, conversion) {
        Ok(unit) => Some(unit),
        Err((place, code, detail)) => {
            wrong(place, code, detail);
            None
        }
    });
    let default = input.default.as_ref().map_or(Scalar::Null, |default| {
        constant(data_type, default).unwrap_or_else(|detail| {
            wrong("default", "wrong_type", detail);
            Scalar::Null
        })
    });
    Rule {
        source: Some(input.from.clone().unwrap_or_else(|| field.name.clone())),
        reading: Reading {
            data_type,
            null_markers: model.null_markers.iter().chain(&input.null_markers).cloned().collect(),
            date_format: input.date_format.clone(),
            decimal_separator: input.decimal_separator.unwrap_or('.'),
            cast: input.cast,
            trim: input.trim,
            unit,
        },
        default,
        required: field.required,
        key: field.key,
    }
}

fn unit(
    field: &Field,
    conversion: &headgate_types::model::UnitConversion,
) -> Result<units::Linear, (&'static str, &'static str, String)> {
    if field.data_type != DataType::Float64 {
        let detail = format!("a converted value needs a float64 field, {:?} is {}", field.name, field.data_type);
        return Err(("unit", "wrong_type", detail));
    }
    let Some(from) = conversion.from.as_ref().or(field.unit.as_ref()) else {
        return Err(("unit/from", "required", "neither the model nor the schema says which unit it has".to_owned()));
    };
    if let Some(declared) = &field.unit
        && conversion.to != *declared
    {
        let detail = format!("the element keeps {:?} in {declared:?}", field.name);
        return Err(("unit/to", "wrong_unit", detail));
    }
    units::convert(from, &conversion.to).map_err(|error| {
        let place = match units::check(from) {
            Err(_) => "unit/from",
            Ok(()) => "unit/to",
        };
        (place, "invalid_unit", error.to_string())
    })
}

/// A default as the field's type, with the same strictness as a payload.
fn constant(data_type: DataType, default: &Value) -> Result<Scalar, String> {
    let reading = Reading::plain(data_type);
    let number;
    let found = match default {
        Value::Null => Found::Null,
        Value::Bool(value) => Found::Bool(*value),
        Value::String(text) => Found::Text(text),
        Value::Number(value) => {
            number = value.to_string();
            Found::Number(&number)
        }
        nested @ (Value::Array(_) | Value::Object(_)) if data_type == DataType::Json => {
            return Ok(Scalar::Text(nested.to_string().into()));
        }
        _ => return Err(format!("the default is not a {data_type}")),
    };
    reading.read(found, false).map_err(|refusal| refusal.reason)
}
