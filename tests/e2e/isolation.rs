//! Strangers at the data plane: nobody reads or writes what is another's, and nobody reaches the lake.

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use crate::harness::receiver::Receiver;
use crate::harness::stage::{order_in, reading, send_to};
use crate::harness::world::{Channel, Organisation};
use crate::harness::{ApiClient, Options, Platform, Stage, eventually, settled};

/// What a program may present, and what it hears at another's channel.
struct Stranger {
    who: &'static str,
    credential: Option<String>,
    hears: u16,
}

#[tokio::test]
async fn every_address_of_the_data_plane_refuses_strangers_and_shows_them_nothing() {
    let stage = Stage::start("events").await;
    stage.send(&[reading(1), reading(2)]).await;
    let api = stage.channel("api", json!({})).await;
    let file = stage.channel("file", json!({"format": "ndjson", "roll_seconds": 1})).await;
    let stream = stage.channel("stream", json!({})).await;
    let other = stage.channel("stream", json!({})).await;
    for channel in [&api, &file, &stream] {
        stage.settled(channel, 2).await;
    }
    let mine = |channel: &Channel, method: Method, path: &str| Client::new().request(method, at(channel, path));
    let manifest: Value = eventually("a published file", async || {
        let call = mine(&file, Method::GET, "/").bearer_auth(file.secret("channel_key"));
        let manifest: Value = call.send().await.unwrap().json().await.unwrap();
        (!manifest["items"].as_array()?.is_empty()).then_some(manifest)
    })
    .await;
    let file_path = format!("/files/{}", manifest["items"][0]["name"].as_str().unwrap());
    let landed = mine(&stage.feed, Method::POST, "/readings").bearer_auth(stage.feed.secret("channel_key"));
    let landed: Value = landed.json(&reading(3)).send().await.unwrap().json().await.unwrap();
    let receipt = format!("/receipts/{}", landed["receipt"].as_str().unwrap());
    let key = format!("/readings/{}", row_id(&api).await);

    // Each address, by the channel whose owner it serves.
    let addresses = [
        (&stage.feed, Method::POST, "/readings"),
        (&stage.feed, Method::GET, receipt.as_str()),
        (&api, Method::GET, "/"),
        (&api, Method::GET, "/openapi.json"),
        (&api, Method::GET, "/readings"),
        (&api, Method::GET, key.as_str()),
        (&file, Method::GET, "/"),
        (&file, Method::GET, file_path.as_str()),
        (&file, Method::DELETE, file_path.as_str()),
        (&stream, Method::GET, "/"),
        (&stream, Method::GET, "/records?after=earliest"),
        (&stream, Method::GET, "/sse"),
        (&stream, Method::GET, "/ws"),
    ];
    let admin = stage.platform.admin().await.unwrap();
    for (channel, method, path) in &addresses {
        let owner = if channel.id == stage.feed.id { &stage.provider } else { &stage.consumer };
        let guest = if channel.id == stage.feed.id { &stage.consumer } else { &stage.provider };
        for stranger in strangers(&stage, &admin, owner, guest, &other).await {
            let mut request: RequestBuilder = mine(channel, method.clone(), path);
            if let Some(credential) = &stranger.credential {
                request = request.bearer_auth(credential);
            }
            if *method == Method::POST {
                request = request.json(&reading(9));
            }
            let answer = request.send().await.unwrap();
            let (status, body) = (answer.status().as_u16(), answer.text().await.unwrap());
            assert_eq!(status, stranger.hears, "{} at {method} {path}: {body}", stranger.who);
            let problem: Value = serde_json::from_str(&body).unwrap();
            assert!(problem["code"].is_string() && problem["request_id"].is_string(), "{problem}");
            assert!(!body.contains("north") && !body.contains("r00000"), "{body}");
        }
        // The owner is served, so what strangers hear says nothing about the address.
        if *method == Method::GET && !path.ends_with("sse") && !path.ends_with("ws") {
            let served = mine(channel, method.clone(), path).bearer_auth(channel.secret("channel_key"));
            assert_eq!(served.send().await.unwrap().status(), 200, "{path}");
        }
    }
    // Whoever was recognised and refused stands in the audit log, with the request.
    let audit = admin.get(&format!("/v1/admin/audit?tenant={}&page_size=1000", stage.provider.tenant)).await.unwrap();
    let denied: Vec<&Value> =
        audit["items"].as_array().unwrap().iter().filter(|row| row["outcome"] == "denied").collect();
    assert!(!denied.is_empty());
    assert!(denied.iter().all(|row| row["request_id"].is_string()), "{denied:#?}");
    // And nothing was written or removed by any of them.
    stage.settled(&api, 3).await;
    // The owner may remove what it has read; once.
    for (method, status) in [(Method::GET, 200), (Method::DELETE, 204), (Method::GET, 404), (Method::DELETE, 404)] {
        let call = mine(&file, method.clone(), &file_path).bearer_auth(file.secret("channel_key"));
        assert_eq!(call.send().await.unwrap().status(), status, "{method}");
    }
}

