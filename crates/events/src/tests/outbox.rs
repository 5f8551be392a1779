use std::time::Duration;

use chrono::TimeDelta;
use futures::StreamExt;
use headgate_database::args;
use headgate_types::{Coded, ErrorKind, EventId, TenantId};
use serde_json::json;

use super::{World, raw, worlds};
use crate::{EventType, EventsError};

/// Long enough for any machine; the test waits for a state, not for a time.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn events_are_listed_in_order_by_type_and_per_tenant() {
    for world in worlds().await {
        let (a, b) = (TenantId::new(), TenantId::new());
        for (tenant, event_type) in [
            (a, EventType::ChannelReady),
            (b, EventType::ChannelReady),
            (a, EventType::OrderFailed),
            (a, EventType::ChannelReady),
        ] {
            world.emit(tenant, event_type, "ch_1").await;
        }
        let all = world.log(a, 0).await;
        assert_eq!(all.iter().map(|event| event.sequence).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(world.log(a, 2).await, all[2..]);
        let mut tx = world.db.control.read_tenant(a).await.unwrap();
        let failed = crate::list(&mut tx, a, 0, 10, &[EventType::OrderFailed]).await.unwrap();
        assert_eq!(failed, all[1..2]);
        assert_eq!(crate::head(&mut tx, a).await.unwrap(), 3);
        drop(tx);
        let foreign = world.log(b, 0).await[0].id;
        let mut tx = world.db.control.read_tenant(a).await.unwrap();
        assert!(matches!(crate::get(&mut tx, a, foreign).await, Err(EventsError::NotFound("event"))));
    }
}

#[tokio::test]
async fn an_event_is_a_cloud_event() {
    for world in worlds().await {
        let tenant = TenantId::new();
        let id = world.emit(tenant, EventType::ChannelReady, "ch_1").await;
        let event = world.log(tenant, 0).await.remove(0).cloud_event();
        let document = serde_json::to_value(&event).unwrap();
        assert_eq!(
            document,
            json!({
                "specversion": "1.0",
                "id": id,
                "source": format!("/tenants/{tenant}"),
                "type": "io.headgate.channel.ready.v1",
                "subject": "ch_1",
                "time": "2026-01-02T03:04:05Z",
                "datacontenttype": "application/json",
                "sequence": "1",
                "data": { "subject": "ch_1" },
            })
        );
        assert_eq!(serde_json::from_value::<crate::CloudEvent>(document).unwrap(), event);
    }
}

#[tokio::test]
async fn an_event_with_a_given_id_is_written_once() {
    for world in worlds().await {
        let (tenant, id) = (TenantId::new(), EventId::new());
        for number in 0..3 {
            let mut tx = world.db.control.tenant(tenant).await.unwrap();
            let new = raw(tenant, EventType::OrderSucceeded, "ord_1", json!(number)).with_id(id);
            assert_eq!(crate::emit(&mut tx, &world.clock(), new).await.unwrap(), id);
            tx.commit().await.unwrap();
        }
        let log = world.log(tenant, 0).await;
        assert_eq!((log.len(), &log[0].data), (1, &json!(0)));
    }
}

#[tokio::test]
async fn an_event_of_a_rolled_back_transaction_never_was_and_leaves_no_gap() {
    for world in worlds().await {
        let tenant = TenantId::new();
        world.emit(tenant, EventType::ChannelReady, "1").await;
        let mut tx = world.db.control.tenant(tenant).await.unwrap();
        let new = raw(tenant, EventType::ChannelReady, "2", json!(null));
        crate::emit(&mut tx, &world.clock(), new).await.unwrap();
        drop(tx);
        world.emit(tenant, EventType::ChannelReady, "3").await;
        let log = world.log(tenant, 0).await;
        assert_eq!(
            log.iter().map(|event| (event.sequence, event.subject.as_str())).collect::<Vec<_>>(),
            [(1, "1"), (2, "3")]
        );
    }
}

/// The reader goes on from the last sequence it saw, as every consumer does, while transactions of
/// different length commit: it must see every event, in order, without a gap.
#[tokio::test]
async fn a_reader_misses_no_event_while_many_transactions_commit_at_once() {
    const WRITERS: usize = 8;
    const EACH: usize = 12;
    for world in worlds().await {
        let tenant = TenantId::new();
        let writers = futures::future::join_all((0..WRITERS).map(|writer| {
            let world = &world;
            async move {
                for number in 0..EACH {
                    let mut tx = world.db.control.tenant(tenant).await.unwrap();
                    let new = raw(tenant, EventType::ChannelReady, format!("{writer}-{number}"), json!({}));
                    crate::emit(&mut tx, &world.clock(), new).await.unwrap();
                    // Some take longer between their number and their commit.
                    for _ in 0..(writer * 3) {
                        tokio::task::yield_now().await;
                    }
                    if (writer + number) % 5 == 4 {
                        drop(tx);
                    } else {
                        tx.commit().await.unwrap();
                    }
                }
            }
        }));
        let expected = (0..WRITERS * EACH).filter(|n| (n / EACH + n % EACH) % 5 != 4).count();
        let reader = async {
            let (mut after, mut seen) = (0, Vec::new());
            while seen.len() < expected {
                for event in world.log(tenant, after).await {
                    assert_eq!(event.sequence, after + 1, "{}", world.db.name);
                    after = event.sequence;
                    seen.push(event.subject);
                }
                tokio::task::yield_now().await;
            }
            seen
        };
        let (_, seen) = tokio::time::timeout(PATIENCE, async { tokio::join!(writers, reader) }).await.unwrap();
        let distinct: std::collections::HashSet<_> = seen.iter().collect();
        assert_eq!(distinct.len(), expected);
        assert_eq!(world.log(tenant, 0).await.len(), expected);
    }
}

