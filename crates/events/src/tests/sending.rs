//! The sender against real receivers on this machine, with a clock that the test moves.

use std::time::Duration;

use chrono::TimeDelta;
use headgate_types::{Clock, TenantId};
use tokio_util::sync::CancellationToken;

use super::receiver::{Received, Receiver};
use super::{World, worlds};
use crate::endpoints;
use crate::{CloudEvent, DeliveryState, Endpoint, EndpointPatch, EndpointState, EventType, EventsError, signing};

fn check_signature(received: &Received, secret: &secrecy::SecretString) -> Result<(), EventsError> {
    let timestamp = received.header("webhook-timestamp").parse().unwrap();
    let (id, signatures) = (received.header("webhook-id"), received.header("webhook-signature"));
    signing::verify_hmac(secret, id, timestamp, &received.body, signatures, timestamp)
}

fn event(received: &Received) -> CloudEvent {
    serde_json::from_slice(&received.body).unwrap()
}

async fn states(world: &World, tenant: TenantId, endpoint: &Endpoint) -> Vec<(DeliveryState, i64)> {
    let mut tx = world.db.control.read_tenant(tenant).await.unwrap();
    let deliveries = endpoints::deliveries(&mut tx, tenant, endpoint.id, None, 100).await.unwrap();
    deliveries.into_iter().rev().map(|delivery| (delivery.state, delivery.attempts)).collect()
}

