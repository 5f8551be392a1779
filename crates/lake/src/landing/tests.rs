use std::io::Read;

use bytes::Bytes;
use futures::StreamExt;
use headgate_types::{ChannelId, Coded, ErrorKind, FeedId, SystemClock, TenantId};

use super::*;
use crate::Lake;
use crate::committer::Queue;
use crate::fixtures::lake;

fn payload(channel: ChannelId, feed: FeedId, body: impl Into<Body>) -> NewPayload {
    NewPayload {
        channel,
        feed,
        idempotency_key: None,
        content_type: "application/json".to_owned(),
        encoding: None,
        max_bytes: 64 << 20,
        body: body.into(),
    }
}

fn bytes_of(payload: &Payload) -> Vec<u8> {
    let mut bytes = Vec::new();
    payload.body.open().unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn stream_of(chunk: usize, chunks: usize) -> Body {
    Body::Stream(futures::stream::iter((0..chunks).map(move |n| Ok(Bytes::from(vec![n as u8; chunk])))).boxed())
}

#[tokio::test(flavor = "multi_thread")]
async fn landed_payloads_survive_a_restart_in_order_small_and_large() {
    let directory = tempfile::tempdir().unwrap();
    let (channel, feed) = (ChannelId::new(), FeedId::new());
    let large = {
        let lake = lake(directory.path()).await;
        for n in 0..5_u8 {
            let landed = lake.landing().append(payload(channel, feed, vec![n; 10])).await.unwrap();
            assert!(!landed.duplicate);
        }
        let landed = lake.landing().append(payload(channel, feed, stream_of(300_000, 5))).await.unwrap();
        assert_eq!(landed.bytes, 1_500_000);
        landed
    };
    let lake = lake(directory.path()).await;
    let payloads = lake.landing().read(channel, feed, 0, u64::MAX).await.unwrap();
    assert_eq!(payloads.len(), 6);
    assert!(payloads.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));
    assert_eq!(bytes_of(&payloads[3]), vec![3; 10]);
    assert!(matches!(payloads[5].body, StoredBody::File(_)));
    assert_eq!(bytes_of(&payloads[5]).len(), 1_500_000);
    let found = lake.landing().get(large.receipt).await.unwrap().unwrap();
    assert_eq!(found.sequence, large.sequence);
    assert_eq!(lake.landing().usage(channel), LandingUsage { payloads: 6, bytes: 1_500_050 });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_is_bounded_but_always_moves() {
    let directory = tempfile::tempdir().unwrap();
    let lake = lake(directory.path()).await;
    let (channel, feed) = (ChannelId::new(), FeedId::new());
    for n in 0..4_u8 {
        lake.landing().append(payload(channel, feed, vec![n; 100])).await.unwrap();
    }
    let first = lake.landing().read(channel, feed, 0, 10).await.unwrap();
    assert_eq!(first.len(), 1);
    let rest = lake.landing().read(channel, feed, first[0].sequence, 200).await.unwrap();
    assert_eq!(rest.len(), 2);
    assert!(lake.landing().read(ChannelId::new(), feed, 0, 10).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resend_under_an_idempotency_key_is_recognised_even_after_the_payload_was_freed() {
    let directory = tempfile::tempdir().unwrap();
    let (channel, feed) = (ChannelId::new(), FeedId::new());
    let keyed = |body: Body| NewPayload { idempotency_key: Some("k1".to_owned()), ..payload(channel, feed, body) };
    let first = {
        let lake = lake(directory.path()).await;
        let first = lake.landing().append(keyed(b"one".to_vec().into())).await.unwrap();
        lake.landing().free(channel, feed, first.sequence).await.unwrap();
        first
    };
    let lake = lake(directory.path()).await;
    let again = lake.landing().append(keyed(b"one".to_vec().into())).await.unwrap();
    assert!(again.duplicate);
    assert_eq!((again.receipt, again.sequence), (first.receipt, first.sequence));
    let other = lake.landing().append(keyed(b"two".to_vec().into())).await.unwrap_err();
    assert_eq!(other.code(), "idempotency_key_reused");
    let elsewhere = NewPayload { feed: FeedId::new(), ..keyed(b"two".to_vec().into()) };
    assert!(!lake.landing().append(elsewhere).await.unwrap().duplicate);
    assert_eq!(lake.landing().usage(channel).payloads, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_resends_land_once() {
    let directory = tempfile::tempdir().unwrap();
    let lake = lake(directory.path()).await;
    let (channel, feed) = (ChannelId::new(), FeedId::new());
    let appends = (0..32).map(|_| {
        let keyed =
            NewPayload { idempotency_key: Some("k".to_owned()), ..payload(channel, feed, stream_of(300_000, 4)) };
        lake.landing().append(keyed)
    });
    let landed: Vec<_> = futures::future::join_all(appends).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(landed.iter().filter(|landed| !landed.duplicate).count(), 1);
    let payloads = lake.landing().read(channel, feed, 0, u64::MAX).await.unwrap();
    assert_eq!(payloads.len(), 1);
    assert_eq!(bytes_of(&payloads[0]).len(), 1_200_000);
    let files = std::fs::read_dir(directory.path().join("landing").join(channel.to_string())).unwrap().count();
    assert_eq!(files, 1, "the duplicates' files are gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_over_its_limit_or_broken_off_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let lake = lake(directory.path()).await;
    let (channel, feed) = (ChannelId::new(), FeedId::new());
    let long = NewPayload { max_bytes: 2_000_000, ..payload(channel, feed, stream_of(300_000, 10)) };
    assert_eq!(lake.landing().append(long).await.unwrap_err().code(), "payload_too_large");
    let broken =
        futures::stream::iter([Ok(Bytes::from(vec![1; 2_000_000])), Err(std::io::Error::other("connection reset"))])
            .boxed();
    let broken = lake.landing().append(payload(channel, feed, Body::Stream(broken))).await.unwrap_err();
    assert_eq!(broken.code(), "payload_interrupted");
    assert_eq!(lake.landing().usage(channel), LandingUsage::default());
    let files = std::fs::read_dir(directory.path().join("landing").join(channel.to_string())).unwrap().count();
    assert_eq!(files, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_landing_zone_refuses_before_the_ack_and_frees_room_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = LakeConfig::new(directory.path());
    config.landing_channel_bytes = 1_000;
    let lake = Lake::open(config, SystemClock::shared()).await.unwrap();
    let (channel, feed) = (ChannelId::new(), FeedId::new());
    let landed = lake.landing().append(payload(channel, feed, vec![0; 900])).await.unwrap();
    let full = lake.landing().append(payload(channel, feed, vec![0; 200])).await.unwrap_err();
    assert_eq!(full.code(), "storage_full");
    assert!(full.retry_after().is_some());
    lake.landing().append(payload(ChannelId::new(), feed, vec![0; 900])).await.unwrap();
    lake.landing().free(channel, feed, landed.sequence).await.unwrap();
    lake.landing().append(payload(channel, feed, vec![0; 200])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_has_its_size_and_a_tenant_its_part_and_neither_takes_from_others() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = LakeConfig::new(directory.path());
    config.landing_tenant_bytes = 10_000;
    let lake = Lake::open(config.clone(), SystemClock::shared()).await.unwrap();
    let (tenant, feed) = (TenantId::new(), FeedId::new());
    let channels: Vec<ChannelId> = (0..3).map(|_| ChannelId::new()).collect();
    let allot = |lake: &Lake, bytes| {
        channels.iter().for_each(|channel| lake.landing().allot(*channel, Share { tenant, bytes }));
    };
    allot(&lake, 4_000);
    let land = async |lake: &Lake, channel: ChannelId, bytes: usize| {
        lake.landing().append(payload(channel, feed, vec![0; bytes])).await.map_err(|error| {
            assert!(error.retry_after().is_some());
            (error.kind(), error.code())
        })
    };
    let full = (ErrorKind::TooManyRequests, "backlog_full");
    let first = land(&lake, channels[0], 3_700).await.unwrap();
    assert_eq!(land(&lake, channels[0], 100).await.unwrap_err(), full, "a payload takes more than its bytes");
    land(&lake, channels[1], 3_700).await.unwrap();
    assert_eq!(land(&lake, channels[2], 2_200).await.unwrap_err(), full, "the tenant's part is used up");
    assert_eq!(lake.landing().room(channels[2]), 10_000 - 2 * 3_956);
    land(&lake, ChannelId::new(), 4_000_000).await.unwrap();
    // A larger size counts at once, and so does what waited before a start.
    drop(lake);
    let lake = Lake::open(config, SystemClock::shared()).await.unwrap();
    allot(&lake, 9_000);
    land(&lake, channels[0], 1_000).await.unwrap();
    assert_eq!(land(&lake, channels[2], 2_000).await.unwrap_err(), full);
    lake.landing().free(channels[0], feed, first.sequence).await.unwrap();
    land(&lake, channels[2], 2_000).await.unwrap();
    lake.landing().remove(channels[1]).await.unwrap();
    assert_eq!(lake.landing().room(channels[2]), 10_000 - 1_256 - 2_256, "what is removed is given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_fills_a_quarter_of_the_landing_zone_at_most_whatever_its_sizes_say() {
    let directory = tempfile::tempdir().unwrap();
    let config = LakeConfig::new(directory.path()).with_landing(40_000);
    let lake = Lake::open(config, SystemClock::shared()).await.unwrap();
    let feed = FeedId::new();
    for tenant in 0..5 {
        let channel = ChannelId::new();
        lake.landing().allot(channel, Share { tenant: TenantId::new(), bytes: 50_000 });
        let left = if tenant < 4 { 10_000 } else { 40_000 - 4 * 9_256 };
        assert_eq!(lake.landing().room(channel), left, "tenant {tenant}");
        let landed = lake.landing().append(payload(channel, feed, vec![0; 9_000])).await;
        let refused = landed.err().map(|error| error.code());
        assert_eq!(refused, (tenant == 4).then_some("storage_full"), "tenant {tenant}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_payloads_take_room_too() {
    let directory = tempfile::tempdir().unwrap();
    let lake = lake(directory.path()).await;
    let (channel, feed) = (ChannelId::new(), FeedId::new());
    lake.landing().allot(channel, Share { tenant: TenantId::new(), bytes: 1_000 });
    for _ in 0..4 {
        lake.landing().append(payload(channel, feed, Vec::new())).await.unwrap();
    }
    let full = lake.landing().append(payload(channel, feed, Vec::new())).await.unwrap_err();
    assert_eq!(full.code(), "backlog_full");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_at_its_reserve_takes_nothing_more_and_what_landed_can_be_freed() {
    let directory = tempfile::tempdir().unwrap();
    let (channel, feed) = (ChannelId::new(), FeedId::new());
    let landed = lake(directory.path()).await.landing().append(payload(channel, feed, vec![0; 900])).await.unwrap();
    let mut config = LakeConfig::new(directory.path());
    config.reserve_bytes = Some(u64::MAX);
    let lake = Lake::open(config, SystemClock::shared()).await.unwrap();
    let full = lake.landing().append(payload(channel, feed, vec![0; 200])).await.unwrap_err();
    assert_eq!((full.kind(), full.code()), (ErrorKind::InsufficientStorage, "storage_full"));
    assert!(full.retry_after().is_some());
    assert_eq!(lake.landing().free(channel, feed, landed.sequence).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_a_channel_touches_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let lake = lake(directory.path()).await;
    let (gone, kept, feed) = (ChannelId::new(), ChannelId::new(), FeedId::new());
    for channel in [gone, kept] {
        lake.landing().append(payload(channel, feed, vec![0; 10])).await.unwrap();
        lake.landing().append(payload(channel, feed, stream_of(500_000, 3))).await.unwrap();
    }
    assert_eq!(lake.landing().remove(gone).await.unwrap(), 2);
    assert_eq!(lake.landing().usage(gone), LandingUsage::default());
    assert!(!directory.path().join("landing").join(gone.to_string()).exists());
    assert_eq!(lake.landing().read(kept, feed, 0, u64::MAX).await.unwrap().len(), 2);
    assert_eq!(lake.landing().feeds(), vec![(kept, feed)]);
}

#[test]
fn what_lands_and_is_removed_in_one_group_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (gone, kept, feed) = (ChannelId::new(), ChannelId::new(), FeedId::new());
    let (index, queue) = (Arc::new(Mutex::new(Index::default())), Arc::new(Queue::new()));
    for channel in [gone, kept] {
        let row = Row {
            channel,
            feed,
            receipt: ReceiptId::new(),
            key: None,
            content_type: "application/json".to_owned(),
            encoding: None,
            bytes: 10,
            body: Some(Bytes::from_static(&[0; 10])),
        };
        let append = Append { channel, rows: vec![row], is_strict: true, checkpoint: None };
        queue.push(1, 256, Job::Append { append, reply: oneshot::channel().0 }).unwrap();
    }
    let (reply, mut removed) = oneshot::channel();
    queue.push(1, 256, Job::Remove { channel: gone, reply }).unwrap();
    queue.close();
    let database = directory.path().join("landing.db");
    Thread {
        connection: store::open(&database).unwrap(),
        queue,
        index: Arc::clone(&index),
        poison: Poison::new(),
        clock: SystemClock::shared(),
        directory: directory.path().to_owned(),
        group_bytes: 1 << 20,
        retention: std::time::Duration::from_secs(1),
        next: 1,
    }
    .run();
    assert_eq!(removed.try_recv().unwrap().unwrap(), 1);
    let index = index.lock();
    assert_eq!((index.usage(gone), index.total()), (LandingUsage::default(), 10));
    assert_eq!(store::entries(&store::open(&database).unwrap()).unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sequences_are_never_used_twice_and_orphaned_files_go_at_start() {
    let directory = tempfile::tempdir().unwrap();
    let (channel, feed) = (ChannelId::new(), FeedId::new());
    let first = {
        let lake = lake(directory.path()).await;
        let landed = lake.landing().append(payload(channel, feed, stream_of(500_000, 3))).await.unwrap();
        lake.landing().free(channel, feed, landed.sequence).await.unwrap();
        landed.sequence
    };
    let orphan = directory.path().join("landing").join(channel.to_string()).join("rcp_x.payload");
    std::fs::write(&orphan, b"never acknowledged").unwrap();
    let lake = lake(directory.path()).await;
    assert!(!orphan.exists());
    let mut newest = lake.landing().watch(channel, feed);
    let second = lake.landing().append(payload(channel, feed, vec![1])).await.unwrap();
    assert!(second.sequence > first);
    assert_eq!(*newest.borrow_and_update(), second.sequence);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_could_not_be_written_is_not_acknowledged_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let lake = lake(directory.path()).await;
    let (channel, feed) = (ChannelId::new(), FeedId::new());
    let database = rusqlite::Connection::open(directory.path().join("landing/landing.db")).unwrap();
    database
        .execute_batch("CREATE TRIGGER refuse BEFORE INSERT ON payloads BEGIN SELECT RAISE(ABORT, 'no space'); END")
        .unwrap();
    for body in [Body::from(vec![1; 10]), stream_of(500_000, 3)] {
        let refused = lake.landing().append(payload(channel, feed, body)).await.unwrap_err();
        assert_eq!(refused.code(), "storage_failed");
    }
    assert_eq!(lake.landing().usage(channel), LandingUsage::default());
    let files = std::fs::read_dir(directory.path().join("landing").join(channel.to_string())).unwrap().count();
    assert_eq!(files, 0);
    database.execute_batch("DROP TRIGGER refuse").unwrap();
    lake.landing().append(payload(channel, feed, vec![1])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_landing_zone_gives_no_place_out_again_that_a_feed_has_passed() {
    let directory = tempfile::tempdir().unwrap();
    let (channel, feed) = (ChannelId::new(), FeedId::new());
    {
        let lake = lake(directory.path()).await;
        lake.fence_landing(500).await.unwrap();
        lake.fence_landing(3).await.unwrap();
    }
    let lake = lake(directory.path()).await;
    let landed = lake.landing().append(payload(channel, feed, vec![1])).await.unwrap();
    assert_eq!(landed.sequence, 501);
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_and_checkpoint_land_together_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let (channel, feed) = (ChannelId::new(), FeedId::new());
    let moved = |before: Option<&str>, value: &str| {
        Some(Checkpoint { partition: "p".to_owned(), before: before.map(str::to_owned), value: value.to_owned() })
    };
    let keyed =
        |key: &str, body: Vec<u8>| NewPayload { idempotency_key: Some(key.to_owned()), ..payload(channel, feed, body) };
    {
        let lake = lake(directory.path()).await;
        let landing = lake.landing();
        let both = vec![keyed("a", vec![1; 10]), keyed("b", vec![2; 2 << 20])];
        let landed = landing.append_all(channel, both, moved(None, "1")).await.unwrap();
        assert!(landed[0].sequence < landed[1].sequence);
        // Whoever stands elsewhere lands nothing, its large file neither.
        let other = vec![payload(channel, feed, vec![3; 2 << 20])];
        let refused = landing.append_all(channel, other, moved(None, "2")).await.unwrap_err();
        assert_eq!(refused.code(), "checkpoint_moved");
        // A name of the source's means one thing, whatever came under it; the rest is new.
        let again = vec![keyed("a", vec![9; 5]), keyed("c", vec![4; 10]), keyed("c", vec![4; 10])];
        let landed = landing.append_all(channel, again, moved(Some("1"), "2")).await.unwrap();
        assert_eq!(landed.iter().map(|one| one.duplicate).collect::<Vec<_>>(), [true, false, true]);
        let too_large = vec![payload(channel, feed, vec![0; 9]), NewPayload { max_bytes: 1, ..keyed("d", vec![0; 9]) }];
        assert!(landing.append_all(channel, too_large, moved(Some("2"), "3")).await.is_err());
        assert_eq!(landing.append_all(channel, Vec::new(), moved(Some("2"), "end")).await.unwrap(), []);
    }
    let lake = lake(directory.path()).await;
    let landing = lake.landing();
    assert_eq!(landing.checkpoints(channel).await.unwrap(), [("p".to_owned(), "end".to_owned())]);
    assert_eq!(landing.checkpoints(ChannelId::new()).await.unwrap(), []);
    let bodies: Vec<_> = landing.read(channel, feed, 0, u64::MAX).await.unwrap().iter().map(bytes_of).collect();
    assert_eq!(bodies, [vec![1; 10], vec![2; 2 << 20], vec![4; 10]]);
    assert_eq!(std::fs::read_dir(directory.path().join("landing").join(channel.to_string())).unwrap().count(), 1);
    assert!(landing.room(channel) > 1 << 30);
    landing.remove(channel).await.unwrap();
    assert_eq!(landing.checkpoints(channel).await.unwrap(), []);
}