/// Everybody who has nothing to do at a channel of `owner`.
async fn strangers(
    stage: &Stage,
    admin: &ApiClient,
    owner: &Organisation,
    guest: &Organisation,
    other: &Channel,
) -> Vec<Stranger> {
    let scopeless = sign_in(admin, &stage.platform.control, &owner.tenant, "usage.read").await;
    let stranger = |who, credential: Option<&str>, hears| {
        let credential = credential.map(str::to_owned);
        Stranger { who, credential, hears }
    };
    vec![
        stranger("nobody", None, 401),
        stranger("garbage", Some("garbage"), 401),
        stranger("an invented key", Some("hgk_0123456789abcdefghijklmnopqrstuvwxyz"), 401),
        stranger("another channel's key", Some(other.secret("channel_key")), 401),
        stranger("another tenant's token", Some(&guest.api.token), 404),
        stranger("a token without the scope", Some(&scopeless), 403),
    ]
}

/// A token of a new client of the tenant with one scope.
async fn sign_in(admin: &ApiClient, control: &str, tenant: &str, scope: &str) -> String {
    let body = json!({"name": "narrow", "scopes": [scope]});
    let client = admin.post(&format!("/v1/admin/tenants/{tenant}/clients"), &body).await.unwrap();
    let (id, secret) = (client["id"].as_str().unwrap(), client["client_secret"].as_str().unwrap());
    ApiClient::sign_in(control, id, secret).await.unwrap().token
}

async fn row_id(api: &Channel) -> String {
    let call = Client::new().get(at(api, "/readings")).bearer_auth(api.secret("channel_key"));
    let page: Value = call.send().await.unwrap().json().await.unwrap();
    page["items"][0]["_id"].as_str().unwrap().to_owned()
}

fn at(channel: &Channel, path: &str) -> String {
    format!("{}{path}", channel.url())
}

#[tokio::test]
async fn no_client_is_told_or_can_reach_where_the_lake_is() {
    let stage = Stage::start("events").await;
    stage.send(&[reading(1)]).await;
    let receiver = Receiver::start().await.unwrap();
    let mut channels = Vec::new();
    for profile in ["api", "file", "stream"] {
        channels.push(stage.channel(profile, json!({})).await);
    }
    let order = stage.order_out("webhook", &json!({"url": receiver.url}));
    let secrets = async |_: &str, secret: &str| {
        receiver.with(|received| received.secrets.push(secret.to_owned())).await;
    };
    channels.push(stage.consumer.order("out", &order, |_| {}, secrets).await.unwrap());
    let data = stage.platform.directory().join("data").canonicalize().unwrap();
    let hidden = [data.to_str().unwrap(), "file:", "sqlite:", "log.db", "_delta_log"];
    let mut documents = vec![
        "/v1/elements".to_owned(),
        format!("/v1/elements/{}", stage.feed.element()),
        format!("/v1/elements/{}/statistics", stage.feed.element()),
        "/v1/orders".to_owned(),
        "/v1/events".to_owned(),
        "/v1/data-out-channels".to_owned(),
        "/v1/channel-profiles".to_owned(),
    ];
    for channel in &channels {
        stage.settled(channel, 1).await;
        documents
            .extend(["", "/snippets", "/statistics", "/dead-letters"].map(|part| format!("{}{part}", channel.path)));
    }
    for document in &documents {
        let text = stage.consumer.api.get(document).await.unwrap().to_string();
        assert!(text.len() > 10, "{document}: {text}");
        for place in hidden {
            assert!(!text.contains(place), "{document} tells of {place}: {text}");
        }
    }
    // With a key that is good, out of the channel's own directory.
    let http = Client::new();
    for channel in &channels[..3] {
        for path in [
            "/files/..%2F..%2F..%2Flake%2Flog%2Flog.db",
            "/files/%2e%2e%2f%2e%2e%2fmaster.key",
            "/files/..%5c..%5cmaster.key",
            "/files/%2Fetc%2Fpasswd",
            "/..%2F..%2Fmaster.key",
            "/readings%2F..%2F..%2F..%2Fmaster.key",
        ] {
            let answer = http.get(at(channel, path)).bearer_auth(channel.secret("channel_key")).send().await.unwrap();
            let (status, body) = (answer.status().as_u16(), answer.text().await.unwrap());
            assert!((400..500).contains(&status), "{path}: {status} {body}");
            assert!(hidden.iter().all(|place| !body.contains(place)), "{path}: {body}");
        }
    }
}

