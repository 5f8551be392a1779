//! Lake batches and plans for the tests of this crate.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType as ArrowType, Fields};
use chrono::DateTime;
use headgate_catalog::{ElementSpec, Metadata, NewElement};
use headgate_lake::{ElementLayout, LakeBatch, arrow_schema, declared_fields, is_keyed};
use headgate_types::model::OutputModel;
use headgate_types::schema::{DataType, ElementKind, Field, Schema};
use headgate_types::selection::{Policy, Scope};
use headgate_types::{ElementId, FieldError, SchemaId, TenantId};
use serde_json::Value;

use super::{Plan, PlanInput};

/// An element with a little of everything.
#[derive(Debug, Clone)]
pub(crate) struct Element {
    pub id: ElementId,
    pub schema_id: SchemaId,
    pub kind: ElementKind,
    pub schema: Schema,
}

/// A change as the log holds it.
pub(crate) type Change = (&'static str, Value, Option<Value>);

pub(crate) fn sensors(kind: ElementKind) -> Element {
    let mut temperature = Field::new("temp_f", DataType::Float64);
    temperature.unit = Some("[degF]".into());
    let fields = vec![
        Field::new("id", DataType::Int64).as_key(),
        Field::new("site", DataType::String),
        temperature,
        Field::new("count", DataType::Int64),
        Field::new("ok", DataType::Bool),
        Field::new("at", DataType::Timestamp),
        Field::new("day", DataType::Date),
        Field::new("extra", DataType::Json),
    ];
    Element { id: ElementId::new(), schema_id: SchemaId::new(), kind, schema: Schema { fields } }
}

impl Element {
    /// The element as its owner describes it to the catalog.
    pub(crate) fn described(&self, tenant: TenantId, name: &str) -> NewElement {
        let words = || "x".to_owned();
        let metadata = Metadata {
            context: words(),
            source: words(),
            format: words(),
            what: words(),
            identified_by: words(),
            ..Metadata::default()
        };
        let spec = ElementSpec {
            name: name.to_owned(),
            kind: self.kind,
            metadata,
            schema: self.schema.clone(),
            facets: Default::default(),
            nodes: Vec::new(),
        };
        NewElement { id: self.id, tenant, spec }
    }

    /// The element as the lake has to know it.
    pub(crate) fn layout(&self) -> ElementLayout {
        ElementLayout { element: self.id, kind: self.kind, schema_id: self.schema_id, schema: self.schema.clone() }
    }

    pub(crate) fn scope(&self) -> Scope {
        Scope {
            element: self.id,
            name: "sensors".into(),
            filter: None,
            columns: Vec::new(),
            policy: Policy::default(),
            model: OutputModel::default(),
            model_version: 1,
        }
    }

    pub(crate) fn compile(&self, scope: &Scope) -> Result<Plan, Vec<FieldError>> {
        Plan::compile(PlanInput {
            element: self.id,
            kind: self.kind,
            schema_id: self.schema_id,
            schema: &self.schema,
            scope,
            record_id_key: &[7; 32],
        })
    }

    pub(crate) fn plan(&self, filter: &str) -> Plan {
        self.compile(&Scope { filter: Some(filter.into()), ..self.scope() }).unwrap()
    }

    /// A range of the log that starts at `first`.
    pub(crate) fn range(&self, first: u64, changes: &[Change]) -> Arc<LakeBatch> {
        let after: Vec<&Value> = changes.iter().map(|(_, after, _)| after).collect();
        let mut columns = columns(&self.schema, &after);
        columns.push(Arc::new(StringArray::from_iter_values(changes.iter().map(|(op, ..)| op))));
        if is_keyed(self.kind) {
            let images: Vec<&Value> =
                changes.iter().map(|(_, _, before)| before.as_ref().unwrap_or(&Value::Null)).collect();
            let valid = NullBuffer::from_iter(changes.iter().map(|(_, _, before)| before.is_some()));
            let fields = Fields::from(declared_fields(&self.schema));
            columns.push(Arc::new(StructArray::new(fields, self::columns(&self.schema, &images), Some(valid))));
        }
        let last = first + changes.len() as u64 - 1;
        columns.push(Arc::new(Int64Array::from_iter_values(first as i64..=last as i64)));
        columns.push(Arc::new(TimestampMicrosecondArray::from_value(0, changes.len()).with_timezone("UTC")));
        Arc::new(LakeBatch {
            element: self.id,
            epoch: 1,
            first,
            last,
            schema_id: self.schema_id,
            committed_at: DateTime::UNIX_EPOCH,
            batch: RecordBatch::try_new(arrow_schema(self.kind, &self.schema), columns).unwrap(),
        })
    }

    /// Inserts only.
    pub(crate) fn rows(&self, first: u64, rows: &[Value]) -> Arc<LakeBatch> {
        let changes: Vec<Change> = rows.iter().map(|row| ("insert", row.clone(), None)).collect();
        self.range(first, &changes)
    }
}

fn columns(schema: &Schema, rows: &[&Value]) -> Vec<ArrayRef> {
    let array = |field: &Field| -> ArrayRef {
        let cells = rows.iter().map(|row| &row[field.name.as_str()]);
        match headgate_lake::arrow_type(field.data_type) {
            ArrowType::Boolean => Arc::new(cells.map(Value::as_bool).collect::<BooleanArray>()),
            ArrowType::Int64 => Arc::new(cells.map(Value::as_i64).collect::<Int64Array>()),
            // JSON has no NaN and no infinities; the tests spell them as text.
            ArrowType::Float64 => Arc::new(
                cells.map(|cell| cell.as_f64().or_else(|| cell.as_str()?.parse().ok())).collect::<Float64Array>(),
            ),
            ArrowType::Date32 => {
                Arc::new(cells.map(|cell| super::types::parse_date(cell.as_str()?)).collect::<Date32Array>())
            }
            ArrowType::Timestamp(..) => {
                let micros = cells.map(|cell| super::types::parse_timestamp(cell.as_str()?));
                Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
            }
            _ if field.data_type == DataType::Json => {
                Arc::new(cells.map(|cell| (!cell.is_null()).then(|| cell.to_string())).collect::<StringArray>())
            }
            _ => Arc::new(cells.map(Value::as_str).collect::<StringArray>()),
        }
    };
    schema.fields.iter().map(array).collect()
}
