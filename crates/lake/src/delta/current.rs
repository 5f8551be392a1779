//! The table of live rows (DATA-PLANE rule 14). Its rows stay in the order of their offsets, so
//! a history read from it moves a cursor like any other read, and can be broken off and resumed.
//! Files no changed key lies in are kept; the others are written anew without the changed rows.

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use headgate_types::ElementId;

use super::data_file::{DataFile, FileEncoder, Stored, offsets};
use super::read::FileReader;
use super::table::{Commit, Table};
use crate::error::Result;
use crate::keys::ChangedKeys;
use crate::lake::{Inner, Lake};
use crate::layout::{ElementLayout, adapt};

impl Inner {
    /// Brings the table of live rows up to the table of changes when enough has changed since, or
    /// when `force` asks for it; returns whether it was written.
    pub(crate) async fn refresh_current(self: &std::sync::Arc<Self>, element: ElementId, force: bool) -> Result<bool> {
        let tables = self.tables(element).await?;
        let Some(current) = &tables.current else { return Ok(false) };
        let _writing = tables.writing.lock().await;
        let state = current.state();
        let (from, to) = (state.txn, tables.changes.state().txn);
        let threshold = state.records() as f64 * self.config.current_rewrite_ratio;
        if from >= to || (!force && ((to - from) as f64) < threshold) {
            return Ok(false);
        }
        let lake = Lake::from_inner(self);
        let layout = self.log().layout(element)?;
        let mut keys = ChangedKeys::new(&layout)?;
        let mut changes = std::pin::pin!(lake.scan(element, from, to));
        while let Some(batch) = changes.try_next().await? {
            keys.observe(&batch.batch)?;
        }
        let mut output = Output::new(current, &layout, self.config.file_bytes);
        let mut replaced = Vec::new();
        for file in &state.files {
            let kept = file.bytes >= self.config.file_bytes / 8 && !touches(current, file, &layout, &keys).await?;
            if kept {
                // What comes before it in offset order must not end up in a file behind it.
                output.close().await?;
                continue;
            }
            let mut reader = FileReader::open(&current.path(file), 0, None, &layout.current_schema()).await?;
            while let Some(batch) = reader.next().await? {
                output.write(keys.unchanged(&batch)?).await?;
            }
            replaced.push(file.clone());
        }
        let mut changes = std::pin::pin!(lake.scan(element, from, to));
        while let Some(batch) = changes.try_next().await? {
            output.write(adapt(&keys.live(&batch.batch)?, &layout.current_schema())?).await?;
        }
        output.close().await?;
        current
            .commit(Commit {
                operation: "WRITE",
                mode: Some("Overwrite"),
                add: output.finished,
                remove: replaced,
                txn: Some((from, to)),
                data_change: true,
                schema: layout.current_schema(),
            })
            .await?;
        headgate_types::reach(headgate_types::Failpoint::CurrentWritten);
        current.vacuum().await?;
        Ok(true)
    }
}

async fn touches(current: &Table, file: &DataFile, layout: &ElementLayout, keys: &ChangedKeys) -> Result<bool> {
    let mut reader = FileReader::open(&current.path(file), 0, None, &layout.current_schema()).await?;
    while let Some(batch) = reader.next().await? {
        if keys.unchanged(&batch)?.num_rows() < batch.num_rows() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Rows in offset order, cut into files.
struct Output<'a> {
    table: &'a Table,
    layout: &'a ElementLayout,
    file_bytes: u64,
    open: Option<FileEncoder>,
    finished: Vec<Stored>,
}

impl<'a> Output<'a> {
    fn new(table: &'a Table, layout: &'a ElementLayout, file_bytes: u64) -> Self {
        Self { table, layout, file_bytes, open: None, finished: Vec::new() }
    }

    async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        let offsets = offsets(&batch)?;
        let (Some(first), Some(last)) = (offsets.first().copied(), offsets.last().copied()) else { return Ok(()) };
        let mut encoder = match self.open.take() {
            Some(encoder) => encoder,
            None => FileEncoder::new(&self.layout.current_schema())?,
        };
        encoder =
            tokio::task::spawn_blocking(move || encoder.write(&batch, first as u64, last as u64).map(|()| encoder))
                .await??;
        let is_full = encoder.bytes() >= self.file_bytes;
        self.open = Some(encoder);
        if is_full {
            self.close().await?;
        }
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        if let Some(encoder) = self.open.take().filter(|encoder| encoder.records() > 0) {
            let encoded = tokio::task::spawn_blocking(move || encoder.finish()).await??;
            self.finished.push(self.table.store(encoded).await?);
        }
        Ok(())
    }
}
