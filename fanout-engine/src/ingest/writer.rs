//! The one writer of an element: turns conformed rows into changes with before- and after-images
//! and appends them to the log.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanBufferBuilder, RecordBatch, StringArray, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::Fields;
use headgate_lake::{ElementLayout, Lake, LakeError, NewCommit, OP, Position, declared_fields};
use tokio::sync::Mutex;

use crate::conform::{Operation, Row, Scalar, declared_batch, decode_row, encode_row, rows_of};
use crate::error::EngineFault;
use crate::projection::Projection;

/// Bytes read at once while a projection catches up.
const CATCH_UP_BYTES: usize = 8 << 20;

/// Writes one element. There is one per element and process; a second process loses the race for
/// the log's head and starts over.
#[derive(Debug)]
pub struct Writer {
    lake: Lake,
    layout: Arc<ElementLayout>,
    file: PathBuf,
    projection: Mutex<Option<Projection>>,
}

/// A change to be logged.
struct Change<'r> {
    /// `insert`, `update` or `delete`.
    operation: &'static str,
    /// The row afterwards; of a delete only the key.
    after: Cow<'r, [Scalar]>,
    /// The row before, if there was one.
    before: Option<Vec<Scalar>>,
}

impl Writer {
    /// A writer whose projection is in `file`.
    pub fn new(lake: Lake, layout: Arc<ElementLayout>, file: PathBuf) -> Self {
        Self { lake, layout, file, projection: Mutex::new(None) }
    }

    /// The element as this writer knows it.
    pub fn layout(&self) -> &ElementLayout {
        &self.layout
    }

    /// Brings the images that [`Writer::write`] needs to the end of the log. That takes long when they are made anew; it
    /// may be given up at any time, and goes on where it stood.
    ///
    /// # Errors
    /// When the log or the projection fails.
    pub async fn prepare(&self) -> Result<(), EngineFault> {
        if self.layout.is_keyed() {
            let mut projection = self.projection.lock().await;
            self.catch_up(&mut projection, self.lake.log().head(self.layout.element)).await?;
        }
        Ok(())
    }