async fn patch(world: &World, tenant: TenantId, endpoint: &Endpoint, state: EndpointState) {
    let mut tx = world.db.control.tenant(tenant).await.unwrap();
    let patch = EndpointPatch { state: Some(state), ..EndpointPatch::default() };
    world.events.update_endpoint(&mut tx, tenant, endpoint.id, patch, None).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn an_endpoint_gets_the_signed_events_it_wants_from_its_creation_on() {
    for world in worlds().await {
        let (tenant, receiver) = (TenantId::new(), Receiver::start().await);
        world.emit(tenant, EventType::ChannelReady, "before").await;
        let (endpoint, secret) = world.endpoint(tenant, &receiver.url, vec![EventType::ChannelReady]).await;
        let wanted = world.emit(tenant, EventType::ChannelReady, "1").await;
        world.emit(tenant, EventType::OrderFailed, "2").await;
        world.emit(TenantId::new(), EventType::ChannelReady, "not yours").await;
        assert_eq!(world.sender().run_once().await.unwrap(), 1);
        assert_eq!(world.sender().run_once().await.unwrap(), 0);
        let received = receiver.received();
        assert_eq!(received.len(), 1);
        let first = &received[0];
        assert_eq!((event(first).id, first.header("webhook-id")), (wanted, wanted.to_string().as_str()));
        assert_eq!(first.header("content-type"), "application/cloudevents+json; charset=utf-8");
        check_signature(first, &secret).unwrap();
        let (id, signatures) = (first.header("webhook-id"), first.header("webhook-signature"));
        let timestamp = first.header("webhook-timestamp").parse().unwrap();
        signing::verify_ed25519(&world.events.public_key(), id, timestamp, &first.body, signatures, timestamp).unwrap();
        assert_eq!(states(&world, tenant, &endpoint).await, [(DeliveryState::Delivered, 1)]);
        let mut tx = world.db.control.read_tenant(tenant).await.unwrap();
        let attempts = endpoints::attempts(&mut tx, tenant, endpoint.id, None, 10).await.unwrap();
        assert_eq!((attempts[0].status, attempts[0].event, attempts[0].attempt), (Some(204), wanted, 1));
    }
}

#[tokio::test]
async fn a_failed_event_is_tried_again_later_under_the_same_id() {
    for world in worlds().await {
        let (tenant, receiver) = (TenantId::new(), Receiver::start().await);
        let (endpoint, secret) = world.endpoint(tenant, &receiver.url, Vec::new()).await;
        receiver.answer(&[(500, None), (302, None), (503, Some("600")), (200, None)]);
        let id = world.emit(tenant, EventType::ChannelReady, "1").await;
        let sender = world.sender();
        // Pauses as the schedule has them: 5 s and 30 s with jitter, then what the receiver asked for.
        for (early, late) in [(0, 0), (4, 3), (29, 8), (599, 2)] {
            world.clock.advance(TimeDelta::seconds(early));
            assert_eq!(sender.run_once().await.unwrap(), usize::from(early == 0), "{early}");
            world.clock.advance(TimeDelta::seconds(late));
            assert_eq!(sender.run_once().await.unwrap(), usize::from(early != 0), "{late}");
        }
        let received = receiver.received();
        assert_eq!(received.len(), 4);
        assert!(received.iter().all(|one| one.header("webhook-id") == id.to_string()));
        assert_ne!(received[0].header("webhook-timestamp"), received[3].header("webhook-timestamp"));
        check_signature(&received[3], &secret).unwrap();
        assert_eq!(states(&world, tenant, &endpoint).await, [(DeliveryState::Delivered, 4)]);
        let mut tx = world.db.control.read_tenant(tenant).await.unwrap();
        let attempts = endpoints::attempts(&mut tx, tenant, endpoint.id, None, 10).await.unwrap();
        assert_eq!(attempts.iter().map(|one| one.status.unwrap()).collect::<Vec<_>>(), [200, 503, 302, 500]);
        assert_eq!(attempts[0].response.as_deref(), Some("thanks\u{fffd}"), "PostgreSQL keeps no U+0000");
        let older = endpoints::attempts(&mut tx, tenant, endpoint.id, Some(attempts[1].id), 10).await.unwrap();
        assert_eq!(older, attempts[2..]);
        drop(tx);
        assert!(world.read(tenant, &endpoint).await.failing_since.is_none());
    }
}

#[tokio::test]
async fn an_answer_410_disables_the_endpoint_and_tells_its_owner() {
    for world in worlds().await {
        let (tenant, receiver) = (TenantId::new(), Receiver::start().await);
        let (endpoint, _) = world.endpoint(tenant, &receiver.url, Vec::new()).await;
        receiver.answer(&[(410, None)]);
        world.emit(tenant, EventType::ChannelReady, "1").await;
        world.emit(tenant, EventType::ChannelReady, "2").await;
        assert_eq!(world.sender().run_once().await.unwrap(), 1);
        world.clock.advance(TimeDelta::days(1));
        assert_eq!(world.sender().run_once().await.unwrap(), 0);
        let now = world.read(tenant, &endpoint).await;
        assert_eq!(now.state, EndpointState::Disabled);
        assert!(now.state_reason.unwrap().contains("410"));
        assert_eq!(states(&world, tenant, &endpoint).await, [(DeliveryState::Failed, 1), (DeliveryState::Failed, 0)]);
        let log = world.log(tenant, 2).await;
        assert_eq!(log[0].event_type, EventType::EndpointDisabled.as_str());
        assert_eq!(log[0].data["endpoint"], endpoint.id.to_string());
    }
}

#[tokio::test]
async fn an_endpoint_that_only_fails_for_five_days_is_disabled() {
    for world in worlds().await {
        let tenant = TenantId::new();
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dead = format!("http://{}/", socket.local_addr().unwrap());
        drop(socket);
        let (endpoint, _) = world.endpoint(tenant, &dead, Vec::new()).await;
        world.emit(tenant, EventType::ChannelReady, "1").await;
        let start = world.clock.now();
        let mut tries = 0;
        while world.read(tenant, &endpoint).await.state == EndpointState::Active {
            tries += world.sender().run_once().await.unwrap();
            world.clock.advance(TimeDelta::hours(1));
            assert!(world.clock.now() - start < TimeDelta::days(8), "it is never disabled");
        }
        assert!(world.clock.now() - start > TimeDelta::days(5));
        assert!(tries > 8, "{tries}");
        let mut tx = world.db.control.read_tenant(tenant).await.unwrap();
        let attempts = endpoints::attempts(&mut tx, tenant, endpoint.id, None, 100).await.unwrap();
        assert_eq!(attempts.len(), tries);
        assert!(attempts.iter().all(|attempt| attempt.status.is_none() && attempt.error.is_some()));
    }
}

#[tokio::test]
async fn an_endpoint_enabled_again_goes_on_with_new_events_and_recovers_on_request() {
    for world in worlds().await {
        let (tenant, receiver) = (TenantId::new(), Receiver::start().await);
        let (endpoint, _) = world.endpoint(tenant, &receiver.url, Vec::new()).await;
        world.emit(tenant, EventType::ChannelReady, "taken").await;
        world.sender().run_once().await.unwrap();
        world.clock.advance(TimeDelta::minutes(1));
        let since = world.clock.now();
        patch(&world, tenant, &endpoint, EndpointState::Disabled).await;
        world.emit(tenant, EventType::ChannelReady, "missed").await;
        assert_eq!(world.sender().run_once().await.unwrap(), 0);
        let mut tx = world.db.control.tenant(tenant).await.unwrap();
        let refused = endpoints::recover(&mut tx, tenant, endpoint.id, since, &world.clock()).await;
        assert!(matches!(refused, Err(EventsError::Invalid(_))));
        drop(tx);
        patch(&world, tenant, &endpoint, EndpointState::Active).await;
        world.emit(tenant, EventType::ChannelReady, "next").await;
        assert_eq!(world.sender().run_once().await.unwrap(), 1);
        let mut tx = world.db.control.tenant(tenant).await.unwrap();
        let count = endpoints::recover(&mut tx, tenant, endpoint.id, since, &world.clock()).await.unwrap();
        let again = endpoints::recover(&mut tx, tenant, endpoint.id, since, &world.clock()).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!((count, again), (1, 0));
        world.sender().run_once().await.unwrap();
        let subjects: Vec<_> = receiver.received().iter().map(|one| event(one).subject).collect();
        assert_eq!(subjects, ["taken", "next", "missed"]);
    }
}

#[tokio::test]
async fn a_delivered_event_is_sent_again_on_request_under_the_same_id() {
    for world in worlds().await {
        let (tenant, receiver) = (TenantId::new(), Receiver::start().await);
        let (endpoint, _) = world.endpoint(tenant, &receiver.url, Vec::new()).await;
        let id = world.emit(tenant, EventType::ChannelReady, "1").await;
        world.sender().run_once().await.unwrap();
        let mut tx = world.db.control.tenant(tenant).await.unwrap();
        endpoints::resend(&mut tx, tenant, endpoint.id, id, &world.clock()).await.unwrap();
        let unknown = endpoints::resend(&mut tx, tenant, endpoint.id, Default::default(), &world.clock()).await;
        assert!(matches!(unknown, Err(EventsError::NotFound("event"))));
        tx.commit().await.unwrap();
        world.sender().run_once().await.unwrap();
        let received = receiver.received();
        assert_eq!(received.len(), 2);
        assert_eq!(received[0].header("webhook-id"), received[1].header("webhook-id"));
        assert_eq!(states(&world, tenant, &endpoint).await, [(DeliveryState::Delivered, 2)]);
    }
}

#[tokio::test]
async fn during_a_secret_rotation_both_secrets_sign() {
    for world in worlds().await {
        let (tenant, receiver) = (TenantId::new(), Receiver::start().await);
        let (endpoint, old) = world.endpoint(tenant, &receiver.url, Vec::new()).await;
        let mut tx = world.db.control.tenant(tenant).await.unwrap();
        let (_, new) =
            world.events.rotate_endpoint_secret(&mut tx, tenant, endpoint.id, TimeDelta::hours(1)).await.unwrap();
        tx.commit().await.unwrap();
        world.emit(tenant, EventType::ChannelReady, "1").await;
        world.sender().run_once().await.unwrap();
        world.clock.advance(TimeDelta::hours(1));
        world.emit(tenant, EventType::ChannelReady, "2").await;
        world.sender().run_once().await.unwrap();
        let received = receiver.received();
        for (number, secret, fits) in [(0, &old, true), (0, &new, true), (1, &old, false), (1, &new, true)] {
            assert_eq!(check_signature(&received[number], secret).is_ok(), fits, "{number}");
        }
    }
}

#[tokio::test]
async fn an_example_is_sent_at_once_and_is_in_no_log() {
    for world in worlds().await {
        let (tenant, receiver) = (TenantId::new(), Receiver::start().await);
        let (endpoint, secret) = world.endpoint(tenant, &receiver.url, Vec::new()).await;
        let attempt = world.events.send_example(tenant, endpoint.id, EventType::UsageThreshold).await.unwrap();
        assert_eq!(attempt.status, Some(204));
        let received = receiver.received();
        check_signature(&received[0], &secret).unwrap();
        assert_eq!(event(&received[0]).event_type, EventType::UsageThreshold.as_str());
        assert!(world.log(tenant, 0).await.is_empty());
    }
}

#[tokio::test]
async fn a_receiver_that_hangs_delays_nobody_else_and_the_sender_stops_cleanly() {
    for world in worlds().await {
        let (slow, quick, receiver) = (TenantId::new(), TenantId::new(), Receiver::start().await);
        world.endpoint(slow, &receiver.url.replace("/hook", "/hang"), Vec::new()).await;
        world.endpoint(quick, &receiver.url, Vec::new()).await;
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(world.sender().run(shutdown.clone()));
        world.emit(slow, EventType::ChannelReady, "x").await;
        for number in 1..=5 {
            world.emit(quick, EventType::ChannelReady, "y").await;
            // Far less than the 15 seconds after which the other is given up.
            tokio::time::timeout(Duration::from_secs(10), receiver.wait_for(number)).await.unwrap();
        }
        receiver.release();
        shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(60), running).await.unwrap().unwrap();
        let subjects: Vec<_> = receiver.received().iter().map(|one| event(one).sequence).collect();
        assert_eq!(subjects, ["1", "2", "3", "4", "5"]);
    }
}

#[tokio::test]
async fn two_senders_send_each_event_once() {
    for world in worlds().await {
        let (tenant, receiver) = (TenantId::new(), Receiver::start().await);
        let (endpoint, _) = world.endpoint(tenant, &receiver.url, Vec::new()).await;
        for number in 0..25 {
            world.emit(tenant, EventType::ChannelReady, &number.to_string()).await;
        }
        let (one, two) = (world.sender(), world.sender());
        let mut tries = 0;
        while tries < 25 {
            let (a, b) = tokio::join!(one.run_once(), two.run_once());
            tries += a.unwrap() + b.unwrap();
        }
        assert_eq!((tries, receiver.received().len()), (25, 25));
        assert!(states(&world, tenant, &endpoint).await.iter().all(|one| *one == (DeliveryState::Delivered, 1)));
    }
}
