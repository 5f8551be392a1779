//! An element as it was at an offset: the history a new channel starts with (DATA-PLANE rule 14).

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, new_null_array};
use futures::Stream;
use headgate_types::ElementId;

use crate::batch::LakeBatch;
use crate::delta::{FileReader, TableState, Tables, offsets};
use crate::error::Result;
use crate::keys::ChangedKeys;
use crate::lake::{Inner, Lake};
use crate::layout::{BEFORE, ElementLayout, OP, adapt};
use crate::scan::Scan;

/// The live rows of a keyed element: those of the `current` table whose keys did not change since,
/// then the last change of each key that did.
struct Snapshot {
    inner: Arc<Inner>,
    element: ElementId,
    at: u64,
    /// Rows up to here have been covered.
    covered: u64,
    prepared: Option<Prepared>,
}

struct Prepared {
    layout: Arc<ElementLayout>,
    tables: Arc<Tables>,
    base: Arc<TableState>,
    keys: ChangedKeys,
    /// The next file of `base`.
    file: usize,
    open: Option<FileReader>,
    changes: Option<Scan>,
}

impl Snapshot {
    async fn prepare(&mut self) -> Result<()> {
        let layout = self.inner.log().layout(self.element)?;
        let tables = self.inner.tables(self.element).await?;
        // Absent when every remembered version is newer: then the changes tell it all.
        let base = tables.current.as_ref().and_then(|current| current.state_at(self.at)).unwrap_or_default();
        let mut keys = ChangedKeys::new(&layout)?;
        let mut changes = Scan::new(&self.inner, self.element, base.txn, self.at);
        while let Some(batch) = changes.next().await? {
            keys.observe(&batch.batch)?;
        }
        let file = base.files.partition_point(|file| file.last <= self.covered);
        self.prepared = Some(Prepared { layout, tables, base, keys, file, open: None, changes: None });
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Arc<LakeBatch>>> {
        if self.prepared.is_none() {
            self.prepare().await?;
        }
        while let Some((rows, first, last, source)) = self.step().await? {
            if rows.num_rows() == 0 {
                continue;
            }
            let batch = LakeBatch { first, last, batch: rows, ..source };
            self.covered = last;
            return Ok(Some(Arc::new(batch)));
        }
        Ok(None)
    }

    /// The next live rows, perhaps none of a stretch, with the range they stand for.
    async fn step(&mut self) -> Result<Option<(RecordBatch, u64, u64, LakeBatch)>> {
        let (covered, at) = (self.covered, self.at);
        let Some(prepared) = &mut self.prepared else { return Ok(None) };
        let layout = Arc::clone(&prepared.layout);
        if let Some((rows, last)) = prepared.next_unchanged(covered).await? {
            let source = LakeBatch {
                element: self.element,
                epoch: self.inner.log().epoch_of(self.element, last),
                first: 0,
                last,
                schema_id: layout.schema_id,
                committed_at: crate::batch::newest_time(&rows),
                batch: rows.clone(),
            };
            return Ok(Some((as_inserts(&rows, &layout)?, covered + 1, last, source)));
        }
        let from = prepared.base.txn.max(covered);
        let changes = prepared.changes.get_or_insert_with(|| Scan::new(&self.inner, self.element, from, at));
        let Some(batch) = changes.next().await? else { return Ok(None) };
        let live = adapt(&prepared.keys.live(&batch.batch)?, &layout.current_schema())?;
        Ok(Some((as_inserts(&live, &layout)?, covered + 1, batch.last, LakeBatch::clone(&batch))))
    }
}

impl Prepared {
    /// Rows of the `current` table after offset `after` whose keys did not change, and the last
    /// offset looked at; `None` at its end.
    async fn next_unchanged(&mut self, after: u64) -> Result<Option<(RecordBatch, u64)>> {
        let Some(current) = &self.tables.current else { return Ok(None) };
        loop {
            if let Some(reader) = &mut self.open {
                let Some(batch) = reader.next().await? else {
                    self.open = None;
                    continue;
                };
                let numbers = offsets(&batch)?;
                let Some(last) = numbers.last().copied() else { continue };
                let start = numbers.partition_point(|offset| *offset as u64 <= after);
                let rows = batch.slice(start, batch.num_rows() - start);
                if rows.num_rows() == 0 {
                    continue;
                }
                let rows = if self.keys.is_empty() { rows } else { self.keys.unchanged(&rows)? };
                return Ok(Some((rows, last as u64)));
            }
            let Some(file) = self.base.files.get(self.file) else { return Ok(None) };
            self.file += 1;
            let schema = self.layout.current_schema();
            self.open = Some(FileReader::open(&current.path(file), 0, None, &schema).await?);
        }
    }
}

/// Live rows in the columns of a [`LakeBatch`], as inserts.
fn as_inserts(rows: &RecordBatch, layout: &ElementLayout) -> Result<RecordBatch> {
    let schema = layout.arrow_schema();
    let count = rows.num_rows();
    let columns: Vec<ArrayRef> = schema
        .fields()
        .iter()
        .map(|field| match field.name().as_str() {
            OP => Arc::new(StringArray::from_iter_values(std::iter::repeat_n("insert", count))) as ArrayRef,
            BEFORE => new_null_array(field.data_type(), count),
            name => rows.column_by_name(name).cloned().unwrap_or_else(|| new_null_array(field.data_type(), count)),
        })
        .collect();
    Ok(RecordBatch::try_new(schema, columns)?)
}

impl Lake {
    /// The element as it was at offset `at`, without what lies up to offset `after`: for keyed
    /// elements the rows live at `at`, as inserts with the `_offset` of their last change and in
    /// that order; for events the records `(after, at]`.
    ///
    /// A reader broken off continues with the `last` of the batch it finished as `after`. Batches
    /// of keyed elements cover ranges that follow each other; what remains up to `at` after the
    /// last batch holds no live row.
    pub fn snapshot(
        &self,
        element: ElementId,
        at: u64,
        after: u64,
    ) -> impl Stream<Item = Result<Arc<LakeBatch>>> + Send + 'static {
        let at = at.min(self.log().head(element));
        let is_keyed = self.log().layout(element).is_ok_and(|layout| layout.is_keyed());
        let source = if is_keyed {
            Source::Keyed(Snapshot { inner: Arc::clone(&self.inner), element, at, covered: after, prepared: None })
        } else {
            Source::Events(Scan::new(&self.inner, element, after, at))
        };
        futures::stream::try_unfold(source, |mut source| async move {
            let batch = match &mut source {
                Source::Keyed(snapshot) => snapshot.next().await?,
                Source::Events(scan) => scan.next().await?,
            };
            Ok(batch.map(|batch| (batch, source)))
        })
    }
}

#[expect(clippy::large_enum_variant, reason = "one of them exists per stream")]
enum Source {
    Keyed(Snapshot),
    Events(Scan),
}
