//! The import API behind a gateway, as companies have one in front of what others may call.

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures::TryStreamExt;
use serde_json::{Value, json};

use crate::harness::stage::reading;
use crate::harness::{Options, Platform, Stage};

/// What a partner shows the gateway; Headgate never sees it.
const PARTNER: &str = "partner-7";

/// Lets partners at the import API, and at nothing else, under a path of its own.
async fn pass(State(behind): State<String>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let is_partner = head.headers.get("x-gateway-key").is_some_and(|key| key == PARTNER);
    let path = head.uri.path().strip_prefix("/imports").filter(|path| path.starts_with("/v1/in/"));
    let Some(path) = path.filter(|_| is_partner) else { return StatusCode::FORBIDDEN.into_response() };
    let mut headers = head.headers.clone();
    for own in ["host", "x-gateway-key"] {
        headers.remove(own);
    }
    headers.insert("x-forwarded-for", "203.0.113.9".parse().unwrap());
    let call = reqwest::Client::new().request(head.method, format!("{behind}{path}")).headers(headers);
    let body = reqwest::Body::wrap_stream(body.into_data_stream().map_err(std::io::Error::other));
    let Ok(answer) = call.body(body).send().await else { return StatusCode::BAD_GATEWAY.into_response() };
    let mut passed = Response::builder().status(answer.status());
    for (name, value) in answer.headers().iter().filter(|(name, _)| *name != "transfer-encoding") {
        passed = passed.header(name, value);
    }
    passed.body(Body::from_stream(answer.bytes_stream())).unwrap()
}

#[tokio::test]
async fn an_import_api_behind_a_gateway_names_its_address_takes_what_it_passes_and_answers_through_it() {
    let gateway = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let public = format!("http://{}/imports", gateway.local_addr().unwrap());
    // The gateway has to know the listener before Headgate runs.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let router = Router::new().fallback(pass).with_state(format!("http://127.0.0.1:{port}"));
    tokio::spawn(async move { axum::serve(gateway, router).await });
    let options = Options { ports: [0, port, 0], ..Options::arguments(&["--data-url", &public]) };
    let stage = Stage::on(Platform::start_with(options).unwrap(), "events").await;
    let out = stage.channel("api", json!({})).await;

    // Endpoint, feed and snippets name the gateway; nobody is told of what lies behind it.
    let (feed, key) = (&stage.feed, stage.feed.secret("channel_key"));
    assert_eq!(feed.url(), format!("{public}/v1/in/{}", feed.id));
    let address = feed.endpoint["streams"][0]["url"].as_str().unwrap();
    assert_eq!(address, format!("{}/readings", feed.url()));
    let snippets = stage.provider.api.get(&format!("{}/snippets", feed.path)).await.unwrap().to_string();
    assert!(snippets.contains(&public) && !snippets.contains(&format!(":{port}")), "{snippets}");

    let http = reqwest::Client::new();
    let send = |key: &str, partner: &str| {
        http.post(address)
            .bearer_auth(key)
            .header("x-gateway-key", partner)
            .header("content-type", "application/x-ndjson")
    };
    assert_eq!(send(key, "nobody").body("{}").send().await.unwrap().status(), 403, "the gateway's own answer");
    let refused = send("hgk_wrong", PARTNER).body("{}").send().await.unwrap();
    let status = refused.status();
    let refused: Value = refused.json().await.unwrap();
    assert_eq!((status.as_u16(), &refused["status"]), (401, &json!(401)), "{refused}");
    let unknown = http.post(format!("{}/returns", feed.url())).bearer_auth(key).header("x-gateway-key", PARTNER);
    let unknown: Value = unknown.body("{}").send().await.unwrap().json().await.unwrap();
    assert_eq!(unknown["code"], "feed_not_found");

    // Many records at once, in pieces, and the same again: a gateway may repeat a request.
    let lines: String = (0..2_000).map(|n| format!("{}\n", reading(n))).collect();
    let mut receipts = Vec::new();
    for _ in 0..2 {
        let answer = send(key, PARTNER).header("idempotency-key", "first").body(lines.clone()).send().await.unwrap();
        assert_eq!(answer.status(), 202);
        let answer: Value = answer.json().await.unwrap();
        receipts.push(answer["receipt"].as_str().unwrap().to_owned());
    }
    assert_eq!(receipts[0], receipts[1]);
    stage.settled(&out, 2_000).await;
    let receipt = http.get(format!("{}/receipts/{}", feed.url(), receipts[0])).bearer_auth(key);
    let receipt = receipt.header("x-gateway-key", PARTNER).send().await.unwrap();
    let receipt: Value = receipt.json().await.unwrap();
    assert_eq!((&receipt["state"], &receipt["records"]), (&json!("conformed"), &json!(2_000)), "{receipt}");
}