    /// Appends rows in order. `side` is told the offset before the batch and, per row, whether the
    /// row is logged, and makes what goes beside the records.
    ///
    /// # Errors
    /// When the log or the projection fails; the log holds all of the batch or nothing.
    pub async fn write(
        &self,
        rows: &[Row],
        positions: Vec<Position>,
        side: impl Fn(u64, &[bool]) -> Result<Vec<Vec<u8>>, EngineFault>,
    ) -> Result<(), EngineFault> {
        let mut projection = self.projection.lock().await;
        loop {
            let head = self.lake.log().head(self.layout.element);
            let changes = if self.layout.is_keyed() {
                self.catch_up(&mut projection, head).await?;
                self.changes(projection.as_ref(), rows)?
            } else {
                rows.iter()
                    .map(|row| Some(Change { operation: "insert", after: Cow::Borrowed(&row.values), before: None }))
                    .collect()
            };
            let logged: Vec<bool> = changes.iter().map(Option::is_some).collect();
            let changes: Vec<_> = changes.into_iter().flatten().collect();
            let commit = NewCommit {
                element: self.layout.element,
                expected_head: head,
                schema_id: self.layout.schema_id,
                batch: self.batch(&changes)?,
                positions: positions.clone(),
                side: side(head, &logged)?,
            };
            match self.lake.log().append(commit).await {
                Ok(appended) => {
                    if self.layout.is_keyed() {
                        self.project(&mut projection, &changes, appended.last)?;
                    }
                    return Ok(());
                }
                // Another process wrote in between: its rows are part of the images now.
                Err(LakeError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Brings the projection to the log's head. One that reflects records the log has lost is made
    /// anew: against it, a record that is sent again would change nothing and be dropped.
    async fn catch_up(&self, held: &mut Option<Projection>, head: u64) -> Result<(), EngineFault> {
        let projection = match held {
            Some(projection) => projection,
            None => held.insert(Projection::open(&self.file)?),
        };
        let element = self.layout.element;
        let (mut position, epoch) = projection.position()?;
        if self.lake.log().standing(element, position) != Some(epoch) {
            tracing::warn!(%element, position, epoch, head, "a projection reflects what its log does not hold; it is made anew");
            projection.clear()?;
            position = 0;
        }
        while position < head {
            let batches = self.lake.read(element, position, CATCH_UP_BYTES).await?;
            if batches.is_empty() {
                // What is left up to the head are offsets that were lost.
                projection.apply(&[], head, self.epoch(head))?;
                return Ok(());
            }
            for batch in batches {
                let rows = rows_of(&self.layout.schema, &batch.batch)?;
                let operations = batch.batch.column_by_name(OP).and_then(|c| c.as_any().downcast_ref::<StringArray>());
                let operations =
                    operations.ok_or_else(|| EngineFault::Invariant("a batch without operations".into()))?;
                let changes: Vec<_> = rows
                    .into_iter()
                    .zip(operations.iter())
                    .map(|(row, operation)| {
                        let kept = (operation != Some("delete")).then(|| encode_row(&row));
                        (self.key(&row), kept)
                    })
                    .collect();
                projection.apply(&changes, batch.last, self.epoch(batch.last))?;
                position = batch.last;
            }
        }
        Ok(())
    }

    /// The epoch in which the projection stands at an offset the log holds.
    fn epoch(&self, offset: u64) -> u32 {
        self.lake.log().standing(self.layout.element, offset).unwrap_or(0)
    }

    fn project(&self, held: &mut Option<Projection>, changes: &[Change<'_>], to: u64) -> Result<(), EngineFault> {
        let encoded: Vec<_> = changes
            .iter()
            .map(|change| {
                (self.key(&change.after), (change.operation != "delete").then(|| encode_row(change.after.iter())))
            })
            .collect();
        let applied = held.as_mut().map_or(Ok(()), |projection| projection.apply(&encoded, to, self.epoch(to)));
        headgate_types::reach(headgate_types::Failpoint::ProjectionMoved);
        if let Err(error) = applied {
            // The commit stands. The next batch opens the file again and catches up.
            *held = None;
            tracing::warn!(element = %self.layout.element, %error, "failed to bring a projection up to date");
        }
        Ok(())
    }

    /// What each row changes, given what the rows before it in the batch did.
    fn changes<'r>(
        &self,
        projection: Option<&Projection>,
        rows: &'r [Row],
    ) -> Result<Vec<Option<Change<'r>>>, EngineFault> {
        let keys: Vec<Vec<u8>> = rows.iter().map(|row| self.key(&row.values)).collect();
        let mut current: HashMap<Vec<u8>, Option<Cow<'r, [Scalar]>>> = HashMap::new();
        if let Some(projection) = projection {
            for (key, row) in projection.get(keys.iter().map(Vec::as_slice))? {
                let mut values =
                    decode_row(&row).ok_or_else(|| EngineFault::Invariant("a projected row cannot be read".into()))?;
                // Rows of an older schema lack the columns that were added since.
                values.resize(self.layout.schema.fields.len(), Scalar::Null);
                current.insert(key, Some(Cow::Owned(values)));
            }
        }
        let mut changes = Vec::with_capacity(rows.len());
        for (row, key) in rows.iter().zip(keys) {
            let before = current.get(&key).cloned().flatten();
            changes.push(match (row.operation, before) {
                (Operation::Write, Some(before)) if *before == *row.values => None,
                (Operation::Delete, None) => None,
                (Operation::Write, before) => {
                    let operation = if before.is_some() { "update" } else { "insert" };
                    current.insert(key, Some(Cow::Borrowed(&row.values)));
                    Some(Change { operation, after: Cow::Borrowed(&row.values), before: before.map(Cow::into_owned) })
                }
                (Operation::Delete, Some(before)) => {
                    current.insert(key, None);
                    let after = Cow::Owned(self.key_only(&row.values));
                    Some(Change { operation: "delete", after, before: Some(before.into_owned()) })
                }
            });
        }
        Ok(changes)
    }

    fn key(&self, values: &[Scalar]) -> Vec<u8> {
        encode_row(self.layout.key_indices().into_iter().filter_map(|index| values.get(index)))
    }

    fn key_only(&self, values: &[Scalar]) -> Vec<Scalar> {
        let fields = self.layout.schema.fields.iter().enumerate();
        fields
            .map(
                |(index, field)| {
                    if field.key { values.get(index).cloned().unwrap_or(Scalar::Null) } else { Scalar::Null }
                },
            )
            .collect()
    }

    /// The columns of the log.
    fn batch(&self, changes: &[Change<'_>]) -> Result<RecordBatch, EngineFault> {
        let schema = &self.layout.schema;
        let mut columns: Vec<ArrayRef> = declared_batch(schema, changes.iter().map(|change| Some(&*change.after)))?;
        columns.push(Arc::new(StringArray::from_iter_values(changes.iter().map(|change| change.operation))));
        if self.layout.is_keyed() {
            let before = declared_batch(schema, changes.iter().map(|change| change.before.as_deref()))?;
            let mut present = BooleanBufferBuilder::new(changes.len());
            changes.iter().for_each(|change| present.append(change.before.is_some()));
            let nulls = NullBuffer::new(present.finish());
            columns.push(Arc::new(StructArray::try_new(Fields::from(declared_fields(schema)), before, Some(nulls))?));
        }
        Ok(RecordBatch::try_new(self.layout.log_schema(), columns)?)
    }
}
