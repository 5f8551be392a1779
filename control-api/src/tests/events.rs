//! Events: pulled, streamed, and sent to endpoints.

use futures::StreamExt;
use headgate_events::{EventType, NewEvent, emit};
use http::Method;
use serde_json::json;

use crate::testing::{TestApi, TestTenant};

async fn emitted(api: &TestApi, tenant: &TestTenant, event_type: EventType) {
    let mut tx = api.db.control.tenant(tenant.id).await.unwrap();
    let new = NewEvent { tenant: tenant.id, event_type, subject: "ch_1".to_owned(), data: json!({"n": 1}), id: None };
    emit(&mut tx, &api.state.clock, new).await.unwrap();
    tx.commit().await.unwrap();
    api.state.events.announce();
}

#[tokio::test]
async fn events_are_pulled_in_order_and_strangers_see_none() {
    for api in TestApi::all().await {
        let (tenant, stranger) = (api.tenant("a").await, api.tenant("b").await);
        for event_type in [EventType::ChannelReady, EventType::OrderSucceeded, EventType::ChannelReady] {
            emitted(&api, &tenant, event_type).await;
        }
        let first = api.get(&tenant.token, "/v1/events?page_size=2").await.expect(200);
        assert_eq!((first.body["more"].as_bool(), first.body["next_after"].as_u64()), (Some(true), Some(2)));
        assert_eq!(first.body["items"][0]["specversion"], "1.0");
        let rest = api.get(&tenant.token, "/v1/events?after=2").await.expect(200);
        assert_eq!((rest.body["more"].as_bool(), rest.body["next_after"].as_u64()), (Some(false), Some(3)));
        let ready = format!("/v1/events?types={}", EventType::OrderSucceeded);
        let ready = api.get(&tenant.token, &ready).await.expect(200);
        assert_eq!((ready.body["items"].as_array().unwrap().len(), ready.body["next_after"].as_u64()), (1, Some(3)));
        let wrong = api.get(&tenant.token, "/v1/events?types=nothing").await.expect(400);
        assert_eq!(wrong.pointers(), ["types"]);
        assert!(api.get(&stranger.token, "/v1/events").await.body["items"].as_array().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_stream_goes_on_after_the_last_event_seen_and_ends_at_shutdown() {
    for api in TestApi::all().await {
        let tenant = api.tenant("a").await;
        emitted(&api, &tenant, EventType::ChannelReady).await;
        emitted(&api, &tenant, EventType::ChannelUpdated).await;
        let call = api.call(Method::GET, "/v1/events/stream").token(&tenant.token).header("last-event-id", "1");
        let mut body = call.open().await;
        let mut text = String::new();
        while !text.contains("id: 2") && !text.contains("id:2") {
            text.push_str(&String::from_utf8_lossy(&body.next().await.unwrap().unwrap()));
        }
        assert!(text.contains("io.headgate.channel.updated.v1") && !text.contains("channel.ready"), "{text}");
        emitted(&api, &tenant, EventType::ChannelDeleted).await;
        while !text.contains("io.headgate.channel.deleted.v1") {
            text.push_str(&String::from_utf8_lossy(&body.next().await.unwrap().unwrap()));
        }
        api.state.shutdown.cancel();
        while let Some(frame) = body.next().await {
            frame.unwrap();
        }
        let wrong = api.call(Method::GET, "/v1/events/stream").token(&tenant.token).header("last-event-id", "x");
        assert_eq!(wrong.send().await.expect(400).pointers(), ["Last-Event-ID"]);
    }
}

#[tokio::test]
async fn an_endpoint_is_kept_by_its_tenant_alone() {
    for api in TestApi::all().await {
        let (tenant, stranger) = (api.tenant("a").await, api.tenant("b").await);
        let new = json!({"url": "http://127.0.0.1:9/hook", "types": ["io.headgate.channel.ready.v1"]});
        let made = api.post(&tenant.token, "/v1/event-endpoints", &new).await.expect(201);
        assert!(made.body["signing_secret"].as_str().unwrap().starts_with("whsec_"));
        let path = made.header("location").to_owned();
        let read = api.get(&tenant.token, &path).await.expect(200);
        assert!(read.body.get("signing_secret").is_none());
        for place in ["", "/attempts", "/deliveries"] {
            api.get(&stranger.token, &format!("{path}{place}")).await.expect(404);
        }
        let patch = |token: &str| api.call(Method::PATCH, &path).token(token).json(&json!({"description": "new"}));
        patch(&tenant.token).send().await.expect(428);
        patch(&stranger.token).header("if-match", "*").send().await.expect(404);
        patch(&tenant.token).header("if-match", "\"v99\"").send().await.expect(412);
        let changed = patch(&tenant.token).header("if-match", read.header("etag")).send().await.expect(200);
        assert_eq!(changed.body["description"], "new");
        assert_ne!(changed.header("etag"), read.header("etag"));

        emitted(&api, &tenant, EventType::ChannelReady).await;
        let since = json!({"since": "2026-01-01T00:00:00Z"});
        let recovered = api.post(&tenant.token, &format!("{path}/recover"), &since).await.expect(202);
        assert_eq!(recovered.body["events"], 1);
        let event = api.get(&tenant.token, "/v1/events").await.body["items"][0]["id"].clone();
        api.post(&tenant.token, &format!("{path}/resend"), &json!({"event": event})).await.expect(202);
        api.post(&stranger.token, &format!("{path}/resend"), &json!({"event": event})).await.expect(404);
        let deliveries = api.get(&tenant.token, &format!("{path}/deliveries")).await.expect(200);
        assert_eq!(deliveries.body["items"][0]["event"], event);
        let rotated = api.post(&tenant.token, &format!("{path}/rotate-secret"), &json!({})).await.expect(200);
        assert_ne!(rotated.body["signing_secret"], made.body["signing_secret"]);
        // Nothing listens there: the example says so, and the answer is still an answer.
        let example = json!({"type": "io.headgate.channel.ready.v1"});
        let tried = api.post(&tenant.token, &format!("{path}/test"), &example).await.expect(200);
        assert!(tried.body["error"].is_string(), "{}", tried.text);

        let delete = api.call(Method::DELETE, &path).token(&tenant.token).header("if-match", "*").send().await;
        delete.expect(204);
        api.get(&tenant.token, &path).await.expect(404);
        let refused = api.post(&tenant.token, "/v1/event-endpoints", &json!({"url": "ftp://x"})).await.expect(422);
        assert_eq!(refused.pointers(), ["/url"]);
    }
}
