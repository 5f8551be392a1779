//! One way to read a range, wherever it lies (DATA-PLANE rule 15).

use std::collections::VecDeque;
use std::sync::Arc;

use futures::Stream;
use headgate_types::ElementId;

use crate::batch::{LakeBatch, newest_time};
use crate::delta::{FileReader, Tables, offsets};
use crate::error::{LakeError, Result};
use crate::lake::{Inner, Lake};
use crate::layout::{ElementLayout, adapt};

/// What a step takes from the log at once.
const LOG_BYTES: usize = 4 << 20;

/// A range being read. Every batch is proved to follow the one before it; which of log and table
/// it came from may change at any point, because the writer moves records from one to the other
/// while the scan goes on.
pub(crate) struct Scan {
    inner: Arc<Inner>,
    element: ElementId,
    layout: Option<Arc<ElementLayout>>,
    tables: Option<Arc<Tables>>,
    at: u64,
    to: u64,
    ready: VecDeque<Arc<LakeBatch>>,
    open: Option<FileReader>,
}

impl Scan {
    pub(crate) fn new(inner: &Arc<Inner>, element: ElementId, after: u64, to: u64) -> Self {
        Self {
            inner: Arc::clone(inner),
            element,
            layout: None,
            tables: None,
            at: after,
            to: to.min(inner.log().head(element)),
            ready: VecDeque::new(),
            open: None,
        }
    }

    /// The next records; `None` when the range is exhausted.
    pub(crate) async fn next(&mut self) -> Result<Option<Arc<LakeBatch>>> {
        let layout = match &self.layout {
            Some(layout) => Arc::clone(layout),
            None => Arc::clone(self.layout.insert(self.inner.log().layout(self.element)?)),
        };
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return self.accept(batch, &layout).map(Some);
            }
            if self.at >= self.to {
                return Ok(None);
            }
            if let Some(batch) = self.next_of_file(&layout).await? {
                return self.accept(batch, &layout).map(Some);
            }
            match self.inner.log().read(self.element, self.at, LOG_BYTES).await {
                Ok(batches) => {
                    let (at, to) = (self.at, self.to);
                    self.ready.extend(batches.iter().filter_map(|batch| batch.between(at, to)));
                    if self.ready.is_empty() {
                        return Ok(None);
                    }
                }
                Err(LakeError::BelowLog { .. }) => self.open_file(&layout).await?,
                Err(error) => return Err(error),
            }
        }
    }

    fn accept(&mut self, batch: Arc<LakeBatch>, layout: &ElementLayout) -> Result<Arc<LakeBatch>> {
        if batch.first != self.at + 1 || batch.last < batch.first {
            return Err(LakeError::Damaged(format!(
                "the records of {} after {} are followed by {}..={}",
                self.element, self.at, batch.first, batch.last
            )));
        }
        self.at = batch.last;
        if batch.schema_id == layout.schema_id {
            return Ok(batch);
        }
        let adapted = adapt(&batch.batch, &layout.arrow_schema())?;
        Ok(Arc::new(LakeBatch { schema_id: layout.schema_id, batch: adapted, ..LakeBatch::clone(&batch) }))
    }

    /// Opens the file that holds the next record. The writer commits to the table, then truncates
    /// the log; so a record the log no longer has is in the table as it is now.
    async fn open_file(&mut self, layout: &ElementLayout) -> Result<()> {
        let tables = match &self.tables {
            Some(tables) => Arc::clone(tables),
            None => Arc::clone(self.tables.insert(self.inner.tables(self.element).await?)),
        };
        loop {
            let state = tables.changes.state();
            let Some(file) = state.covering(self.at + 1) else {
                if let Some(beyond) = self.inner.log().beyond_gap(self.element, self.at) {
                    self.at = beyond;
                    return Ok(());
                }
                let floor = state.floor().unwrap_or(state.txn + 1);
                if floor > self.at + 1 {
                    return Err(LakeError::Resync { element: self.element, floor });
                }
                // Rolled and truncated between the two looks, or really missing.
                if self.inner.log().extent(self.element)?.floor <= self.at + 1 {
                    return Ok(());
                }
                if tables.changes.state().version != state.version {
                    continue;
                }
                return Err(LakeError::Damaged(format!("offset {} of {} is nowhere", self.at + 1, self.element)));
            };
            if file.records != file.last - file.first + 1 {
                return Err(LakeError::Damaged(format!("{} does not hold its whole range", file.path)));
            }
            let skip = (self.at + 1 - file.first) as usize;
            let take = (self.to.min(file.last) - self.at) as usize;
            let path = tables.changes.path(file);
            match FileReader::open(&path, skip, Some(take), &layout.arrow_schema()).await {
                Ok(reader) => {
                    self.open = Some(reader);
                    return Ok(());
                }
                // Compacted and vacuumed since: the newer version has the same records elsewhere.
                Err(LakeError::Io(error))
                    if error.kind() == std::io::ErrorKind::NotFound
                        && tables.changes.state().version != state.version => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn next_of_file(&mut self, layout: &ElementLayout) -> Result<Option<Arc<LakeBatch>>> {
        let Some(reader) = &mut self.open else { return Ok(None) };
        let Some(batch) = reader.next().await? else {
            self.open = None;
            return Ok(None);
        };
        let numbers = offsets(&batch)?;
        let (Some(first), Some(last)) = (numbers.first().copied(), numbers.last().copied()) else { return Ok(None) };
        if last - first + 1 != numbers.len() as i64 {
            return Err(LakeError::Damaged(format!("a file of {} skips offsets", self.element)));
        }
        let (first, last) = (first as u64, last as u64);
        Ok(Some(Arc::new(LakeBatch {
            element: self.element,
            epoch: self.inner.log().epoch_of(self.element, first),
            first,
            last,
            schema_id: layout.schema_id,
            committed_at: newest_time(&batch),
            batch,
        })))
    }
}

impl Lake {
    /// The records `(after, to]` of an element, oldest first, each offset once, from the table and
    /// the log as they hold them; columns and `schema_id` are those of the newest schema. `to`
    /// is cut to the head. The writer may roll, compact and truncate meanwhile.
    ///
    /// # Errors
    /// [`LakeError::Resync`] when retention has removed records after `after`.
    pub fn scan(
        &self,
        element: ElementId,
        after: u64,
        to: u64,
    ) -> impl Stream<Item = Result<Arc<LakeBatch>>> + Send + 'static {
        let scan = Scan::new(&self.inner, element, after, to);
        futures::stream::try_unfold(scan, |mut scan| async move { Ok(scan.next().await?.map(|batch| (batch, scan))) })
    }

    /// Records after offset `after`, about `max_bytes` of them and at least one batch if there is
    /// any: [`Lake::scan`] for a reader that keeps a cursor and comes back.
    ///
    /// # Errors
    /// As [`Lake::scan`].
    pub async fn read(&self, element: ElementId, after: u64, max_bytes: usize) -> Result<Vec<Arc<LakeBatch>>> {
        let mut scan = Scan::new(&self.inner, element, after, u64::MAX);
        let mut batches = Vec::new();
        let mut bytes = 0;
        while bytes < max_bytes
            && let Some(batch) = scan.next().await?
        {
            bytes += batch.memory();
            batches.push(batch);
        }
        Ok(batches)
    }
}
