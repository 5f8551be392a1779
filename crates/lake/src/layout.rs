//! The Arrow form of an element: its declared columns, then Headgate's hidden ones.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StructArray, new_null_array};
use arrow::datatypes::{
    DataType as ArrowType, Field as ArrowField, Fields, Schema as ArrowSchema, SchemaRef, TimeUnit,
};
use headgate_types::schema::{DataType, ElementKind, Schema};
use headgate_types::{ElementId, SchemaId};

use crate::error::{LakeError, Result};

/// What the record did to its key: `insert`, `update` or `delete`.
pub const OP: &str = "_op";
/// The whole row as it was before, on update and delete (ADR 3). Entities and views only.
pub const BEFORE: &str = "_before";
/// The record's position in its element's log.
pub const OFFSET: &str = "_offset";
/// When the record's commit became durable.
pub const INGESTED_AT: &str = "_ingested_at";

/// An element as the lake knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElementLayout {
    /// The element.
    pub element: ElementId,
    /// Whether records carry before-images and a `current` table is kept.
    pub kind: ElementKind,
    /// The id of `schema`.
    pub schema_id: SchemaId,
    /// The declared columns.
    pub schema: Schema,
}

impl ElementLayout {
    /// Whether records replace one another by key.
    #[must_use]
    pub fn is_keyed(&self) -> bool {
        is_keyed(self.kind)
    }

    /// Columns of a [`crate::NewCommit`]'s batch: declared, `_op`, and `_before` for keyed elements.
    #[must_use]
    pub fn log_schema(&self) -> SchemaRef {
        log_schema(self.kind, &self.schema)
    }

    /// Columns of a [`crate::LakeBatch`]: those of the log, `_offset` and `_ingested_at`.
    #[must_use]
    pub fn arrow_schema(&self) -> SchemaRef {
        arrow_schema(self.kind, &self.schema)
    }

    /// Columns of the `current` table: declared, `_offset`, `_ingested_at`.
    #[must_use]
    pub(crate) fn current_schema(&self) -> SchemaRef {
        let mut fields = declared_fields(&self.schema);
        fields.extend(position_fields());
        Arc::new(ArrowSchema::new(fields))
    }

    /// The indices of the key columns.
    #[must_use]
    pub fn key_indices(&self) -> Vec<usize> {
        self.schema.fields.iter().enumerate().filter(|(_, field)| field.key).map(|(index, _)| index).collect()
    }
}

/// Whether records of this kind replace one another by key.
#[must_use]
pub fn is_keyed(kind: ElementKind) -> bool {
    kind != ElementKind::Events
}

/// The Arrow type of a declared type. JSON is kept as its text.
#[must_use]
pub fn arrow_type(data_type: DataType) -> ArrowType {
    match data_type {
        DataType::Bool => ArrowType::Boolean,
        DataType::Int64 => ArrowType::Int64,
        DataType::Float64 => ArrowType::Float64,
        DataType::String | DataType::Json => ArrowType::Utf8,
        DataType::Timestamp => ArrowType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::Date => ArrowType::Date32,
    }
}

/// The declared columns alone. All are nullable in Arrow and Parquet: a delete leaves every column
/// but the key empty, and `required` is the input model's to enforce.
#[must_use]
pub fn declared_fields(schema: &Schema) -> Vec<ArrowField> {
    schema.fields.iter().map(|field| ArrowField::new(&field.name, arrow_type(field.data_type), true)).collect()
}

/// Columns of a batch handed to the log: declared columns in order, `_op` (Utf8, never null), and
/// for keyed elements `_before` (nullable struct of the declared columns).
#[must_use]
pub fn log_schema(kind: ElementKind, schema: &Schema) -> SchemaRef {
    let mut fields = declared_fields(schema);
    fields.push(ArrowField::new(OP, ArrowType::Utf8, true));
    if is_keyed(kind) {
        fields.push(ArrowField::new(BEFORE, ArrowType::Struct(Fields::from(declared_fields(schema))), true));
    }
    Arc::new(ArrowSchema::new(fields))
}

/// Columns of a batch read from the lake: those of [`log_schema`], `_offset` (Int64) and
/// `_ingested_at` (Timestamp µs UTC).
#[must_use]
pub fn arrow_schema(kind: ElementKind, schema: &Schema) -> SchemaRef {
    let mut fields: Vec<ArrowField> =
        log_schema(kind, schema).fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.extend(position_fields());
    Arc::new(ArrowSchema::new(fields))
}

fn position_fields() -> [ArrowField; 2] {
    [
        ArrowField::new(OFFSET, ArrowType::Int64, true),
        ArrowField::new(INGESTED_AT, arrow_type(DataType::Timestamp), true),
    ]
}