#[tokio::test]
async fn a_payload_that_is_too_large_is_refused() {
    for world in worlds().await {
        let tenant = TenantId::new();
        let mut tx = world.db.control.tenant(tenant).await.unwrap();
        let new = raw(tenant, EventType::ChannelReady, "x", json!("x".repeat(70_000)));
        let error = crate::emit(&mut tx, &world.clock(), new).await.unwrap_err();
        assert_eq!(error.fields()[0].code, "too_large");
    }
}

async fn next(feed: &mut (impl futures::Stream<Item = Result<crate::Event, EventsError>> + Unpin)) -> crate::Event {
    tokio::time::timeout(PATIENCE, feed.next()).await.unwrap().unwrap().unwrap()
}

#[tokio::test]
async fn a_feed_yields_what_is_there_and_then_what_comes() {
    for world in worlds().await {
        let (tenant, stranger) = (TenantId::new(), TenantId::new());
        world.emit(tenant, EventType::ChannelReady, "1").await;
        world.emit(tenant, EventType::ChannelReady, "2").await;
        let mut feed = Box::pin(world.events.feed(tenant, 1, Vec::new()).await.unwrap());
        assert_eq!(next(&mut feed).await.subject, "2");
        world.emit(stranger, EventType::ChannelReady, "not yours").await;
        let later = async {
            world.emit(tenant, EventType::OrderFailed, "3").await;
        };
        let (event, ()) = tokio::join!(next(&mut feed), later);
        assert_eq!((event.subject.as_str(), event.sequence), ("3", 3));
        // Without an announcement, as when another process has written it.
        let mut tx = world.db.control.tenant(tenant).await.unwrap();
        let new = raw(tenant, EventType::ChannelReady, "4", json!({}));
        crate::emit(&mut tx, &world.clock(), new).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(next(&mut feed).await.subject, "4");
        let mut chosen = Box::pin(world.events.feed(tenant, 0, vec![EventType::OrderFailed]).await.unwrap());
        assert_eq!(next(&mut chosen).await.subject, "3");
    }
}

async fn removed(world: &World, tenant: TenantId) -> u64 {
    let mut tx = world.db.control.read_tenant(tenant).await.unwrap();
    let (count,): (i64,) =
        tx.fetch_one("SELECT removed_to FROM outbox_heads WHERE tenant_id = $1", args![tenant]).await.unwrap();
    count.unsigned_abs()
}

#[tokio::test]
async fn events_that_are_gone_are_said_to_be_gone() {
    for world in worlds().await {
        let tenant = TenantId::new();
        for subject in ["1", "2"] {
            world.emit(tenant, EventType::ChannelReady, subject).await;
        }
        world.clock.advance(TimeDelta::days(31));
        world.emit(tenant, EventType::ChannelReady, "3").await;
        assert_eq!(world.sender().clean().await.unwrap(), 2);
        assert_eq!(removed(&world, tenant).await, 2);
        let mut tx = world.db.control.read_tenant(tenant).await.unwrap();
        let error = crate::list(&mut tx, tenant, 1, 10, &[]).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Gone, "events_too_old"));
        drop(tx);
        assert!(matches!(world.events.feed(tenant, 1, Vec::new()).await, Err(EventsError::TooOld { removed_to: 2 })));
        for after in [0, 2] {
            assert_eq!(world.log(tenant, after).await[0].subject, "3");
        }
        world.emit(tenant, EventType::ChannelReady, "4").await;
        assert_eq!(world.log(tenant, 3).await[0].sequence, 4);
    }
}

#[tokio::test]
async fn row_level_security_hides_other_tenants_events_from_the_app_role() {
    for world in worlds().await.into_iter().filter(|world| world.db.name == "postgres") {
        let (a, b) = (TenantId::new(), TenantId::new());
        world.emit(a, EventType::ChannelReady, "1").await;
        world.endpoint(a, "http://127.0.0.1:1/", Vec::new()).await;
        let mut tx = world.db.control.tenant(b).await.unwrap();
        for table in ["outbox", "outbox_heads", "endpoints", "event_deliveries", "event_attempts"] {
            let rows: Vec<(i64,)> = tx.fetch_all_built(format!("SELECT COUNT(*) FROM {table}"), args![]).await.unwrap();
            assert_eq!(rows[0].0, 0, "{table}");
        }
    }
}
