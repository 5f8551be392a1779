//! The fields of a shaped record: a column or an expression, then a unit, then a type.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Float64Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType as ArrowType, Date32Type, Float64Type, Int64Type, Schema as ArrowSchema, SchemaRef,
    TimestampMicrosecondType,
};
use datafusion::common::{DFSchema, DataFusionError};
use headgate_lake::{arrow_type, declared_fields};
use headgate_types::FieldError;
use headgate_types::model::OutputField;
use headgate_types::schema::{DataType, Field, Schema, name_error};

use super::ShapeError;
use super::evaluate::Compiled;
use super::expression::{self, Checked};
use super::images::Picked;
use super::plan::at;
use super::types::{date_text, declared_type, parse_date, parse_timestamp, plain_floats, plain_values, timestamp_text};
use crate::units::{self, Linear};

/// What an output field is made from, checked.
#[derive(Debug)]
pub(super) struct Specification {
    field: Field,
    source: Source,
    natural: DataType,
    unit: Option<Linear>,
    unit_text: String,
    /// Whether it carries a key field unchanged.
    pub is_key: bool,
}

#[derive(Debug)]
enum Source {
    Column(String),
    Expression(Checked),
}

impl Specification {
    /// The field of the element it takes as it is, if it does.
    pub fn source_name(&self) -> Option<&str> {
        match &self.source {
            Source::Column(name) => Some(name),
            Source::Expression(_) => None,
        }
    }
}

/// Checks the fields of an output model over the fields in scope; none means "all of them".
pub(super) fn specify(fields: &[OutputField], in_scope: &Schema, errors: &mut Vec<FieldError>) -> Vec<Specification> {
    if fields.is_empty() {
        return in_scope.fields.iter().map(plain).collect();
    }
    let over = ArrowSchema::new(declared_fields(in_scope));
    let mut seen = HashSet::new();
    let mut specs = Vec::with_capacity(fields.len());
    for (index, field) in fields.iter().enumerate() {
        let pointer = format!("/model/fields/{index}");
        if let Some(detail) = name_error(&field.name) {
            errors.push(FieldError::new(format!("{pointer}/name"), "invalid_name", detail));
        } else if !seen.insert(field.name.to_lowercase()) {
            let detail = format!("two fields are named {:?}", field.name);
            errors.push(FieldError::new(format!("{pointer}/name"), "duplicate_name", detail));
        }
        match one(field, in_scope, &over, &pointer) {
            Ok(spec) => specs.push(spec),
            Err(error) => errors.push(error),
        }
    }
    specs
}

fn plain(field: &Field) -> Specification {
    Specification {
        field: field.clone(),
        source: Source::Column(field.name.clone()),
        natural: field.data_type,
        unit: None,
        unit_text: String::new(),
        is_key: field.key,
    }
}

fn one(field: &OutputField, in_scope: &Schema, over: &ArrowSchema, pointer: &str) -> Result<Specification, FieldError> {
    let mut spec = match (&field.from, &field.expression) {
        (Some(_), Some(_)) => {
            return Err(FieldError::new(
                pointer,
                "from_and_expression",
                "a field has `from` or `expression`, not both",
            ));
        }
        (None, Some(text)) => {
            let pointer = format!("{pointer}/expression");
            let checked = expression::scalar(text, over).map_err(|refused| at(&pointer, refused))?;
            let natural = natural_type(&checked, field, &pointer)?;
            Specification {
                field: Field::new(&field.name, natural),
                source: Source::Expression(checked),
                natural,
                unit: None,
                unit_text: String::new(),
                is_key: false,
            }
        }
        (from, None) => {
            let name = from.as_ref().unwrap_or(&field.name);
            let source = in_scope.field(name).ok_or_else(|| {
                let place = if from.is_some() { "from" } else { "name" };
                FieldError::new(format!("{pointer}/{place}"), "unknown_column", format!("there is no field {name:?}"))
            })?;
            let mut spec = plain(source);
            spec.field.name.clone_from(&field.name);
            spec
        }
    };
    if let Some(description) = &field.description {
        spec.field.description = Some(description.clone());
    }
    if let Some(unit) = &field.unit {
        convert_unit(&mut spec, unit, &format!("{pointer}/unit"))?;
    }
    let target = field.data_type.unwrap_or(spec.field.data_type);
    if !castable(spec.field.data_type, target) {
        let detail = format!("a value of type {} cannot become {target}", spec.field.data_type);
        return Err(FieldError::new(format!("{pointer}/type"), "invalid_cast", detail));
    }
    if target != spec.field.data_type {
        spec.is_key &= injective(spec.field.data_type, target);
        spec.field.required &= injective(spec.field.data_type, target);
        spec.field.data_type = target;
        if !target.is_numeric() {
            spec.field.unit = None;
        }
    }
    spec.field.key = spec.is_key;
    Ok(spec)
}

