use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, TryStreamExt};
use headgate_types::schema::{DataType, ElementKind, Field};
use headgate_types::{Coded, SchemaId, SystemClock};
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use crate::fixtures::{append_events, assert_tiles, changes, commit, ints, lake, layout, texts};
use crate::{BEFORE, ElementLayout, Lake, LakeBatch, LakeConfig, LakeError, LakeWriter, OFFSET, OP, Result};

async fn collect(stream: impl Stream<Item = Result<Arc<LakeBatch>>>) -> Vec<Arc<LakeBatch>> {
    stream.try_collect().await.unwrap()
}

async fn scanned(lake: &Lake, layout: &ElementLayout, after: u64, to: u64) -> Vec<Arc<LakeBatch>> {
    collect(lake.scan(layout.element, after, to)).await
}

/// Live rows as (offset, id, name).
async fn live(lake: &Lake, layout: &ElementLayout, at: u64, after: u64) -> Vec<(i64, i64, String)> {
    let mut rows = Vec::new();
    let mut covered = after;
    for batch in collect(lake.snapshot(layout.element, at, after)).await {
        assert_eq!(batch.first, covered + 1, "ranges of a snapshot follow each other");
        covered = batch.last;
        assert_eq!(batch.batch.schema(), layout.arrow_schema());
        assert!(texts(&batch.batch, OP).iter().all(|op| op == "insert"));
        assert_eq!(batch.batch.column_by_name(BEFORE).unwrap().null_count(), batch.batch.num_rows());
        let (offsets, ids, names) = (ints(&batch.batch, OFFSET), ints(&batch.batch, "id"), texts(&batch.batch, "name"));
        assert!(offsets.iter().all(|offset| (batch.first..=batch.last).contains(&(*offset as u64))));
        rows.extend(offsets.into_iter().zip(ids).zip(names).map(|((offset, id), name)| (offset, id, name)));
    }
    assert!(rows.windows(2).all(|pair| pair[0].0 < pair[1].0), "in the order of their offsets");
    assert!(covered <= at.max(after));
    rows
}

