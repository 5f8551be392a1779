use headgate_types::schema::{DataType, ElementKind, Field};
use headgate_types::{ChannelId, Coded, FeedId, SchemaId, SystemClock};
use proptest::prelude::*;

use super::*;
use crate::fixtures::{append_events, assert_tiles, changes, commit, events, ints, lake, layout, texts};
use crate::{BEFORE, Lake, OP};

#[tokio::test(flavor = "multi_thread")]
async fn commits_survive_a_restart_with_their_offsets_and_images() {
    let directory = tempfile::tempdir().unwrap();
    let entity = layout(ElementKind::Entity);
    let appended = {
        let lake = lake(directory.path()).await;
        lake.register(entity.clone()).await.unwrap();
        let batch = changes(&entity, &[("insert", 1, "a", None), ("insert", 2, "b", None)]);
        let first = lake.log().append(commit(&entity, 0, batch)).await.unwrap();
        assert_eq!((first.first, first.last), (1, 2));
        let batch = changes(&entity, &[("update", 1, "c", Some("a")), ("delete", 2, "", Some("b"))]);
        lake.log().append(commit(&entity, 2, batch)).await.unwrap()
    };
    let lake = lake(directory.path()).await;
    assert_eq!(lake.log().head(entity.element), 4);
    assert_eq!(*lake.log().layout(entity.element).unwrap(), entity);
    let batches = lake.log().read(entity.element, 0, usize::MAX).await.unwrap();
    assert_eq!(batches.len(), 2);
    assert_eq!(batches[1].committed_at, appended.committed_at);
    assert_eq!(texts(&batches[1].batch, OP), ["update", "delete"]);
    assert_eq!(ints(&batches[1].batch, crate::OFFSET), [3, 4]);
    assert_eq!(batches[0].batch.column_by_name(BEFORE).unwrap().null_count(), 2);
    assert_eq!(batches[1].batch.column_by_name(BEFORE).unwrap().null_count(), 0);
    assert_eq!(batches[1].batch.schema(), entity.arrow_schema());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_on_an_old_head_is_refused_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let lake = lake(directory.path()).await;
    let layout = layout(ElementKind::Events);
    lake.register(layout.clone()).await.unwrap();
    append_events(&lake, &layout, 3).await;
    for expected_head in [0, 2, 4] {
        let refused = lake.log().append(commit(&layout, expected_head, events(&layout, [9]))).await.unwrap_err();
        assert!(matches!(refused, LakeError::Conflict { head: 3, .. }), "{refused}");
    }
    assert_eq!(lake.log().head(layout.element), 3);
    append_events(&lake, &layout, 1).await;
    assert_tiles(&lake.log().read(layout.element, 0, usize::MAX).await.unwrap(), 0, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_racing_writers_exactly_one_wins_each_offset() {
    let directory = tempfile::tempdir().unwrap();
    let lake = lake(directory.path()).await;
    let layout = layout(ElementKind::Events);
    lake.register(layout.clone()).await.unwrap();
    let race = (0..16).map(|_| lake.log().append(commit(&layout, 0, events(&layout, [1, 2]))));
    let won = futures::future::join_all(race).await.into_iter().filter(Result::is_ok).count();
    assert_eq!(won, 1);
    assert_eq!(lake.log().head(layout.element), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_and_side_items_move_with_the_commit_even_without_records() {
    let directory = tempfile::tempdir().unwrap();
    let (channel, feed) = (ChannelId::new(), FeedId::new());
    let layout = layout(ElementKind::Events);
    let position = |value: &str| Position { channel, feed, partition: String::new(), value: value.to_owned() };
    {
        let lake = lake(directory.path()).await;
        lake.register(layout.clone()).await.unwrap();
        let mut new = commit(&layout, 0, events(&layout, [1]));
        new.positions = vec![position("payload 1")];
        lake.log().append(new).await.unwrap();
        let mut refused = commit(&layout, 1, events(&layout, []));
        refused.positions = vec![position("payload 2")];
        refused.side = vec![b"dead letter".to_vec(), Vec::new()];
        let appended = lake.log().append(refused).await.unwrap();
        assert_eq!((appended.first, appended.last), (2, 1));
        // A refused commit moves nothing.
        let mut stale = commit(&layout, 0, events(&layout, [1]));
        stale.positions = vec![position("payload 0")];
        stale.side = vec![b"lost".to_vec()];
        lake.log().append(stale).await.unwrap_err();
    }
    let lake = lake(directory.path()).await;
    assert_eq!(lake.log().position(layout.element, channel, feed, "").as_deref(), Some("payload 2"));
    assert_eq!(lake.log().position(layout.element, channel, feed, "p1"), None);
    let side = lake.log().read_side(0, 10, usize::MAX).await.unwrap();
    assert_eq!(side.len(), 1);
    assert_eq!(side[0].items, [b"dead letter".to_vec(), Vec::new()]);
    assert_eq!(*lake.log().watch_side().borrow(), side[0].sequence);
    // However little may be read, something is.
    assert_eq!(lake.log().read_side(0, 10, 0).await.unwrap(), side);
    lake.log().free_side(side[0].sequence).await.unwrap();
    assert!(lake.log().read_side(0, 10, usize::MAX).await.unwrap().is_empty());
    lake.log().forget_positions(channel).await.unwrap();
    assert_eq!(lake.log().position(layout.element, channel, feed, ""), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn truncation_keeps_the_last_commit_and_the_head_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let layout = layout(ElementKind::Events);
    let newest = {
        let lake = lake(directory.path()).await;
        lake.register(layout.clone()).await.unwrap();
        for _ in 0..5 {
            append_events(&lake, &layout, 2).await;
        }
        lake.log().truncate(layout.element, u64::MAX).await.unwrap();
        let extent = lake.log().extent(layout.element).unwrap();
        assert_eq!((extent.floor, extent.head), (9, 10));
        append_events(&lake, &layout, 1).await
    };
    let lake = lake(directory.path()).await;
    let unchecked = lake.log().append(commit(&layout, 11, events(&layout, [12]))).await.unwrap_err();
    assert!(matches!(unchecked, LakeError::Unregistered(_)), "{unchecked}");
    lake.register(layout.clone()).await.unwrap();
    let extent = lake.log().extent(layout.element).unwrap();
    assert_eq!((extent.floor, extent.head), (9, 11));
    let below = lake.log().read(layout.element, 0, usize::MAX).await.unwrap_err();
    assert!(matches!(below, LakeError::BelowLog { floor: 9, .. }), "{below}");
    assert_tiles(&lake.log().read(layout.element, 8, usize::MAX).await.unwrap(), 8, 11);
    assert!(append_events(&lake, &layout, 1).await.sequence > newest.sequence);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_shorter_than_what_was_read_goes_on_above_it_in_a_new_epoch() {
    let directory = tempfile::tempdir().unwrap();
    let layout = layout(ElementKind::Events);
    {
        let lake = lake(directory.path()).await;
        lake.register(layout.clone()).await.unwrap();
        append_events(&lake, &layout, 3).await;
        lake.fence(layout.element, 3).await.unwrap();
        assert_eq!(lake.take_fenced(), []);
        lake.fence(layout.element, 7).await.unwrap();
        let fenced = lake.take_fenced();
        assert_eq!((fenced[0].head, fenced[0].seen, fenced[0].epoch), (3, 7, 2));
        assert_eq!(lake.log().standing(layout.element, 3), Some(1));
        assert_eq!([4, 6, 8].map(|lost| lake.log().standing(layout.element, lost)), [None; 3]);
        assert_eq!(lake.log().standing(layout.element, 7), Some(2));
    }
    let lake = lake(directory.path()).await;
    lake.register(layout.clone()).await.unwrap();
    assert_eq!(lake.log().head(layout.element), 7);
    let appended = append_events(&lake, &layout, 2).await;
    assert_eq!((appended.epoch, appended.first, appended.last), (2, 8, 9));
    assert_eq!(lake.log().beyond_gap(layout.element, 3), Some(7));
    assert_eq!(lake.log().beyond_gap(layout.element, 2), None);
    assert_tiles(&lake.log().read(layout.element, 7, usize::MAX).await.unwrap(), 7, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_put_back_to_an_older_copy_gives_out_no_offset_of_the_lost_commits() {
    let directory = tempfile::tempdir().unwrap();
    let layout = layout(ElementKind::Events);
    let database = directory.path().join("log").join("log.db");
    let fill = async |commits: std::ops::RangeInclusive<i64>| {
        let lake = lake(directory.path()).await;
        lake.register(layout.clone()).await.unwrap();
        for count in commits {
            append_events(&lake, &layout, count).await;
        }
        assert_eq!(lake.take_fenced(), []);
    };
    fill(1..=3).await;
    let older = std::fs::read(&database).unwrap();
    fill(1..=2).await;
    assert!(!directory.path().join("log").join("log.db-wal").exists(), "a closed log is one file");
    std::fs::write(&database, older).unwrap();

    // Nobody's cursor is ahead of it: only the log itself can know.
    for _ in 0..2 {
        let lake = lake(directory.path()).await;
        let fenced: Vec<_> = lake.take_fenced().iter().map(|it| (it.head, it.seen, it.epoch)).collect();
        let lost = 2 * super::MOST_RECORDS;
        lake.register(layout.clone()).await.unwrap();
        match fenced.as_slice() {
            [] => assert_eq!(lake.log().head(layout.element), 6 + lost + 1, "it is told once"),
            fenced => {
                assert_eq!(fenced, [(6, 6 + lost, 2)]);
                assert_eq!(append_events(&lake, &layout, 1).await.first, 6 + lost + 1);
            }
        }
        assert_tiles(&lake.log().read(layout.element, 0, usize::MAX).await.unwrap(), 0, 6);
    }

    // Half a note says nothing.
    std::fs::write(directory.path().join("log.reached"), [0xff; 13]).unwrap();
    assert_eq!(lake(directory.path()).await.take_fenced(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_log_gives_no_sequence_out_again_that_a_reader_of_side_items_has_passed() {
    let directory = tempfile::tempdir().unwrap();
    let layout = layout(ElementKind::Events);
    let lake = lake(directory.path()).await;
    lake.register(layout.clone()).await.unwrap();
    lake.fence_side(40).await.unwrap();
    lake.fence_side(7).await.unwrap();
    let mut refused = commit(&layout, 0, events(&layout, []));
    refused.side = vec![b"dead letter".to_vec()];
    assert_eq!(lake.log().append(refused).await.unwrap().sequence, 41);
    assert_eq!(lake.log().read_side(40, 10, usize::MAX).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_does_not_fit_its_schema_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let lake = lake(directory.path()).await;
    let (layout, entity) = (layout(ElementKind::Events), layout(ElementKind::Entity));
    lake.register(layout.clone()).await.unwrap();
    let wrong = commit(&layout, 0, changes(&entity, &[("insert", 1, "a", None)]));
    assert_eq!(lake.log().append(wrong).await.unwrap_err().code(), "lake_invariant");
    let mut unknown = commit(&layout, 0, events(&layout, [1]));
    unknown.schema_id = SchemaId::new();
    assert_eq!(lake.log().append(unknown).await.unwrap_err().code(), "schema_unknown");
    let stranger = commit(&entity, 0, changes(&entity, &[("insert", 1, "a", None)]));
    assert_eq!(lake.log().append(stranger).await.unwrap_err().code(), "element_unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_grows_and_old_commits_stay_readable() {
    let directory = tempfile::tempdir().unwrap();
    let old = layout(ElementKind::Events);
    let mut new = old.clone();
    new.schema_id = SchemaId::new();
    new.schema.fields.push(Field::new("unit", DataType::String));
    {
        let lake = lake(directory.path()).await;
        lake.register(old.clone()).await.unwrap();
        append_events(&lake, &old, 2).await;
        lake.register(new.clone()).await.unwrap();
        lake.register(new.clone()).await.unwrap();
        let mut narrow = new.clone();
        narrow.schema_id = SchemaId::new();
        narrow.schema.fields.remove(0);
        assert_eq!(lake.register(narrow).await.unwrap_err().code(), "schema_incompatible");
    }
    let lake = lake(directory.path()).await;
    assert_eq!(lake.log().layout(old.element).unwrap().schema_id, new.schema_id);
    let batches = lake.log().read(old.element, 0, usize::MAX).await.unwrap();
    assert_eq!(batches[0].schema_id, old.schema_id);
    assert_eq!(batches[0].batch.schema(), old.arrow_schema());
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_keep_up_are_served_from_memory_and_others_from_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = LakeConfig::new(directory.path());
    config.recent_bytes = 300;
    let lake = Lake::open(config, SystemClock::shared()).await.unwrap();
    let layout = layout(ElementKind::Events);
    lake.register(layout.clone()).await.unwrap();
    let mut newest = lake.log().watch(layout.element).unwrap();
    for _ in 0..10 {
        append_events(&lake, &layout, 3).await;
    }
    assert_eq!(*newest.borrow_and_update(), 30);
    assert_tiles(&lake.log().read(layout.element, 0, usize::MAX).await.unwrap(), 0, 30);
    assert_tiles(&lake.log().read(layout.element, 28, usize::MAX).await.unwrap(), 28, 30);
    assert!(lake.log().read(layout.element, 30, usize::MAX).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_used_by_one_process_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let first = lake(directory.path()).await;
    let second = Lake::open(LakeConfig::new(directory.path()), SystemClock::shared()).await.unwrap_err();
    assert_eq!(second.code(), "storage_closed");
    drop(first);
    lake(directory.path()).await;
}

/// Makes the store refuse inserts into `table` until the guard is dropped.
struct Refusing<'a>(rusqlite::Connection, &'a str);

impl<'a> Refusing<'a> {
    fn new(database: &Path, table: &'a str) -> Self {
        let connection = rusqlite::Connection::open(database).unwrap();
        connection
            .execute_batch(&format!(
                "CREATE TRIGGER refuse BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'no space'); END"
            ))
            .unwrap();
        Self(connection, table)
    }
}

impl Drop for Refusing<'_> {
    fn drop(&mut self) {
        let dropped = self.0.execute_batch("DROP TRIGGER refuse");
        assert!(dropped.is_ok(), "the trigger on {} stays", self.1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_group_leaves_every_head_where_it_was_and_the_next_one_succeeds() {
    let directory = tempfile::tempdir().unwrap();
    let lake = lake(directory.path()).await;
    let layouts = [layout(ElementKind::Events), layout(ElementKind::Events)];
    for layout in &layouts {
        lake.register(layout.clone()).await.unwrap();
        append_events(&lake, layout, 2).await;
    }
    let mut newest = lake.log().watch(layouts[0].element).unwrap();
    newest.mark_unchanged();
    let (channel, feed) = (ChannelId::new(), FeedId::new());
    // Once the bodies are refused, and once the group fails after everything has been written.
    for table in ["commits", "groups"] {
        let refusing = Refusing::new(&directory.path().join("log/log.db"), table);
        let appends = layouts.iter().map(|layout| {
            let mut new = commit(layout, 2, events(layout, [3]));
            let partition = String::new();
            new.positions = vec![Position { channel, feed, partition, value: "1".to_owned() }];
            new.side = vec![b"dead letter".to_vec()];
            lake.log().append(new)
        });
        for refused in futures::future::join_all(appends).await {
            assert_eq!(refused.unwrap_err().code(), "storage_failed");
        }
        drop(refusing);
        for layout in &layouts {
            assert_eq!(lake.log().head(layout.element), 2);
            assert_eq!(lake.log().position(layout.element, channel, feed, ""), None);
        }
        assert!(lake.log().read_side(0, 10, usize::MAX).await.unwrap().is_empty());
        assert!(!newest.has_changed().unwrap());
    }
    for layout in &layouts {
        append_events(&lake, layout, 1).await;
        assert_tiles(&lake.log().read(layout.element, 0, usize::MAX).await.unwrap(), 0, 3);
    }
    assert_eq!(*newest.borrow(), 3);
}

#[test]
fn a_commit_of_one_record_takes_a_few_hundred_bytes() {
    let layout = layout(ElementKind::Entity);
    let body = body::encode(&changes(&layout, &[("insert", 1, "a name of ordinary length", None)])).unwrap();
    assert!(body.len() < 500, "{} bytes", body.len());
    let decoded = body::decode(&body, &layout.log_schema()).unwrap();
    assert_eq!(decoded, changes(&layout, &[("insert", 1, "a name of ordinary length", None)]));
    for cut in 0..body.len() {
        assert!(body::decode(&body[..cut], &layout.log_schema()).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Whatever is appended, truncated, fenced and restarted in between: offsets go up by one
    /// within an epoch, nothing is given out twice, and every read tiles.
    #[test]
    fn offsets_are_contiguous_whatever_happens_in_between(
        steps in prop::collection::vec((0..5_u8, 1..6_i64), 1..24),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let layout = layout(ElementKind::Events);
            let mut lake = lake(directory.path()).await;
            lake.register(layout.clone()).await.unwrap();
            let (mut head, mut epoch, mut floor) = (0, 1, 1);
            for (step, amount) in steps {
                match step {
                    0..=1 => {
                        let appended = append_events(&lake, &layout, amount).await;
                        assert_eq!((appended.first, appended.epoch), (head + 1, epoch));
                        head = appended.last;
                    }
                    2 => lake.log().truncate(layout.element, head.saturating_sub(amount as u64)).await.unwrap(),
                    3 => {
                        let seen = head + amount as u64 - 1;
                        lake.fence(layout.element, seen).await.unwrap();
                        assert_eq!(lake.take_fenced().len(), usize::from(seen > head));
                        if seen > head {
                            (head, epoch, floor) = (seen, epoch + 1, seen + 1);
                        }
                    }
                    _ => {
                        drop(lake);
                        lake = crate::fixtures::lake(directory.path()).await;
                        lake.register(layout.clone()).await.unwrap();
                    }
                }
                let extent = lake.log().extent(layout.element).unwrap();
                assert_eq!((extent.head, extent.epoch), (head, epoch));
                let after = extent.floor.max(floor) - 1;
                assert_tiles(&lake.log().read(layout.element, after, usize::MAX).await.unwrap(), after, head);
            }
        });
    }
}