#[tokio::test]
async fn the_platform_sees_who_consumed_which_data_and_what_is_slowed_down() {
    let platform = Platform::start_with(Options::arguments(&["--usage-span", "1s"])).unwrap();
    let admin = platform.admin().await.unwrap();
    let provider = Organisation::create(&admin, &platform.control, "Provider").await.unwrap();
    let feed = provider.order("in", &order_in("events"), |_| {}, async |_, _| {}).await.unwrap();
    let grants = format!("/v1/elements/{}/grants", feed.element());
    let mut consumers = Vec::new();
    for (name, size, filter) in [("All", "L", "count >= 0"), ("Some", "S", "count < 28000")] {
        let consumer = Organisation::create(&admin, &platform.control, name).await.unwrap();
        provider.api.post(&grants, &json!({"tenant": consumer.tenant})).await.unwrap();
        let order = json!({
            "name": name, "channel_profile": "stream", "performance_profile": size,
            "data": [{"element": feed.element(), "filter": filter}],
        });
        let channel = consumer.order("out", &order, |_| {}, async |_, _| {}).await.unwrap();
        consumers.push((consumer, channel));
    }
    let sent: Vec<Value> = (0..30_000).map(reading).collect();
    send_to(&feed, &sent).await;
    settled(&consumers[0].0, &consumers[0].1.path, 30_000).await;
    // The small channel takes more than ten seconds' worth of its rate, and its owner sees why.
    let slow = settled(&consumers[1].0, &consumers[1].1.path, 28_000).await;
    assert!(slow["throttled_ms"].as_u64().unwrap() > 0, "{slow:#}");

    let path = format!("/v1/admin/usage?element={}&meter=deliver.records&group_by=tenant,channel", feed.element());
    for ((consumer, channel), records) in consumers.iter().zip([30_000, 28_000]) {
        eventually("the platform sees what was delivered", async || {
            let usage = admin.get(&path).await.unwrap();
            let sums = usage["items"].as_array().unwrap();
            let sum = sums.iter().find(|sum| sum["tenant"] == consumer.tenant)?;
            (sum["channel"] == channel.id && sum["quantity"] == records).then_some(())
        })
        .await;
        // Each tenant sees its own, by element, and nobody else's.
        let own = consumer.api.get("/v1/usage?meter=deliver.records&group_by=channel,element").await.unwrap();
        let sums = own["items"].as_array().unwrap();
        assert_eq!((sums.len(), &sums[0]["channel"], &sums[0]["quantity"]), (1, &json!(channel.id), &json!(records)));
        assert_eq!(sums[0]["element"], feed.element());
        assert!(sums[0]["tenant"].is_null());
    }
    let refused = consumers[0].0.api.get(&path).await.unwrap_err().to_string();
    assert!(refused.starts_with("403"), "{refused}");
    let unknown = consumers[0].0.api.get("/v1/usage?group_by=tenant").await.unwrap_err().to_string();
    assert!(unknown.contains("unknown_group") || unknown.contains("is not one of"), "{unknown}");
}
