//! Ordering channels, changing them, and looking at them.

use std::sync::atomic::Ordering;

use headgate_types::engine::{DeadLetter, DeadLetterSide};
use headgate_types::{ChannelId, Clock, DeadLetterId, ElementId};
use http::Method;
use serde_json::{Value, json};

use crate::testing::{TestApi, data_in, data_out};

fn id(value: &Value) -> &str {
    value["id"].as_str().unwrap()
}

#[tokio::test]
async fn an_order_answers_202_with_the_channel_and_where_to_look() {
    for api in TestApi::all().await {
        let tenant = api.tenant("a").await;
        let (_, element) = api.element(&tenant, "weather").await;
        let reply = api.data_out(&tenant, element).await;
        let (channel, order) = (&reply.body["channel"], &reply.body["order"]);
        assert_eq!((channel["state"].as_str(), order["state"].as_str()), (Some("PROVISIONING"), Some("PENDING")));
        assert_eq!(reply.header("location"), format!("/v1/orders/{}", id(order)));
        let seen = api.get(&tenant.token, reply.header("location")).await.expect(200);
        assert_eq!(seen.header("retry-after"), "1");
        assert!(!seen.body["steps"].as_array().unwrap().is_empty());
        assert!(api.engine.woken.load(Ordering::SeqCst) > 0);
        let path = format!("/v1/data-out-channels/{}", id(channel));
        assert_eq!(api.get(&tenant.token, &path).await.expect(200).header("etag"), reply.header("etag"));
        // A channel of one direction is not one of the other.
        api.get(&tenant.token, &format!("/v1/data-in-channels/{}", id(channel))).await.expect(404);
    }
}

#[tokio::test]
async fn another_tenants_channels_and_orders_are_not_found() {
    for api in TestApi::all().await {
        let (tenant, stranger) = (api.tenant("a").await, api.tenant("b").await);
        let (_, element) = api.element(&tenant, "weather").await;
        let made = api.data_out(&tenant, element).await;
        let path = format!("/v1/data-out-channels/{}", id(&made.body["channel"]));
        for place in ["", "/statistics", "/dead-letters", "/snippets"] {
            assert_eq!(api.get(&stranger.token, &format!("{path}{place}")).await.expect(404).code(), "not_found");
        }
        for verb in ["pause", "resume", "rotate-credentials"] {
            api.post(&stranger.token, &format!("{path}/{verb}"), &json!({})).await.expect(404);
        }
        for method in [Method::DELETE, Method::PATCH] {
            let call = api.call(method, &path).token(&stranger.token).header("if-match", "*");
            call.json(&json!({"name": "x"})).send().await.expect(404);
        }
        let order = made.header("location");
        api.get(&stranger.token, order).await.expect(404);
        api.post(&stranger.token, &format!("{order}/cancel"), &json!({})).await.expect(404);
        assert!(api.get(&stranger.token, "/v1/orders").await.expect(200).body["items"].as_array().unwrap().is_empty());
        let list = api.get(&stranger.token, "/v1/data-out-channels").await.expect(200);
        assert!(list.body["items"].as_array().unwrap().is_empty());
        // Nor can it be selected.
        let reply = api.post(&stranger.token, "/v1/data-out-channels", &data_out(element)).await.expect(422);
        assert_eq!(reply.pointers(), ["/data/0/element"]);
    }
}

#[tokio::test]
async fn a_repeated_order_is_placed_once() {
    for api in TestApi::all().await {
        let tenant = api.tenant("a").await;
        let path = "/v1/data-in-channels";
        let order = |name: &str| {
            let call = api.call(Method::POST, path).token(&tenant.token).header("idempotency-key", "\"k-1\"");
            call.json(&data_in(name)).send()
        };
        let first = order("weather").await.expect(202);
        let again = order("weather").await.expect(202);
        assert_eq!(again.body, first.body);
        assert_eq!(again.header("location"), first.header("location"));
        assert_eq!(again.header("idempotent-replayed"), "true");
        assert_eq!(order("other").await.expect(422).code(), "idempotency_key_reused");
        let listed = api.get(&tenant.token, path).await.expect(200);
        assert_eq!(listed.body["items"].as_array().unwrap().len(), 1);
        let without = api.call(Method::POST, path).token(&tenant.token).json(&data_in("x")).send().await.expect(400);
        assert_eq!(without.code(), "idempotency_key_required");
    }
}

