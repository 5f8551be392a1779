//! Moving the log's tail into the table of changes.

use std::sync::Arc;

use headgate_types::ElementId;

use super::data_file::{Encoded, FileEncoder};
use super::table::Commit;
use crate::batch::LakeBatch;
use crate::error::{LakeError, Result};
use crate::lake::Inner;

/// What a step reads from the log at once.
const READ_BYTES: usize = 8 << 20;

impl Inner {
    /// Rolls everything the log holds beyond the table, then truncates the log below it. Returns
    /// how many Delta commits that took.
    pub(crate) async fn roll(&self, element: ElementId) -> Result<u32> {
        let tables = self.tables(element).await?;
        let _writing = tables.writing.lock().await;
        let head = self.log().head(element);
        let mut commits = 0;
        loop {
            let txn = tables.changes.state().txn;
            if txn >= head {
                break;
            }
            let Some(encoded) = self.next_file(element, txn, head).await? else { break };
            let stored = tables.changes.store(encoded).await?;
            let schema = self.log().layout(element)?.arrow_schema();
            tables
                .changes
                .commit(Commit {
                    operation: "WRITE",
                    mode: Some("Append"),
                    txn: Some((txn, stored.file.last)),
                    add: vec![stored],
                    remove: Vec::new(),
                    data_change: true,
                    schema,
                })
                .await?;
            commits += 1;
        }
        // Only now: everything below is synced in Delta.
        let rolled = tables.changes.state().txn;
        self.log().set_rolled(element, rolled);
        self.log().truncate(element, rolled + 1).await?;
        Ok(commits)
    }

    /// The next file after `txn`: one schema, one run of offsets, at most the file size.
    async fn next_file(&self, element: ElementId, txn: u64, head: u64) -> Result<Option<Encoded>> {
        let mut at = txn;
        let mut encoder: Option<(FileEncoder, Arc<LakeBatch>)> = None;
        while at < head {
            let batches = match self.log().read(element, at, READ_BYTES).await {
                Ok(batches) => batches,
                Err(LakeError::BelowLog { floor, .. }) => {
                    if encoder.is_some() {
                        break;
                    }
                    at = self.log().beyond_gap(element, at).ok_or_else(|| {
                        LakeError::Damaged(format!("the table of {element} ends at {at}, its log starts at {floor}"))
                    })?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let limit = self.config.file_bytes;
            let (next, reached, is_full) =
                tokio::task::spawn_blocking(move || fill(encoder, batches, at, head, limit)).await??;
            encoder = next;
            at = reached;
            if is_full {
                break;
            }
        }
        match encoder {
            Some((encoder, _)) => Ok(Some(tokio::task::spawn_blocking(move || encoder.finish()).await??)),
            None => Ok(None),
        }
    }
}

type Filling = Option<(FileEncoder, Arc<LakeBatch>)>;

/// Writes batches until the file is full or the next one has another schema or epoch.
fn fill(
    mut encoder: Filling,
    batches: Vec<Arc<LakeBatch>>,
    mut at: u64,
    head: u64,
    limit: u64,
) -> Result<(Filling, u64, bool)> {
    for batch in batches {
        let Some(batch) = batch.between(at, head) else { continue };
        if let Some((file, newest)) = &encoder
            && (newest.schema_id != batch.schema_id || newest.epoch != batch.epoch || file.bytes() >= limit)
        {
            return Ok((encoder, at, true));
        }
        let (file, newest) = match &mut encoder {
            Some(open) => (&mut open.0, &mut open.1),
            None => {
                let open = encoder.insert((FileEncoder::new(batch.batch.schema_ref())?, Arc::clone(&batch)));
                (&mut open.0, &mut open.1)
            }
        };
        file.write(&batch.batch, batch.first, batch.last)?;
        at = batch.last;
        *newest = batch;
    }
    Ok((encoder, at, false))
}
