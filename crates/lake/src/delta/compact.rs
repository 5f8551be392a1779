//! Merging small adjacent files of the table of changes (DATA-PLANE rule 13). The merged file
//! covers exactly the offsets of those it replaces, so a reader by offset is right at any version.

use headgate_types::ElementId;

use super::data_file::{DataFile, FileEncoder, offsets};
use super::read::FileReader;
use super::table::Commit;
use crate::error::{LakeError, Result};
use crate::lake::Inner;

/// Files up to this size are one size class; each further class is `compact_files` times larger.
const SMALLEST_CLASS: u64 = 64 << 10;

impl Inner {
    /// Merges runs of small files until there is none; returns how many runs.
    pub(crate) async fn compact(&self, element: ElementId) -> Result<u32> {
        let tables = self.tables(element).await?;
        let _writing = tables.writing.lock().await;
        let mut merged = 0;
        loop {
            let state = tables.changes.state();
            let Some(run) = next_run(&state.files, self.config.compact_files, self.config.file_bytes) else { break };
            let schema = self.log().layout(element)?.arrow_schema();
            let mut encoder = FileEncoder::new(&schema)?;
            for file in &run {
                let mut reader = FileReader::open(&tables.changes.path(file), 0, None, &schema).await?;
                let mut next = file.first;
                while let Some(batch) = reader.next().await? {
                    let offsets = offsets(&batch)?;
                    let (Some(first), Some(last)) = (offsets.first(), offsets.last()) else { continue };
                    if *first as u64 != next {
                        return Err(LakeError::Damaged(format!("{} misses offset {next}", file.path)));
                    }
                    let (first, last) = (*first as u64, *last as u64);
                    next = last + 1;
                    encoder = tokio::task::spawn_blocking(move || encoder.write(&batch, first, last).map(|()| encoder))
                        .await??;
                }
                if next != file.last + 1 {
                    return Err(LakeError::Damaged(format!("{} ends at offset {}", file.path, next - 1)));
                }
            }
            let encoded = tokio::task::spawn_blocking(move || encoder.finish()).await??;
            let stored = tables.changes.store(encoded).await?;
            tables
                .changes
                .commit(Commit {
                    operation: "OPTIMIZE",
                    mode: None,
                    add: vec![stored],
                    remove: run,
                    txn: None,
                    data_change: false,
                    schema,
                })
                .await?;
            headgate_types::reach(headgate_types::Failpoint::TableCompacted);
            merged += 1;
        }
        if merged > 0 {
            tables.changes.vacuum().await?;
        }
        Ok(merged)
    }
}

/// The first run of at least `fan_in` adjacent files of one size class or smaller, by class from
/// the smallest up. Every record is thereby rewritten once per class, not once per roll.
fn next_run(files: &[DataFile], fan_in: usize, target: u64) -> Option<Vec<DataFile>> {
    let fan_in = fan_in.max(2);
    let mut class = SMALLEST_CLASS;
    while class <= target {
        let mut run: Vec<DataFile> = Vec::new();
        let mut bytes = 0;
        for file in files {
            let follows = run.last().is_none_or(|newest| newest.last + 1 == file.first);
            let fits = file.bytes <= class && bytes + file.bytes <= target;
            if !(follows && fits) {
                if run.len() >= fan_in {
                    return Some(run);
                }
                run.clear();
                bytes = 0;
            }
            if file.bytes <= class {
                bytes += file.bytes;
                run.push(file.clone());
            }
        }
        if run.len() >= fan_in {
            return Some(run);
        }
        class = class.saturating_mul(fan_in as u64);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(first: u64, last: u64, bytes: u64) -> DataFile {
        DataFile { path: format!("{first}-{last}-x.parquet"), bytes, records: last - first + 1, first, last }
    }

    #[test]
    fn small_neighbours_are_merged_and_large_files_left_alone() {
        let small = |n: u64| file(n, n, 1_000);
        let mut files: Vec<_> = (1..=7).map(small).collect();
        assert_eq!(next_run(&files, 8, 64 << 20), None);
        files.push(small(8));
        assert_eq!(next_run(&files, 8, 64 << 20).unwrap().len(), 8);
        files.insert(0, file(0, 0, 64 << 20));
        assert_eq!(next_run(&files, 8, 64 << 20).unwrap().len(), 8);
    }

    proptest! {
        #[test]
        fn a_run_is_adjacent_bounded_and_ends(
            sizes in prop::collection::vec((1..5_u64, 1..40_000_000_u64, any::<bool>()), 0..60),
        ) {
            let target = 64 << 20;
            let mut at = 0;
            let mut files: Vec<DataFile> = sizes.into_iter().map(|(count, bytes, gap)| {
                let first = at + 1 + u64::from(gap);
                at = first + count - 1;
                file(first, at, bytes)
            }).collect();
            let mut rounds = 0;
            while let Some(run) = next_run(&files, 4, target) {
                prop_assert!(run.len() >= 4);
                prop_assert!(run.windows(2).all(|pair| pair[0].last + 1 == pair[1].first));
                let bytes: u64 = run.iter().map(|file| file.bytes).sum();
                prop_assert!(bytes <= target);
                let merged = file(run[0].first, run[run.len() - 1].last, bytes);
                files.retain(|file| !run.contains(file));
                files.push(merged);
                files.sort_by_key(|file| file.first);
                rounds += 1;
                prop_assert!(rounds < 100);
            }
        }
    }
}
