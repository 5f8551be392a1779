//! What the tests of this crate share: elements, batches, commits.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType as ArrowType;
use headgate_types::schema::{DataType, ElementKind, Field, Schema};
use headgate_types::{ElementId, SchemaId, SystemClock};

use crate::{Appended, BEFORE, ElementLayout, Lake, LakeBatch, LakeConfig, NewCommit, OFFSET};

/// A lake under `directory` with the default settings.
pub(crate) async fn lake(directory: &Path) -> Lake {
    Lake::open(LakeConfig::new(directory), SystemClock::shared()).await.unwrap()
}

/// `id` (key), `name`, `size`.
pub(crate) fn layout(kind: ElementKind) -> ElementLayout {
    let schema = Schema {
        fields: vec![
            Field::new("id", DataType::Int64).as_key(),
            Field::new("name", DataType::String),
            Field::new("size", DataType::Float64),
        ],
    };
    ElementLayout { element: ElementId::new(), kind, schema_id: SchemaId::new(), schema }
}

/// Events with these ids; the name is `n<id>`, the size half the id.
pub(crate) fn events(layout: &ElementLayout, ids: impl IntoIterator<Item = i64>) -> RecordBatch {
    let ids: Vec<i64> = ids.into_iter().collect();
    let mut columns = declared(&ids.iter().map(|id| (*id, format!("n{id}"))).collect::<Vec<_>>());
    columns.push(Arc::new(StringArray::from_iter_values(ids.iter().map(|_| "insert"))));
    RecordBatch::try_new(layout.log_schema(), columns).unwrap()
}

/// A change of an entity: what was done, the key, the new name, and the old name where there was one.
pub(crate) type Change<'a> = (&'a str, i64, &'a str, Option<&'a str>);

pub(crate) fn changes(layout: &ElementLayout, changes: &[Change<'_>]) -> RecordBatch {
    let after: Vec<_> = changes.iter().map(|(_, id, name, _)| (*id, (*name).to_owned())).collect();
    let before: Vec<_> = changes.iter().map(|(_, id, _, old)| (*id, old.unwrap_or_default().to_owned())).collect();
    let mut columns = declared(&after);
    columns.push(Arc::new(StringArray::from_iter_values(changes.iter().map(|(op, ..)| *op))));
    let schema = layout.log_schema();
    let ArrowType::Struct(fields) = schema.field_with_name(BEFORE).unwrap().data_type().clone() else {
        panic!("a struct")
    };
    let nulls = NullBuffer::from_iter(changes.iter().map(|(.., old)| old.is_some()));
    columns.push(Arc::new(StructArray::new(fields, declared(&before), Some(nulls))));
    RecordBatch::try_new(schema, columns).unwrap()
}

fn declared(rows: &[(i64, String)]) -> Vec<ArrayRef> {
    vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|(id, _)| *id))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|(_, name)| name))),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|(id, _)| *id as f64 / 2.0))),
    ]
}

pub(crate) fn commit(layout: &ElementLayout, expected_head: u64, batch: RecordBatch) -> NewCommit {
    NewCommit {
        element: layout.element,
        expected_head,
        schema_id: layout.schema_id,
        batch,
        positions: Vec::new(),
        side: Vec::new(),
    }
}

/// Appends events with the ids `head + 1 ..= head + count`, so that id = offset.
pub(crate) async fn append_events(lake: &Lake, layout: &ElementLayout, count: i64) -> Appended {
    let head = lake.log().head(layout.element);
    let ids = head as i64 + 1..=head as i64 + count;
    lake.log().append(commit(layout, head, events(layout, ids))).await.unwrap()
}

pub(crate) fn ints(batch: &RecordBatch, column: &str) -> Vec<i64> {
    batch.column_by_name(column).unwrap().as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec()
}

pub(crate) fn texts(batch: &RecordBatch, column: &str) -> Vec<String> {
    let column = batch.column_by_name(column).unwrap().as_any().downcast_ref::<StringArray>().unwrap();
    column.iter().map(|text| text.unwrap_or("null").to_owned()).collect()
}

/// Asserts that the batches hold exactly the offsets `(after, to]`, each once and in order, and
/// that events made by [`append_events`] carry their own offset as id.
pub(crate) fn assert_tiles(batches: &[Arc<LakeBatch>], after: u64, to: u64) {
    let mut next = after + 1;
    for batch in batches {
        assert_eq!(batch.first, next);
        let expected: Vec<i64> = (batch.first as i64..=batch.last as i64).collect();
        assert_eq!(ints(&batch.batch, OFFSET), expected);
        assert_eq!(ints(&batch.batch, "id"), expected);
        next = batch.last + 1;
    }
    assert_eq!(next, to + 1);
}
