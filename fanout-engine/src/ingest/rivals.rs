//! Two writers of one element, as two processes would be that both think it is theirs; and one that is
//! stopped while it makes its images anew.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use headgate_lake::{BEFORE, ElementLayout, Lake, LakeConfig, LakeWriter, OP};
use headgate_types::SystemClock;
use headgate_types::schema::ElementKind;
use tokio_util::sync::CancellationToken;

use super::writer::Writer;
use crate::conform::{Operation, Row, Scalar, rows_of};
use crate::projection::Projection;
use crate::shape::testing::sensors;

const WRITERS: i64 = 2;
const COMMITS: i64 = 40;
const KEYS: i64 = 5;

/// Commit `number` of a writer: some keys written, one deleted.
fn rows(fields: usize, writer: i64, number: i64) -> Vec<Row> {
    (0..3)
        .map(|row| {
            let mut values = vec![Scalar::Null; fields];
            values[0] = Scalar::Int((number * 3 + row + writer) % KEYS);
            let operation = if row == 2 && number % 2 == 0 { Operation::Delete } else { Operation::Write };
            if operation == Operation::Write {
                values[1] = Scalar::Text(format!("writer {writer}").into());
                values[3] = Scalar::Int(number * 10 + row);
            }
            Row { ordinal: row as u64 + 1, operation, values, bytes: 1 }
        })
        .collect()
}

/// A lake with one entity.
async fn lake(config: LakeConfig) -> (Lake, Arc<ElementLayout>) {
    let lake = Lake::open(config, SystemClock::shared()).await.unwrap();
    let element = sensors(ElementKind::Entity);
    let layout =
        ElementLayout { element: element.id, kind: element.kind, schema_id: element.schema_id, schema: element.schema };
    lake.register(layout.clone()).await.unwrap();
    (lake, Arc::new(layout))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_of_one_element_lose_no_change_and_every_image_before_is_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = LakeConfig::new(folder.path().join("lake"));
    // The log is rolled, merged and cut short under them.
    (config.roll_bytes, config.compact_files, config.recent_bytes) = (1, 2, 0);
    let (lake, layout) = lake(config).await;
    let stop = CancellationToken::new();
    let rolling = tokio::spawn({
        let (lake, stop) = (lake.clone(), stop.clone());
        async move {
            let writer = LakeWriter::new(lake);
            while !stop.is_cancelled() {
                writer.run_once(&stop).await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    });
    let fields = layout.schema.fields.len();
    let writers = (0..WRITERS).map(|number| {
        let file = folder.path().join(format!("{number}.db"));
        let writer = Writer::new(lake.clone(), Arc::clone(&layout), file);
        tokio::spawn(async move {
            for commit in 0..COMMITS {
                writer.write(&rows(fields, number, commit), Vec::new(), |_, _| Ok(Vec::new())).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    stop.cancel();
    rolling.await.unwrap();

    let mut present: HashMap<Key, Vec<Scalar>> = HashMap::new();
    let (mut at, head) = (0, lake.log().head(layout.element));
    let mut by_writer = HashMap::<String, i64>::new();
    while at < head {
        for batch in lake.read(layout.element, at, 1 << 20).await.unwrap() {
            assert_eq!(batch.first, at + 1, "offsets are contiguous");
            at = batch.last;
            let after = rows_of(&layout.schema, &batch.batch).unwrap();
            let before = batch.batch.column_by_name(BEFORE).unwrap().as_struct().clone();
            let images = rows_of(&layout.schema, &RecordBatch::from(without_nulls(&before))).unwrap();
            let operations = batch.batch.column_by_name(OP).unwrap().as_string::<i32>().clone();
            for (index, row) in after.into_iter().enumerate() {
                let key = Key(format!("{:?}", row[0]));
                let image = before.is_valid(index).then(|| images[index].clone());
                assert_eq!(image.as_ref(), present.get(&key), "{key:?} at {}", batch.first + index as u64);
                match operations.value(index) {
                    "delete" => drop(present.remove(&key)),
                    _ => {
                        if let Scalar::Text(writer) = &row[1] {
                            *by_writer.entry(writer.to_string()).or_default() += 1;
                        }
                        present.insert(key, row);
                    }
                }
            }
        }
    }
    assert!(head > 100 && by_writer.len() == WRITERS as usize, "{head} {by_writer:?}");
}

#[tokio::test]
async fn making_images_anew_can_be_given_up_and_goes_on_where_it_stood() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = LakeConfig::new(folder.path().join("lake"));
    // All is read from the file.
    config.recent_bytes = 0;
    let (lake, layout) = lake(config).await;
    let writer = Writer::new(lake.clone(), Arc::clone(&layout), folder.path().join("first.db"));
    // Several times what is read at once.
    for number in 0..8 {
        let mut rows = rows(layout.schema.fields.len(), 0, number);
        rows.iter_mut().for_each(|row| row.values[1] = Scalar::Text(number.to_string().repeat(1 << 20).into()));
        writer.write(&rows, Vec::new(), |_, _| Ok(Vec::new())).await.unwrap();
    }
    let (file, head) = (folder.path().join("second.db"), lake.log().head(layout.element));
    let anew = Writer::new(lake.clone(), Arc::clone(&layout), file.clone());
    let position = || Projection::open(&file).unwrap().position().unwrap().0;
    {
        let mut making = std::pin::pin!(anew.prepare());
        while position() == 0 {
            assert!(futures::poll!(making.as_mut()).is_pending(), "all was read at once");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let stood = position();
    assert!(stood < head, "{stood} of {head}");
    anew.prepare().await.unwrap();
    assert_eq!(position(), head);
    anew.write(&rows(layout.schema.fields.len(), 1, 1), Vec::new(), |_, _| Ok(Vec::new())).await.unwrap();
    assert!(lake.log().head(layout.element) > head);
}

/// A key, comparable.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key(String);

/// The columns of a struct, whatever its own nulls say.
fn without_nulls(column: &arrow::array::StructArray) -> arrow::array::StructArray {
    let (fields, columns, _) = column.clone().into_parts();
    arrow::array::StructArray::new(fields, columns, None)
}