/// The batch in the columns of `target`, by name: absent columns become null, surplus ones go.
///
/// # Errors
/// A column of the same name has another type.
pub fn adapt(batch: &RecordBatch, target: &SchemaRef) -> Result<RecordBatch> {
    if batch.schema_ref().fields() == target.fields() {
        return Ok(batch.clone());
    }
    let mut columns = Vec::with_capacity(target.fields().len());
    for field in target.fields() {
        columns.push(match batch.column_by_name(field.name()) {
            Some(column) => adapt_column(column, field)?,
            None => new_null_array(field.data_type(), batch.num_rows()),
        });
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(target), columns, &options)?)
}

fn adapt_column(column: &ArrayRef, field: &ArrowField) -> Result<ArrayRef> {
    if column.data_type() == field.data_type() {
        return Ok(Arc::clone(column));
    }
    if let (ArrowType::Struct(fields), Some(old)) = (field.data_type(), column.as_any().downcast_ref::<StructArray>()) {
        let children = fields
            .iter()
            .map(|child| match old.column_by_name(child.name()) {
                Some(column) => adapt_column(column, child),
                None => Ok(new_null_array(child.data_type(), old.len())),
            })
            .collect::<Result<Vec<_>>>()?;
        return Ok(Arc::new(StructArray::try_new_with_length(
            fields.clone(),
            children,
            old.nulls().cloned(),
            old.len(),
        )?));
    }
    Err(LakeError::InvalidBatch(format!(
        "column {:?} is {} where {} is expected",
        field.name(),
        column.data_type(),
        field.data_type()
    )))
}

/// Why `new` cannot follow `old` in one table: a column is missing, has another type, or the key differs.
pub(crate) fn extension_error(old: &Schema, new: &Schema) -> Option<String> {
    for field in &old.fields {
        match new.field(&field.name) {
            None => return Some(format!("column {:?} is missing", field.name)),
            Some(found) if found.data_type != field.data_type => {
                return Some(format!(
                    "column {:?} would change from {} to {}",
                    field.name, field.data_type, found.data_type
                ));
            }
            Some(found) if found.key != field.key => {
                return Some(format!("column {:?} would enter or leave the key", field.name));
            }
            Some(_) => {}
        }
    }
    new.fields
        .iter()
        .find(|field| field.key && old.field(&field.name).is_none())
        .map(|field| format!("key column {:?} is new", field.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray};
    use headgate_types::schema::Field;

    fn schema() -> Schema {
        Schema { fields: vec![Field::new("id", DataType::Int64).as_key(), Field::new("name", DataType::String)] }
    }

    #[test]
    fn hidden_columns_follow_the_declared_ones() {
        let names = |schema: SchemaRef| schema.fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>();
        assert_eq!(names(arrow_schema(ElementKind::Events, &schema())), ["id", "name", OP, OFFSET, INGESTED_AT]);
        assert_eq!(
            names(arrow_schema(ElementKind::Entity, &schema())),
            ["id", "name", OP, BEFORE, OFFSET, INGESTED_AT]
        );
    }

    #[test]
    fn a_batch_of_an_older_schema_gets_null_columns_even_inside_before_images() {
        let old = log_schema(ElementKind::Entity, &schema());
        let mut wider = schema();
        wider.fields.push(Field::new("size", DataType::Float64));
        let ArrowType::Struct(fields) = old.field(3).data_type().clone() else { panic!("a struct") };
        let before = StructArray::new(
            fields,
            vec![Arc::new(Int64Array::from(vec![1])), Arc::new(StringArray::from(vec!["a"]))],
            None,
        );
        let batch = RecordBatch::try_new(
            old,
            vec![
                Arc::new(Int64Array::from(vec![1])),
                Arc::new(StringArray::from(vec!["b"])),
                Arc::new(StringArray::from(vec!["update"])),
                Arc::new(before),
            ],
        )
        .unwrap();
        let adapted = adapt(&batch, &log_schema(ElementKind::Entity, &wider)).unwrap();
        assert_eq!(adapted.column_by_name("size").unwrap().null_count(), 1);
        assert_eq!(adapted.num_columns(), 5);
    }

    #[test]
    fn a_schema_may_only_grow() {
        let mut wider = schema();
        wider.fields.push(Field::new("size", DataType::Float64));
        assert_eq!(extension_error(&schema(), &wider), None);
        assert!(extension_error(&wider, &schema()).is_some());
        let mut retyped = schema();
        retyped.fields[1].data_type = DataType::Int64;
        assert!(extension_error(&schema(), &retyped).is_some());
        let mut rekeyed = schema();
        rekeyed.fields[1].key = true;
        assert!(extension_error(&schema(), &rekeyed).is_some());
    }
}