fn log_entries(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut entries: Vec<_> = std::fs::read_dir(directory.join("_delta_log"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    entries.sort();
    entries
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_is_contiguous_over_table_and_log_before_and_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let layout = layout(ElementKind::Events);
    {
        let lake = lake(directory.path()).await;
        lake.register(layout.clone()).await.unwrap();
        append_events(&lake, &layout, 100).await;
        append_events(&lake, &layout, 50).await;
        lake.roll(layout.element).await.unwrap();
        append_events(&lake, &layout, 25).await;
        assert_tiles(&scanned(&lake, &layout, 0, u64::MAX).await, 0, 175);
    }
    let lake = lake(directory.path()).await;
    lake.register(layout.clone()).await.unwrap();
    // The last rolled commit stays in the log; everything before it is in the table only.
    assert_eq!(lake.log().extent(layout.element).unwrap().floor, 101);
    assert_tiles(&scanned(&lake, &layout, 0, 175).await, 0, 175);
    assert_tiles(&scanned(&lake, &layout, 37, 160).await, 37, 160);
    assert_tiles(&scanned(&lake, &layout, 99, 101).await, 99, 101);
    assert_tiles(&lake.read(layout.element, 12, 1).await.unwrap(), 12, 150);
    assert!(scanned(&lake, &layout, 175, u64::MAX).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_has_no_gap_while_the_writer_rolls_compacts_and_truncates_under_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = LakeConfig::new(directory.path());
    config.recent_bytes = 0;
    config.compact_files = 3;
    config.vacuum_age = Duration::ZERO;
    config.checkpoint_every = 5;
    let lake = Lake::open(config, SystemClock::shared()).await.unwrap();
    let layout = layout(ElementKind::Events);
    lake.register(layout.clone()).await.unwrap();
    for _ in 0..6 {
        append_events(&lake, &layout, 10).await;
    }
    let mut scan = std::pin::pin!(lake.scan(layout.element, 0, 60));
    let mut batches = vec![scan.try_next().await.unwrap().unwrap()];
    // Everything the open scan has not read yet moves to a table, then to other files of it.
    lake.roll(layout.element).await.unwrap();
    for _ in 0..12 {
        append_events(&lake, &layout, 10).await;
        lake.roll(layout.element).await.unwrap();
        batches.extend(scan.try_next().await.unwrap());
    }
    while let Some(batch) = scan.try_next().await.unwrap() {
        batches.push(batch);
    }
    assert_tiles(&batches, 0, 60);
    assert_tiles(&scanned(&lake, &layout, 0, u64::MAX).await, 0, 180);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_and_the_writer_run_side_by_side_without_a_gap() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = LakeConfig::new(directory.path());
    config.recent_bytes = 2_000;
    config.roll_bytes = 1;
    config.compact_files = 4;
    let lake = Lake::open(config, SystemClock::shared()).await.unwrap();
    let layout = layout(ElementKind::Events);
    lake.register(layout.clone()).await.unwrap();
    let shutdown = CancellationToken::new();
    let writer = {
        let (lake, shutdown) = (lake.clone(), shutdown.clone());
        tokio::spawn(async move {
            let writer = LakeWriter::new(lake);
            while !shutdown.is_cancelled() {
                writer.run_once(&shutdown).await;
                tokio::task::yield_now().await;
            }
        })
    };
    let reader = {
        let (lake, layout) = (lake.clone(), layout.clone());
        tokio::spawn(async move {
            let mut newest = lake.log().watch(layout.element).unwrap();
            let mut at = 0;
            while at < 2_000 {
                newest.wait_for(|head| *head > at).await.unwrap();
                let batches = lake.read(layout.element, at, 10_000).await.unwrap();
                let last = batches.last().unwrap().last;
                assert_tiles(&batches, at, last);
                at = last;
                // And once more from the very start, over everything there is.
                assert_tiles(&scanned(&lake, &layout, 0, last).await, 0, last);
            }
        })
    };
    for _ in 0..100 {
        append_events(&lake, &layout, 20).await;
    }
    reader.await.unwrap();
    shutdown.cancel();
    writer.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_the_live_rows_at_its_offset_wherever_they_lie() {
    let directory = tempfile::tempdir().unwrap();
    let entity = layout(ElementKind::Entity);
    let lake = lake(directory.path()).await;
    lake.register(entity.clone()).await.unwrap();
    let steps: [&[crate::fixtures::Change<'_>]; 4] = [
        &[("insert", 1, "a", None), ("insert", 2, "b", None), ("insert", 3, "c", None)],
        &[("update", 1, "a2", Some("a")), ("delete", 2, "", Some("b"))],
        &[("insert", 2, "b3", None), ("update", 3, "c3", Some("c"))],
        &[("delete", 1, "", Some("a2")), ("insert", 4, "d", None)],
    ];
    let mut head = 0;
    for step in steps {
        head = lake.log().append(commit(&entity, head, changes(&entity, step))).await.unwrap().last;
    }
    let row = |offset, id, name: &str| (offset, id, name.to_owned());
    let at_5 = vec![row(3, 3, "c"), row(4, 1, "a2")];
    let at_9 = vec![row(6, 2, "b3"), row(7, 3, "c3"), row(9, 4, "d")];
    assert_eq!(live(&lake, &entity, 5, 0).await, at_5);
    assert_eq!(live(&lake, &entity, 9, 0).await, at_9);
    lake.publish_tables(entity.element).await.unwrap();
    // The table of live rows is now beyond 5; the changes still tell what was live then.
    assert_eq!(live(&lake, &entity, 5, 0).await, at_5);
    assert_eq!(live(&lake, &entity, 9, 0).await, at_9);
    assert_eq!(live(&lake, &entity, 9, 6).await, at_9[1..]);
    let batch = changes(&entity, &[("update", 3, "c4", Some("c3")), ("delete", 4, "", Some("d"))]);
    lake.log().append(commit(&entity, 9, batch)).await.unwrap();
    let at_11 = vec![row(6, 2, "b3"), row(10, 3, "c4")];
    assert_eq!(live(&lake, &entity, 11, 0).await, at_11);
    lake.publish_tables(entity.element).await.unwrap();
    assert_eq!(live(&lake, &entity, 11, 0).await, at_11);
    assert_eq!(live(&lake, &entity, u64::MAX, 6).await, at_11[1..]);
    assert!(live(&lake, &entity, 0, 0).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_log_entry_is_set_aside_and_rolled_again() {
    let directory = tempfile::tempdir().unwrap();
    let layout = layout(ElementKind::Events);
    for damage in ["torn", "empty", "file missing"] {
        let lake = lake(directory.path()).await;
        lake.register(layout.clone()).await.unwrap();
        append_events(&lake, &layout, 10).await;
        lake.roll(layout.element).await.unwrap();
        append_events(&lake, &layout, 10).await;
        let head = lake.log().head(layout.element);
        lake.inner.roll(layout.element).await.unwrap();
        // The process died before the truncation, as far as the log is concerned: its last commit
        // is always there, and that is what the damaged entry held.
        let entry = log_entries(&lake.changes_directory(layout.element)).pop().unwrap();
        drop(lake);
        let text = std::fs::read_to_string(&entry).unwrap();
        match damage {
            "torn" => std::fs::write(&entry, &text[..text.len() / 2]).unwrap(),
            "empty" => std::fs::write(&entry, "").unwrap(),
            _ => {
                let added = text.lines().find(|line| line.starts_with("{\"add\"")).unwrap();
                let action: serde_json::Value = serde_json::from_str(added).unwrap();
                let table = entry.parent().unwrap().parent().unwrap();
                std::fs::remove_file(table.join(action["add"]["path"].as_str().unwrap())).unwrap();
            }
        }
        let lake = crate::fixtures::lake(directory.path()).await;
        lake.register(layout.clone()).await.unwrap();
        assert!(!entry.exists(), "{damage}");
        assert_eq!(lake.take_fenced(), []);
        assert_tiles(&scanned(&lake, &layout, 0, u64::MAX).await, 0, head);
        lake.roll(layout.element).await.unwrap();
        assert!(entry.exists(), "{damage}");
        assert_tiles(&scanned(&lake, &layout, 0, u64::MAX).await, 0, head);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_log_goes_on_above_its_table_in_a_new_epoch() {
    let directory = tempfile::tempdir().unwrap();
    let layout = layout(ElementKind::Events);
    {
        let lake = lake(directory.path()).await;
        lake.register(layout.clone()).await.unwrap();
        append_events(&lake, &layout, 30).await;
        lake.roll(layout.element).await.unwrap();
    }
    std::fs::remove_dir_all(directory.path().join("log")).unwrap();
    let lake = lake(directory.path()).await;
    lake.register(layout.clone()).await.unwrap();
    let fenced = lake.take_fenced();
    assert_eq!((fenced[0].head, fenced[0].seen, fenced[0].epoch), (0, 30, 2));
    let appended = append_events(&lake, &layout, 5).await;
    assert_eq!((appended.epoch, appended.first), (2, 31));
    let batches = scanned(&lake, &layout, 0, u64::MAX).await;
    assert_tiles(&batches, 0, 35);
    assert_eq!(batches.iter().map(|batch| batch.epoch).collect::<Vec<_>>(), [1, 2]);
    lake.roll(layout.element).await.unwrap();
    assert_tiles(&scanned(&lake, &layout, 0, u64::MAX).await, 0, 35);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_log_goes_on_above_the_cursors_that_were_ahead_of_its_table() {
    let directory = tempfile::tempdir().unwrap();
    let layout = layout(ElementKind::Events);
    {
        let lake = lake(directory.path()).await;
        lake.register(layout.clone()).await.unwrap();
        append_events(&lake, &layout, 30).await;
        lake.roll(layout.element).await.unwrap();
        append_events(&lake, &layout, 8).await;
    }
    std::fs::remove_dir_all(directory.path().join("log")).unwrap();
    let lake = lake(directory.path()).await;
    // Nothing knows the element before it is registered.
    lake.fence(layout.element, 38).await.unwrap();
    assert_eq!(lake.take_fenced(), []);
    lake.register(layout.clone()).await.unwrap();
    let fenced: Vec<_> = lake.take_fenced().iter().map(|it| (it.head, it.seen, it.epoch)).collect();
    assert_eq!(fenced, [(0, 30, 2), (30, 38, 3)]);
    assert_eq!(append_events(&lake, &layout, 2).await.first, 39);
    assert_tiles(&scanned(&lake, &layout, 0, 30).await, 0, 30);
    assert_tiles(&scanned(&lake, &layout, 38, u64::MAX).await, 38, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_readable_from_its_checkpoint_and_a_writer_on_an_old_state_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = LakeConfig::new(directory.path());
    config.checkpoint_every = 4;
    config.compact_files = 100;
    let layout = layout(ElementKind::Events);
    {
        let lake = Lake::open(config.clone(), SystemClock::shared()).await.unwrap();
        lake.register(layout.clone()).await.unwrap();
        for _ in 0..9 {
            append_events(&lake, &layout, 3).await;
            lake.roll(layout.element).await.unwrap();
        }
        assert!(lake.changes_directory(layout.element).join("_delta_log/_last_checkpoint").exists());
        let tables = lake.inner.tables(layout.element).await.unwrap();
        let stale = super::table::Commit {
            operation: "WRITE",
            mode: Some("Append"),
            add: Vec::new(),
            remove: Vec::new(),
            txn: Some((24, 27)),
            data_change: true,
            schema: layout.arrow_schema(),
        };
        assert_eq!(tables.changes.commit(stale).await.unwrap_err().code(), "lake_invariant");
    }
    // Without the entries the checkpoint replaces, the table must still be whole.
    let table = directory.path().join("tables").join(layout.element.to_string()).join(super::CHANGES);
    for entry in log_entries(&table).into_iter().take(8) {
        std::fs::remove_file(entry).unwrap();
    }
    let lake = Lake::open(config, SystemClock::shared()).await.unwrap();
    lake.register(layout.clone()).await.unwrap();
    assert_tiles(&scanned(&lake, &layout, 0, u64::MAX).await, 0, 27);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grown_schema_is_read_over_old_files_and_new_ones() {
    let directory = tempfile::tempdir().unwrap();
    let lake = lake(directory.path()).await;
    let old = layout(ElementKind::Events);
    lake.register(old.clone()).await.unwrap();
    append_events(&lake, &old, 4).await;
    let mut new = old.clone();
    new.schema_id = SchemaId::new();
    new.schema.fields.push(Field::new("note", DataType::String));
    lake.register(new.clone()).await.unwrap();
    let batch = crate::adapt(&crate::fixtures::events(&old, [5, 6]), &new.log_schema()).unwrap();
    lake.log().append(commit(&new, 4, batch)).await.unwrap();
    lake.roll(old.element).await.unwrap();
    let tables = lake.inner.tables(old.element).await.unwrap();
    assert_eq!(tables.changes.state().files.len(), 2, "one file holds one schema");
    let batches = scanned(&lake, &new, 0, u64::MAX).await;
    assert_tiles(&batches, 0, 6);
    assert!(batches.iter().all(|batch| batch.batch.schema() == new.arrow_schema()));
    assert!(batches.iter().all(|batch| batch.schema_id == new.schema_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_an_element_leaves_nothing_and_touches_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let lake = lake(directory.path()).await;
    let (gone, kept) = (layout(ElementKind::Events), layout(ElementKind::Entity));
    for layout in [&gone, &kept] {
        lake.register(layout.clone()).await.unwrap();
    }
    append_events(&lake, &gone, 10).await;
    lake.roll(gone.element).await.unwrap();
    lake.log().append(commit(&kept, 0, changes(&kept, &[("insert", 1, "a", None)]))).await.unwrap();
    let table = lake.changes_directory(gone.element);
    lake.remove(gone.element).await.unwrap();
    assert!(!table.exists());
    assert!(matches!(lake.read(gone.element, 0, 1).await.unwrap_err(), LakeError::UnknownElement(_)));
    assert_eq!(live(&lake, &kept, 1, 0).await.len(), 1);
    lake.register(gone.clone()).await.unwrap();
    assert_eq!(append_events(&lake, &gone, 1).await.first, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_behind_the_retention_hears_of_it_and_live_rows_stay_whole() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = LakeConfig::new(directory.path());
    config.recent_bytes = 0;
    let lake = Lake::open(config, SystemClock::shared()).await.unwrap();
    let (facts, entity) = (layout(ElementKind::Events), layout(ElementKind::Entity));
    lake.register(facts.clone()).await.unwrap();
    lake.register(entity.clone()).await.unwrap();
    for _ in 0..3 {
        append_events(&lake, &facts, 10).await;
        lake.inner.roll(facts.element).await.unwrap();
    }
    assert_eq!(lake.cut(facts.element, 15).await.unwrap(), 11);
    let behind = lake.read(facts.element, 5, 1).await.unwrap_err();
    assert!(matches!(behind, LakeError::Resync { floor: 11, .. }), "{behind}");
    assert_eq!(behind.code(), "resync_required");
    assert_tiles(&scanned(&lake, &facts, 10, u64::MAX).await, 10, 30);
    let extent = lake.extent(facts.element).await.unwrap();
    assert_eq!((extent.floor, extent.head, extent.rolled, extent.records), (11, 30, 30, 20));
    assert!(extent.table_bytes > 0 && extent.live.is_none());

    for (head, name) in [(0, "a"), (1, "b"), (2, "c")] {
        let batch = changes(&entity, &[("insert", head as i64, name, None)]);
        lake.log().append(commit(&entity, head, batch)).await.unwrap();
        lake.inner.roll(entity.element).await.unwrap();
    }
    assert_eq!(lake.cut(entity.element, 3).await.unwrap(), 1, "the table of live rows is still empty");
    lake.publish_tables(entity.element).await.unwrap();
    assert_eq!(lake.extent(entity.element).await.unwrap().live, Some((3, 3)));
    assert_eq!(lake.cut(entity.element, 3).await.unwrap(), 3);
    assert_eq!(live(&lake, &entity, 3, 0).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_writer_rolls_by_size_and_age_and_leaves_small_young_tails_alone() {
    let directory = tempfile::tempdir().unwrap();
    let clock = headgate_types::FakeClock::at(chrono::DateTime::from_timestamp_nanos(1_800_000_000_000_000_000));
    let mut config = LakeConfig::new(directory.path());
    config.roll_bytes = 1_500;
    let shared: headgate_types::SharedClock = clock.clone();
    let lake = Lake::open(config, shared).await.unwrap();
    let (small, large) = (layout(ElementKind::Events), layout(ElementKind::Events));
    for (layout, count) in [(&small, 1), (&large, 2_000)] {
        lake.register(layout.clone()).await.unwrap();
        append_events(&lake, layout, count).await;
    }
    let writer = LakeWriter::new(lake.clone());
    let running = CancellationToken::new();
    assert_eq!(writer.run_once(&running).await, 1);
    assert_eq!(lake.extent(large.element).await.unwrap().rolled, 2_000);
    assert_eq!(lake.extent(small.element).await.unwrap().rolled, 0);
    clock.advance(chrono::TimeDelta::hours(2));
    assert_eq!(writer.run_once(&running).await, 1);
    assert_eq!(lake.extent(small.element).await.unwrap().rolled, 1);
    assert_eq!(writer.run_once(&running).await, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Random changes, rolls and refreshes: a snapshot at any offset, resumed anywhere, equals a
    /// plain fold over the changes.
    #[test]
    fn a_snapshot_equals_the_fold_of_the_changes(
        steps in prop::collection::vec((0..8_u8, prop::collection::vec(0..6_i64, 1..5)), 1..16),
        probes in prop::collection::vec((0..40_u64, 0..40_u64), 4),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let entity = layout(ElementKind::Entity);
            let mut config = LakeConfig::new(directory.path());
            config.recent_bytes = 500;
            let lake = Lake::open(config, SystemClock::shared()).await.unwrap();
            lake.register(entity.clone()).await.unwrap();
            // By offset: the live rows, as offset by id.
            let mut history = vec![std::collections::BTreeMap::<i64, i64>::new()];
            for (step, ids) in steps {
                match step {
                    0 => lake.roll(entity.element).await.unwrap(),
                    1 => lake.publish_tables(entity.element).await.unwrap(),
                    _ => {
                        let head = history.len() as u64 - 1;
                        let mut rows = Vec::new();
                        for id in ids {
                            let mut now = history.last().unwrap().clone();
                            let deletes = step > 5 && now.contains_key(&id);
                            rows.push(if deletes {
                                now.remove(&id);
                                ("delete", id, "", Some("old"))
                            } else {
                                now.insert(id, history.len() as i64);
                                ("insert", id, "new", None)
                            });
                            history.push(now);
                        }
                        lake.log().append(commit(&entity, head, changes(&entity, &rows))).await.unwrap();
                    }
                }
            }
            let head = history.len() as u64 - 1;
            for (at, after) in probes {
                let (at, after) = (at.min(head), after.min(at));
                let mut expected: Vec<(i64, i64)> =
                    history[at as usize].iter().map(|(id, offset)| (*offset, *id)).collect();
                expected.sort_unstable();
                expected.retain(|(offset, _)| *offset > after as i64);
                let found: Vec<_> =
                    live(&lake, &entity, at, after).await.into_iter().map(|(offset, id, _)| (offset, id)).collect();
                assert_eq!(found, expected, "at {at} after {after}");
            }
        });
    }
}

#[test]
fn fuzzed_names_of_data_files_cover_a_range_or_are_foreign() {
    let name = "00000000000000000001-00000000000000000500-0192.parquet";
    crate::fuzz::text("crates/lake/src/delta/data_file.rs parse", &[name, "7-7-x"], |text| {
        let file = super::data_file::DataFile::parse(text, 1, None).map_err(|error| error.code())?;
        assert!(file.first <= file.last && file.path == text);
        Ok::<_, &str>(file.records)
    });
}
