//! Whatever is refused is a problem document with the request's id, whoever refused it.

use axum::Router;
use axum::routing::get;
use http::Method;
use serde_json::json;

use crate::http::rate::{Quota, RateLimits};
use crate::testing::{TestApi, allow, data_out};

#[tokio::test]
async fn every_rejection_of_the_framework_is_a_problem_document() {
    for api in TestApi::all().await {
        let tenant = api.tenant("a").await;
        let huge = format!("{{\"name\":\"{}\"}}", "x".repeat(2 << 20));
        let post = |content_type: &str, body: String| {
            let call = api.call(Method::POST, "/v1/data-out-channels").token(&tenant.token);
            call.header("idempotency-key", "k").raw(content_type, body)
        };
        let replies = [
            (api.get(&tenant.token, "/v1/nothing").await, 404, "route_not_found"),
            (api.call(Method::PUT, "/v1/orders").token(&tenant.token).send().await, 405, "method_not_allowed"),
            (post("application/json", huge).send().await, 413, "body_too_large"),
            (post("text/plain", "x".to_owned()).send().await, 415, "unsupported_media_type"),
            (post("application/json", "{\n \"name\": }".to_owned()).send().await, 400, "invalid_json"),
            (post("application/json", "{}".to_owned()).send().await, 400, "invalid_body"),
            (api.get(&tenant.token, "/v1/orders?page_size=x").await, 400, "invalid_parameter"),
            (api.get(&tenant.token, "/v1/orders/ord_1").await, 404, "not_found"),
            (api.call(Method::GET, "/v1/orders").send().await, 401, "token_required"),
            (api.get("not-a-token", "/v1/orders").await, 401, "invalid_token"),
        ];
        for (reply, status, code) in replies {
            assert_eq!((reply.status.as_u16(), reply.code()), (status, code), "{}", reply.text);
            assert_eq!(reply.header("content-type"), "application/problem+json");
            assert_eq!(reply.body["request_id"], reply.header("x-request-id"));
            assert_eq!(reply.body["type"], format!("/docs/errors/{code}"));
            assert!(crate::error_pages::find(code).is_some(), "{code}");
        }
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_which_ones_are_offered() {
    for api in TestApi::all().await {
        let reply = api.call(Method::PUT, "/v1/data-out-channels").token(&api.admin).send().await.expect(405);
        assert_eq!(allow(&reply), ["GET", "HEAD", "POST"], "{}", api.name);
    }
}

#[tokio::test]
async fn a_panic_is_a_problem_that_tells_nothing_about_the_inside() {
    for mut api in TestApi::all().await {
        async fn broken() {
            panic!("the secret is 4711");
        }
        api.serve(Router::new().route("/broken", get(broken)));
        let reply = api.call(Method::GET, "/broken").send().await.expect(500);
        assert_eq!(reply.code(), "internal");
        assert!(!reply.text.contains("4711"), "{}", reply.text);
    }
}

#[tokio::test]
async fn a_request_id_is_echoed_and_named_in_the_problem() {
    for api in TestApi::all().await {
        let call = api.call(Method::GET, "/v1/orders").header("x-request-id", "checkout-4711");
        let reply = call.send().await.expect(401);
        assert_eq!(reply.header("x-request-id"), "checkout-4711");
        assert_eq!(reply.body["request_id"], "checkout-4711");
    }
}

#[tokio::test]
async fn pascal_case_keys_of_an_order_get_an_error_naming_the_right_one() {
    for api in TestApi::all().await {
        let tenant = api.tenant("a").await;
        let (_, element) = api.element(&tenant, "weather").await;
        for (given, meant) in [
            ("Data", "data"),
            ("ChannelProfile", "channel_profile"),
            ("PerformanceProfile", "performance_profile"),
            ("OutputDataModel", "output_data_model"),
        ] {
            let mut order = data_out(element);
            let value = order.as_object_mut().unwrap().remove(meant).unwrap_or(json!({}));
            order[given] = value;
            let reply = api.post(&tenant.token, "/v1/data-out-channels", &order).await.expect(400);
            assert_eq!(reply.pointers(), [format!("/{given}")]);
            assert_eq!(
                reply.body["errors"][0]["detail"],
                format!("there is no field {given:?}; it is called {meant:?}")
            );
        }
    }
}

#[tokio::test]
async fn too_many_requests_are_told_when_to_come_back_and_others_feel_nothing() {
    let limits = RateLimits { client: Quota { requests: 3, window_seconds: 10 }, ..RateLimits::default() };
    for api in TestApi::with_limits(limits).await {
        // Each tenant takes an administrator's request or two to make.
        api.clock.advance(chrono::TimeDelta::seconds(60));
        let fast = api.tenant("fast").await;
        api.clock.advance(chrono::TimeDelta::seconds(60));
        let calm = api.tenant("calm").await;
        for _ in 0..3 {
            let reply = api.get(&fast.token, "/v1/orders").await.expect(200);
            assert!(reply.header("ratelimit").starts_with("\"client\";r="), "{}", reply.header("ratelimit"));
            assert!(reply.header("ratelimit-policy").contains("\"client\";q=3;w=10"));
        }
        let reply = api.get(&fast.token, "/v1/orders").await.expect(429);
        assert_eq!(reply.code(), "rate_limited");
        assert!(reply.header("retry-after").parse::<u64>().unwrap() >= 1);
        api.get(&calm.token, "/v1/orders").await.expect(200);
    }
}