#[tokio::test]
async fn validate_only_quotes_and_previews_and_changes_nothing() {
    for api in TestApi::all().await {
        let tenant = api.tenant("a").await;
        let (channel, element) = api.element(&tenant, "weather").await;
        let mut order = data_out(element);
        order["validate_only"] = json!(true);
        let call = api.call(Method::POST, "/v1/data-out-channels").token(&tenant.token).json(&order);
        let reply = call.send().await.expect(200);
        assert_eq!((reply.body["valid"].as_bool(), reply.body["records_in_scope"].as_u64()), (Some(true), Some(1_000)));
        assert_eq!(reply.body["elements"][0]["preview"], json!([{"id": 1}]));
        assert!(reply.body["price"].is_object());
        let mut order = data_in("other");
        order["validate_only"] = json!(true);
        api.post(&tenant.token, "/v1/data-in-channels", &order).await.expect(200);
        let orders = api.get(&tenant.token, "/v1/orders").await.expect(200);
        assert_eq!(orders.body["items"].as_array().unwrap().len(), 1);
        assert_eq!(orders.body["items"][0]["channel"], channel.to_string());
    }
}

#[tokio::test]
async fn a_wrong_order_names_every_place_and_changes_nothing() {
    for api in TestApi::all().await {
        let tenant = api.tenant("a").await;
        let (_, element) = api.element(&tenant, "weather").await;
        let mut order = data_out(element);
        order["data"] = json!([{"element": element, "filter": "broken"}]);
        let reply = api.post(&tenant.token, "/v1/data-out-channels", &order).await.expect(422);
        assert_eq!(reply.pointers(), ["/data/0/filter"]);
        order["timing"] = json!({"mode": "interval", "every": "soon"});
        order["name"] = json!("");
        let reply = api.post(&tenant.token, "/v1/data-out-channels", &order).await.expect(422);
        assert_eq!(reply.pointers(), ["/timing/every", "/name"]);
        let mut order = data_out(element);
        order["channel_profile"] = json!("pigeon");
        let reply = api.post(&tenant.token, "/v1/data-out-channels", &order).await.expect(422);
        assert_eq!(reply.pointers(), ["/channel_profile"]);
        let mut order = data_out(element);
        order["performance_profile"] = json!("XXXL");
        let reply = api.post(&tenant.token, "/v1/data-out-channels", &order).await.expect(422);
        assert_eq!(reply.pointers(), ["/performance_profile"]);
        let mut order = data_in("second");
        order["feeds"][0]["input_model"] = json!({"null_markers": ["broken"]});
        order["feeds"][0]["new_element"]["metadata"]["context"] = json!(" ");
        let reply = api.post(&tenant.token, "/v1/data-in-channels", &order).await.expect(422);
        assert_eq!(reply.pointers(), ["/feeds/0/new_element/metadata/context"]);
        let mut order = data_in("second");
        order["feeds"][0]["input_model"] = json!({"null_markers": ["broken"]});
        let reply = api.post(&tenant.token, "/v1/data-in-channels", &order).await.expect(422);
        assert_eq!(reply.pointers(), ["/feeds/0/input_model/null_markers/0"]);
        let orders = api.get(&tenant.token, "/v1/orders").await.expect(200);
        assert_eq!(orders.body["items"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_schema_is_inferred_from_the_sample_in_an_order() {
    for api in TestApi::all().await {
        let tenant = api.tenant("a").await;
        let mut order = data_in("weather");
        let element = order["feeds"][0]["new_element"].as_object_mut().unwrap();
        element.remove("schema");
        element.insert("sample".to_owned(), json!({"format": "csv", "text": "id\n1\n", "keys": ["id"]}));
        let reply = api.post(&tenant.token, "/v1/data-in-channels", &order).await.expect(202);
        let schema = &reply.body["channel"]["spec"]["feeds"][0]["new_element"]["schema"];
        assert_eq!(schema["fields"][0]["name"], "id");
    }
}

#[tokio::test]
async fn changes_need_the_present_etag_and_one_order_at_a_time() {
    for api in TestApi::all().await {
        let tenant = api.tenant("a").await;
        let (_, element) = api.element(&tenant, "weather").await;
        let made = api.data_out(&tenant, element).await;
        let path = format!("/v1/data-out-channels/{}", id(&made.body["channel"]));
        let patch = || api.call(Method::PATCH, &path).token(&tenant.token).json(&json!({"performance_profile": "L"}));
        assert_eq!(patch().send().await.expect(428).code(), "if_match_required");
        assert_eq!(patch().header("if-match", "\"v9\"").send().await.expect(412).code(), "etag_mismatch");
        // The create order is open.
        let busy = patch().header("if-match", made.header("etag")).send().await.expect(409);
        assert_eq!(busy.code(), "order_in_progress");
        assert!(busy.body["detail"].as_str().unwrap().contains(id(&made.body["order"])), "{}", busy.text);

        let delete = || api.call(Method::DELETE, &path).token(&tenant.token);
        assert_eq!(delete().send().await.expect(428).code(), "if_match_required");
        let gone = delete().header("if-match", made.header("etag")).send().await.expect(202);
        assert_eq!(gone.body["channel"]["state"], "DELETING");
        let superseded = api.get(&tenant.token, made.header("location")).await.expect(200);
        assert_eq!(superseded.body["superseded_by"], gone.body["order"]["id"]);
    }
}

#[tokio::test]
async fn an_order_is_cancelled_and_the_change_recorded() {
    for api in TestApi::all().await {
        let tenant = api.tenant("a").await;
        let made = api.post(&tenant.token, "/v1/data-in-channels", &data_in("weather")).await.expect(202);
        let path = format!("{}/cancel", made.header("location"));
        let reply = api.post(&tenant.token, &path, &json!({})).await.expect(202);
        assert_eq!(reply.body["undoing"], true);
        let listed = api.get(&tenant.token, "/v1/orders?filter=state=RUNNING").await.expect(200);
        assert_eq!(listed.body["items"][0]["id"], reply.body["id"]);
        let audit = api.get(&api.admin, &format!("/v1/admin/audit?tenant={}", tenant.id)).await.expect(200);
        let actions: Vec<_> = audit.body["items"].as_array().unwrap().iter().map(|row| row["action"].clone()).collect();
        assert!(actions.contains(&json!("order.cancel")) && actions.contains(&json!("channel.create")), "{actions:?}");
    }
}

#[tokio::test]
async fn dead_letters_are_listed_in_pages_and_read_one_by_one() {
    for api in TestApi::all().await {
        let (tenant, stranger) = (api.tenant("a").await, api.tenant("b").await);
        let (channel, element) = api.element(&tenant, "weather").await;
        let letters: Vec<_> = (0..3).map(|_| letter(&api, channel, element)).collect();
        api.engine.dead_letters.lock().extend(letters.iter().cloned().map(|letter| (tenant.id, letter)));
        let path = format!("/v1/data-in-channels/{channel}/dead-letters");
        let first = api.get(&tenant.token, &format!("{path}?page_size=2")).await.expect(200);
        assert_eq!(first.body["items"].as_array().unwrap().len(), 2);
        let token = first.body["next_page_token"].as_str().unwrap();
        let next = api.get(&tenant.token, &format!("{path}?page_size=2&page_token={token}")).await.expect(200);
        assert_eq!(next.body["items"].as_array().unwrap().len(), 1);
        let one = format!("{path}/{}", letters[0].id);
        assert_eq!(api.get(&tenant.token, &one).await.expect(200).body["field_path"], "/origin");
        api.get(&stranger.token, &one).await.expect(404);
        api.get(&tenant.token, &format!("{path}/{}", DeadLetterId::new())).await.expect(404);
    }
}

fn letter(api: &TestApi, channel: ChannelId, element: ElementId) -> DeadLetter {
    DeadLetter {
        id: DeadLetterId::new(),
        channel,
        feed: Some("hourly".to_owned()),
        element,
        side: DeadLetterSide::In,
        code: "not_a_number".to_owned(),
        reason: "\"x\" is not a number".to_owned(),
        field_path: Some("/origin".to_owned()),
        model_version: 1,
        receipt: None,
        ordinal: Some(1),
        raw: "{}".to_owned(),
        created_at: api.clock.now(),
    }
}

#[tokio::test]
async fn an_engine_that_is_away_is_said_so_and_nothing_is_ordered() {
    for api in TestApi::all().await {
        let tenant = api.tenant("a").await;
        let (channel, element) = api.element(&tenant, "weather").await;
        api.engine.down.store(true, Ordering::SeqCst);
        let reply = api.post(&tenant.token, "/v1/data-out-channels", &data_out(element)).await.expect(503);
        assert_eq!((reply.code(), reply.header("retry-after")), ("engine_unreachable", "2"));
        api.get(&tenant.token, &format!("/v1/data-in-channels/{channel}/statistics")).await.expect(503);
        api.get(&tenant.token, &format!("/v1/data-in-channels/{channel}")).await.expect(200);
        assert!(api.get(&tenant.token, "/v1/data-out-channels").await.body["items"].as_array().unwrap().is_empty());
    }
}

#[tokio::test]
async fn snippets_hold_the_channels_address_and_no_secret() {
    for api in TestApi::all().await {
        let tenant = api.tenant("a").await;
        let (channel, _) = api.element(&tenant, "weather").await;
        let reply = api.get(&tenant.token, &format!("/v1/data-in-channels/{channel}/snippets")).await.expect(200);
        let code = reply.body["items"][0]["code"].as_str().unwrap();
        assert!(code.contains(&format!("http://127.0.0.1:7171/v1/in/{channel}/hourly")), "{code}");
        assert!(!code.contains("hgk_"));
    }
}
