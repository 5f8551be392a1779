//! What nobody should send, sent: each gets a clear answer or a dead letter, and changes nothing
//! else.

mod orders;
mod payloads;

use serde_json::{Value, json};

use crate::harness::read::ChannelReader;
use crate::harness::world::Channel;
use crate::harness::{Options, Platform, Stage};

/// What must not change when something is refused: rows, channels, orders, dead letters.
async fn state(stage: &Stage, out: &Channel) -> Value {
    let rows = ChannelReader::new(out.url(), out.secret("channel_key")).api("readings").await.unwrap().len();
    let count = async |api: &crate::harness::ApiClient, path: &str| {
        api.get(&format!("{path}?page_size=1000")).await.unwrap()["items"].as_array().unwrap().len()
    };
    let (provider, consumer) = (&stage.provider.api, &stage.consumer.api);
    json!({
        "rows": rows,
        "feed": provider.get(&stage.feed.path).await.unwrap()["status"]["state"],
        "out": consumer.get(&out.path).await.unwrap()["status"]["state"],
        "channels_in": count(provider, "/v1/data-in-channels").await,
        "channels_out": count(consumer, "/v1/data-out-channels").await,
        "orders": [count(provider, "/v1/orders").await, count(consumer, "/v1/orders").await],
        "elements": count(provider, "/v1/elements").await,
        "dead_letters": count(provider, &format!("{}/dead-letters", stage.feed.path)).await,
    })
}

/// A problem document (RFC 9457) with this code, a detail, and these places.
fn assert_problem(what: &str, body: &Value, status: u16, code: &str, places: &[&str]) {
    assert_eq!((&body["status"], &body["code"]), (&json!(status), &json!(code)), "{what}: {body:#}");
    assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{what}: {body:#}");
    assert!(body["type"].as_str().is_some_and(|page| page.ends_with(code)), "{what}: {body:#}");
    let errors = body["errors"].as_array().cloned().unwrap_or_default();
    let found: Vec<&str> = errors.iter().filter_map(|error| error["pointer"].as_str()).collect();
    assert_eq!(found, places, "{what}: {body:#}");
    for error in &errors {
        assert!(error["code"].is_string() && error["detail"].is_string(), "{what}: {body:#}");
    }
}

/// The problem document of a response.
async fn problem(what: &str, response: reqwest::Response) -> Value {
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert_eq!(kind, "application/problem+json", "{what}");
    response.json().await.unwrap()
}

#[tokio::test]
async fn an_expired_token_is_told_from_a_wrong_one() {
    let platform = Platform::start_with(Options::arguments(&["--token-seconds", "1"])).unwrap();
    let admin = platform.admin().await.unwrap();
    let problem = crate::harness::eventually("the token expires", async || {
        let answer = admin.send(reqwest::Method::GET, "/v1/admin/tenants", None, &[]).await.unwrap();
        (answer.status == 401).then_some(answer.body)
    })
    .await;
    assert_problem("expired", &problem, 401, "token_expired", &[]);
    let request =
        reqwest::Client::new().get(format!("{}/v1/admin/tenants", platform.control)).bearer_auth("e30.e30.e30");
    let wrong = self::problem("wrong", request.send().await.unwrap()).await;
    assert_problem("wrong", &wrong, 401, "invalid_token", &[]);
}