fn natural_type(checked: &Checked, field: &OutputField, pointer: &str) -> Result<DataType, FieldError> {
    if let Some(natural) = declared_type(&checked.arrow) {
        return Ok(natural);
    }
    // A bare NULL fits every type.
    match (&checked.arrow, field.data_type) {
        (ArrowType::Null, Some(declared)) => Ok(declared),
        (other, _) => {
            let detail = format!("the expression gives {other}, which has no form in a record; cast it");
            Err(FieldError::new(pointer, "invalid_expression", detail))
        }
    }
}

fn convert_unit(
    spec: &mut Specification,
    unit: &headgate_types::model::UnitConversion,
    pointer: &str,
) -> Result<(), FieldError> {
    if !spec.field.data_type.is_numeric() {
        return Err(FieldError::new(pointer, "unit_on_non_number", "only numbers have a unit"));
    }
    let from = unit.from.as_ref().or(spec.field.unit.as_ref()).ok_or_else(|| {
        let detail = "the unit of the value is not known from the schema; say it with `from`";
        FieldError::new(format!("{pointer}/from"), "unit_unknown", detail)
    })?;
    let conversion = units::convert(from, &unit.to)
        .map_err(|error| FieldError::new(format!("{pointer}/to"), "invalid_unit", error.to_string()))?;
    spec.unit_text = format!("{from}>{}", unit.to);
    spec.unit = Some(conversion);
    spec.is_key = false;
    spec.field.data_type = DataType::Float64;
    spec.field.unit = Some(unit.to.clone());
    Ok(())
}

/// Whether a model may ask for the cast. Values without a counterpart become null.
fn castable(from: DataType, to: DataType) -> bool {
    use DataType::{Bool, Date, Float64, Int64, Json, String, Timestamp};
    from == to
        || to == String
        || matches!((from, to), (Int64, Float64) | (Float64, Int64) | (Date, Timestamp) | (Timestamp, Date))
        || (from == String && matches!(to, Bool | Int64 | Float64 | Timestamp | Date | Json))
}

/// Whether different values stay different.
fn injective(from: DataType, to: DataType) -> bool {
    from == to || matches!((from, to), (DataType::Date, DataType::Timestamp)) || to == DataType::String
}

/// One field of a shaped record, compiled.
#[derive(Debug)]
pub struct OutputColumn {
    /// How the receiver sees it.
    pub field: Field,
    /// Whether it carries a key field.
    pub is_key: bool,
    value: Value,
    natural: DataType,
    unit: Option<Linear>,
    /// Declared columns it is made from.
    pub(super) reads: Vec<usize>,
    /// Its part of the plan's identity.
    pub(super) identity: String,
}

#[derive(Debug)]
enum Value {
    Column(usize),
    Expression(Compiled),
}

impl OutputColumn {
    pub(super) fn new(spec: Specification, declared: &SchemaRef, df: &DFSchema) -> Result<Self, DataFusionError> {
        let index = |name: &str| declared.index_of(name).map_err(DataFusionError::from);
        let (value, reads, text) = match &spec.source {
            Source::Column(name) => (Value::Column(index(name)?), vec![index(name)?], format!("\"{name}\"")),
            Source::Expression(checked) => {
                let compiled = Compiled::new(&checked.expr, checked.arrow.clone(), df)?;
                let reads = checked.columns().iter().map(|name| index(name)).collect::<Result<Vec<_>, _>>()?;
                (Value::Expression(compiled), reads, checked.text.clone())
            }
        };
        let parts = [&spec.field.name, &text, spec.natural.as_str(), &spec.unit_text, spec.field.data_type.as_str()];
        let identity = parts.iter().map(|part| format!("{}:{part};", part.len())).collect();
        Ok(Self {
            is_key: spec.is_key,
            field: spec.field,
            value,
            natural: spec.natural,
            unit: spec.unit,
            reads,
            identity,
        })
    }

