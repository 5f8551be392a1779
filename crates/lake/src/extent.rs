//! What the lake holds of an element, and how its oldest part goes.

use chrono::{DateTime, Utc};
use headgate_types::ElementId;

use crate::delta::Commit;
use crate::error::Result;
use crate::lake::Lake;

/// What the lake holds of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The first offset that can be read; `head + 1` when there is none.
    pub floor: u64,
    /// The newest offset.
    pub head: u64,
    /// The newest offset in the table of changes.
    pub rolled: u64,
    /// Records from `floor` to `head`.
    pub records: u64,
    /// Bytes of all files of the tables.
    pub table_bytes: u64,
    /// Bytes in the log.
    pub log_bytes: u64,
    /// Live rows of a keyed element, and the offset at which they were counted.
    pub live: Option<(u64, u64)>,
    /// When the newest record was committed; `None` when the log holds none.
    pub newest_at: Option<DateTime<Utc>>,
}

impl Lake {
    /// What the lake holds of an element. Reads no records.
    ///
    /// # Errors
    /// The element is unknown, or its tables cannot be opened.
    pub async fn extent(&self, element: ElementId) -> Result<Extent> {
        let tables = self.inner.tables(element).await?;
        let log = self.log().extent(element)?;
        let changes = tables.changes.state();
        let current = tables.current.as_ref().map(crate::delta::Table::state);
        let bytes = |files: &[crate::delta::DataFile]| files.iter().map(|file| file.bytes).sum::<u64>();
        let in_table = changes.records();
        let unrolled = log.head.saturating_sub(changes.txn);
        Ok(Extent {
            floor: changes.floor().unwrap_or(log.floor).min(log.floor),
            head: log.head,
            rolled: changes.txn,
            records: in_table + unrolled,
            table_bytes: bytes(&changes.files) + current.as_ref().map_or(0, |current| bytes(&current.files)),
            log_bytes: log.bytes,
            live: current.map(|current| (current.records(), current.txn)),
            newest_at: log.newest_at,
        })
    }

    /// Gives up records before offset `below`, as far as whole files go (DATA-PLANE rule 16). Of
    /// a keyed element only changes that its `current` table includes are given up, so that its
    /// live rows stay whole. A reader behind the new floor hears [`crate::LakeError::Resync`].
    ///
    /// # Errors
    /// The table cannot be written.
    pub async fn cut(&self, element: ElementId, below: u64) -> Result<u64> {
        let tables = self.inner.tables(element).await?;
        let _writing = tables.writing.lock().await;
        let changes = tables.changes.state();
        let below = tables.current.as_ref().map_or(below, |current| below.min(current.state().txn + 1));
        let remove: Vec<_> = changes.files.iter().take_while(|file| file.last < below).cloned().collect();
        if remove.is_empty() {
            return Ok(changes.floor().unwrap_or(1));
        }
        let schema = self.log().layout(element)?.arrow_schema();
        let cut =
            Commit { operation: "DELETE", mode: None, add: Vec::new(), remove, txn: None, data_change: true, schema };
        let state = tables.changes.commit(cut).await?;
        Ok(state.floor().unwrap_or(state.txn + 1))
    }
}
