//! A compiled input model.

use std::collections::HashSet;

use headgate_types::FieldError;
use headgate_types::model::{InputModel, UnknownFields};
use headgate_types::schema::{ElementKind, Field, Schema};

use super::csv::CsvRow;
use super::json::Json;
use super::value::{Found, Reading};
use super::{Operation, Refusal, Scalar, model};

/// An input model bound to the schema of its element.
#[derive(Debug, Clone)]
pub struct InputPlan {
    schema: Schema,
    rules: Vec<Rule>,
    operation: Option<OperationRule>,
    unknown: UnknownFields,
    /// Names a payload record may have at its top.
    taken: HashSet<String>,
}

/// How one field of the schema is made.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    /// The payload field; none for a field that the model leaves empty.
    pub(super) source: Option<String>,
    pub(super) reading: Reading,
    pub(super) default: Scalar,
    pub(super) required: bool,
    pub(super) key: bool,
}

impl Rule {
    /// The value of `field` for what a record has of it.
    pub(super) fn value(&self, field: &Field, found: Found<'_>, textual: bool) -> Result<Scalar, Refusal> {
        let mut value = self.reading.read(found, textual)?;
        if value.is_null() {
            value = self.default.clone();
        }
        if value.is_null() && (self.required || self.key) {
            return Err(required(field));
        }
        Ok(value)
    }
}

#[derive(Debug, Clone)]
pub(super) struct OperationRule {
    pub(super) field: String,
    pub(super) delete: Vec<String>,
}

/// Where the columns of a CSV header go.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    fields: Vec<Option<usize>>,
    operation: Option<usize>,
}

impl InputPlan {
    /// Compiles a model.
    ///
    /// # Errors
    /// Everything that is wrong with it; pointers are relative to the model document.
    pub fn compile(kind: ElementKind, schema: &Schema, input: &InputModel) -> Result<Self, Vec<FieldError>> {
        let (rules, operation) = model::compile(kind, schema, input)?;
        let mut taken = HashSet::new();
        for source in rules.iter().filter_map(|rule| rule.source.as_deref()) {
            taken.insert(source.to_owned());
            taken.extend(source.split('.').next().map(str::to_owned));
        }
        taken.extend(operation.iter().map(|operation| operation.field.clone()));
        Ok(Self { schema: schema.clone(), rules, operation, unknown: input.unknown_fields, taken })
    }

    /// The schema of the element.
    #[must_use]
    pub const fn schema(&self) -> &Schema {
        &self.schema
    }

    /// How the fields of the schema are made, in their order.
    pub(super) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The field in which a record may say what it does.
    pub(super) fn operation_field(&self) -> Option<&str> {
        self.operation.as_ref().map(|operation| operation.field.as_str())
    }

    /// Finds the model's fields in a CSV header.
    pub(super) fn columns(&self, header: &[String]) -> Result<Columns, Refusal> {
        if self.unknown == UnknownFields::Reject
            && let Some(name) = header.iter().find(|name| !self.taken.contains(*name))
        {
            return Err(unknown(name));
        }
        let find = |name: &String| header.iter().position(|column| column == name);
        let fields: Vec<_> = self.rules.iter().map(|rule| rule.source.as_ref().and_then(find)).collect();
        if fields.iter().all(Option::is_none) {
            return Err(Refusal::new("no_known_column", "the header names none of the fields of the model"));
        }
        Ok(Columns { fields, operation: self.operation.as_ref().and_then(|rule| find(&rule.field)) })
    }

    /// A CSV row as a record.
    pub(super) fn csv(&self, row: &CsvRow<'_>, columns: &Columns) -> Result<(Operation, Vec<Scalar>), Refusal> {
        let text = |column: Option<usize>| match column.and_then(|column| row.get(column)) {
            Some("") => Found::Null,
            Some(text) => Found::Text(text),
            None => Found::Missing,
        };
        let operation = self.operation(text(columns.operation))?;
        self.values(operation, |index, _| text(columns.fields[index]), true).map(|values| (operation, values))
    }

    /// A JSON value as a record.
    pub(super) fn json(&self, record: &Json<'_>) -> Result<(Operation, Vec<Scalar>), Refusal> {
        let Json::Object(members) = record else {
            return Err(Refusal::new("not_an_object", "a record is a JSON object"));
        };
        if self.unknown == UnknownFields::Reject
            && let Some((name, _)) = members.iter().find(|(name, _)| !self.taken.contains(name.as_ref()))
        {
            return Err(unknown(name));
        }
        let operation = match &self.operation {
            Some(rule) => self.operation(find(record, &rule.field))?,
            None => Operation::Write,
        };
        let values = self.values(operation, |_, source| find(record, source), false)?;
        Ok((operation, values))
    }

    fn operation(&self, found: Found<'_>) -> Result<Operation, Refusal> {
        let Some(rule) = &self.operation else { return Ok(Operation::Write) };
        match found {
            Found::Missing | Found::Null => Ok(Operation::Write),
            Found::Text(text) if rule.delete.iter().any(|word| word == text) => Ok(Operation::Delete),
            Found::Text(_) => Ok(Operation::Write),
            _ => Err(Refusal::new("wrong_type", "the operation is text").at(&rule.field)),
        }
    }

    fn values<'f>(
        &self,
        operation: Operation,
        find: impl Fn(usize, &str) -> Found<'f>,
        textual: bool,
    ) -> Result<Vec<Scalar>, Refusal> {
        let mut values = Vec::with_capacity(self.rules.len());
        for (index, (rule, field)) in self.rules.iter().zip(&self.schema.fields).enumerate() {
            if operation == Operation::Delete && !rule.key {
                values.push(Scalar::Null);
                continue;
            }
            let source = rule.source.as_deref();
            let found = source.map_or(Found::Missing, |source| find(index, source));
            let place = source.unwrap_or(&field.name);
            values.push(rule.value(field, found, textual).map_err(|refusal| refusal.at(place))?);
        }
        Ok(values)
    }
}

fn required(field: &Field) -> Refusal {
    Refusal::new("required", format!("{:?} needs a value", field.name))
}

fn unknown(name: &str) -> Refusal {
    Refusal::new("unknown_field", format!("the model takes no field {name:?}")).at(name)
}

/// The member of this name, or what a dotted path reaches.
fn find<'r>(record: &'r Json<'r>, source: &str) -> Found<'r> {
    if let Some(value) = record.member(source) {
        return value.into();
    }
    let mut value = record;
    for segment in source.split('.') {
        match value.member(segment) {
            Some(member) => value = member,
            None if matches!(value, Json::Object(_) | Json::Null) => return Found::Missing,
            // It is not that there is nothing: the source means something else than the model.
            None => return Found::NoObject(value),
        }
    }
    value.into()
}