    /// Whether an expression gives its values.
    pub(super) const fn is_computed(&self) -> bool {
        matches!(self.value, Value::Expression(_))
    }

    /// The field's values.
    pub(super) fn evaluate(&self, rows: &Picked<'_>) -> Result<ArrayRef, ShapeError> {
        let array = match &self.value {
            Value::Column(index) => rows.column(*index)?,
            Value::Expression(compiled) => {
                let array =
                    compiled.evaluate(rows.read()).map_err(|error| ShapeError::Batch(error.strip_backtrace()))?;
                let target = arrow_type(self.natural);
                // Times of other zones and precisions, decimals and small integers take the one form
                // their type has; what has none in it becomes null.
                let array = if *array.data_type() == target { array } else { cast(&array, &target)? };
                plain_values(&array)
            }
        };
        let (array, from) = match self.unit {
            Some(conversion) => (converted(&array, conversion)?, DataType::Float64),
            None => (array, self.natural),
        };
        typed(array, from, self.field.data_type)
    }
}

fn converted(array: &ArrayRef, conversion: Linear) -> Result<ArrayRef, ShapeError> {
    let floats = cast(array, &ArrowType::Float64)?;
    let floats = floats.as_primitive::<Float64Type>();
    let converted: Float64Array = floats.unary(|value| conversion.apply(value));
    Ok(plain_floats(&(Arc::new(converted) as ArrayRef)))
}

fn typed(array: ArrayRef, from: DataType, to: DataType) -> Result<ArrayRef, ShapeError> {
    if from == to {
        return Ok(array);
    }
    Ok(match (from, to) {
        (DataType::Json, DataType::String) => array,
        (DataType::Float64, DataType::Int64) => {
            // Half away from zero, as `round` does. The bounds are the doubles inside 64 bits.
            const BOUND: f64 = 9_223_372_036_854_775_808.0;
            let floats = array.as_primitive::<Float64Type>();
            let whole = |value: f64| Some(value.round()).filter(|v| (-BOUND..BOUND).contains(v)).map(|v| v as i64);
            Arc::new(floats.iter().map(|value| value.and_then(whole)).collect::<Int64Array>())
        }
        (_, DataType::String) => texts(&array, from),
        (DataType::String, to) => parsed(&array, to),
        (_, to) => plain_values(&cast(&array, &arrow_type(to))?),
    })
}

/// Every value in the form it has in JSON, without quotation marks.
fn texts(array: &ArrayRef, from: DataType) -> ArrayRef {
    let texts: StringArray = match from {
        DataType::Bool => array.as_boolean().iter().map(|v| v.map(|v| v.to_string())).collect(),
        DataType::Int64 => array.as_primitive::<Int64Type>().iter().map(|v| v.map(|v| v.to_string())).collect(),
        DataType::Float64 => array
            .as_primitive::<Float64Type>()
            .iter()
            .map(|v| v.map(|v| ryu_js::Buffer::new().format(v).to_owned()))
            .collect(),
        DataType::Timestamp => {
            array.as_primitive::<TimestampMicrosecondType>().iter().map(|v| v.and_then(timestamp_text)).collect()
        }
        DataType::Date => array.as_primitive::<Date32Type>().iter().map(|v| v.and_then(date_text)).collect(),
        DataType::String | DataType::Json => return Arc::clone(array),
    };
    Arc::new(texts)
}

fn parsed(array: &ArrayRef, to: DataType) -> ArrayRef {
    let texts = array.as_string::<i32>().iter();
    match to {
        DataType::Bool => Arc::new(texts.map(|v| v?.parse().ok()).collect::<BooleanArray>()),
        DataType::Int64 => Arc::new(texts.map(|v| v?.parse().ok()).collect::<Int64Array>()),
        DataType::Float64 => {
            plain_floats(&(Arc::new(texts.map(|v| v?.parse().ok()).collect::<Float64Array>()) as ArrayRef))
        }
        DataType::Timestamp => {
            let micros: TimestampMicrosecondArray = texts.map(|v| parse_timestamp(v?)).collect();
            Arc::new(micros.with_timezone("UTC"))
        }
        DataType::Date => Arc::new(texts.map(|v| parse_date(v?)).collect::<Date32Array>()),
        DataType::Json => {
            let valid = |text: &&str| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
            Arc::new(texts.map(|v| v.filter(valid)).collect::<StringArray>())
        }
        DataType::String => Arc::clone(array),
    }
}
