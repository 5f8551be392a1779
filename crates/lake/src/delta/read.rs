//! Reading a table's files, batch by batch and off the runtime's threads.

use std::fs::File;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::arrow_reader::{
    ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};

use crate::error::{LakeError, Result};
use crate::layout::adapt;

const BATCH_ROWS: usize = 8 << 10;

/// An open file.
pub(crate) struct FileReader {
    reader: Option<ParquetRecordBatchReader>,
    schema: SchemaRef,
}

impl FileReader {
    /// Opens the file at its row `skip`; batches get the columns of `schema`.
    pub(crate) async fn open(path: &Path, skip: usize, take: Option<usize>, schema: &SchemaRef) -> Result<Self> {
        let path = path.to_owned();
        let reader = tokio::task::spawn_blocking(move || -> Result<_> {
            let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(&path)?)?;
            let rows = usize::try_from(builder.metadata().file_metadata().num_rows())
                .map_err(|_| LakeError::Damaged(format!("{} has no row count", path.display())))?;
            let skip = skip.min(rows);
            let take = take.unwrap_or(rows).min(rows - skip);
            let rest = rows - skip - take;
            let selection =
                RowSelection::from(vec![RowSelector::skip(skip), RowSelector::select(take), RowSelector::skip(rest)]);
            Ok(builder.with_batch_size(BATCH_ROWS).with_row_selection(selection).build()?)
        })
        .await??;
        Ok(Self { reader: Some(reader), schema: schema.clone() })
    }

    /// The next records; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let Some(mut reader) = self.reader.take() else { return Ok(None) };
        let (batch, reader) = tokio::task::spawn_blocking(move || (reader.next(), reader)).await?;
        match batch {
            None => Ok(None),
            Some(batch) => {
                self.reader = Some(reader);
                adapt(&batch?, &self.schema).map(Some)
            }
        }
    }
}
