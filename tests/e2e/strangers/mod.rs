//! Everybody who has nothing to do here, at every address there is. The addresses are the product's own
//! lists: one that is new has a case by itself, or fails where its path names something unknown.

mod document;
mod secrets;

use std::collections::BTreeMap;

use chrono::TimeDelta;
use headgate_access::{Access, AccessConfig, MasterKey};
use headgate_database::{Db, Options, Part};
use headgate_fanout_engine::addresses::Address;
use headgate_fanout_engine::technology::REGISTRY;
use headgate_fanout_engine::{internal, listener};
use headgate_types::{FakeClock, SharedClock, SystemClock};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::harness::stage::reading;
use crate::harness::world::{Channel, Organisation};
use crate::harness::{ApiClient, Platform, Stage, eventually};

/// One address, filled with what is there.
struct Place<'a> {
    address: Address,
    url: String,
    channel: &'a Channel,
    owner: &'a Organisation,
    guest: &'a Organisation,
    /// What a token needs to be let in.
    scope: &'static str,
}

impl Place<'_> {
    fn is_open_for_good(&self) -> bool {
        self.address.path.ends_with("sse") || self.address.path.ends_with("ws")
    }

    fn request(&self, query: &str) -> RequestBuilder {
        let request = Client::new().request(self.address.method.clone(), format!("{}{query}", self.url));
        if self.address.method == Method::POST { request.json(&self.body()) } else { request }
    }

    /// What its owner sends.
    fn body(&self) -> Value {
        match self.address.path {
            "/ack" | "/nack" => json!({"receipts": []}),
            "/extend" => json!({"receipts": [], "visibility_seconds": 1}),
            "/receive" | "/redrive" | "/discard" => json!({}),
            _ => reading(9),
        }
    }

    fn named(&self) -> String {
        format!("{} {}", self.address.method, self.url)
    }
}

/// The path with what there is in the place of its parameters.
fn filled(path: &str, things: &BTreeMap<&str, String>) -> String {
    let parts = path.split('/').map(|part| match part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some(name) => things.get(name).unwrap_or_else(|| panic!("{path}: there is no case with a {name}")).as_str(),
        None => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn every_address_of_the_data_plane_refuses_strangers_and_shows_them_nothing() {
    let stage = Stage::start("events").await;
    stage.send(&[reading(1), reading(2)]).await;
    let served: Vec<_> = REGISTRY.iter().filter(|technology| !technology.addresses().is_empty()).collect();
    let mut channels = Vec::new();
    for technology in &served {
        let key = technology.descriptor().key;
        let options = if key == "file" { json!({"format": "ndjson", "roll_seconds": 1}) } else { json!({}) };
        channels.push(stage.channel(&key, options).await);
    }
    let other = stage.channel("stream", json!({})).await;
    for channel in &channels {
        stage.settled(channel, 2).await;
    }
    let things = things(&stage, &served.iter().map(|t| t.descriptor().key).zip(&channels).collect()).await;

    let mut places = Vec::new();
    for address in listener::addresses().list() {
        // Says that the process lives, to anybody.
        if address.path == "/livez" {
            continue;
        }
        let mut things = things.clone();
        things.insert("channel", stage.feed.id.clone());
        places.push(Place {
            address: address.clone(),
            url: format!("{}{}", stage.platform.data, filled(address.path, &things)),
            channel: &stage.feed,
            owner: &stage.provider,
            guest: &stage.consumer,
            scope: "data.write",
        });
    }
    for (technology, channel) in served.iter().zip(&channels) {
        for address in technology.addresses() {
            let url = format!("{}{}", channel.url(), filled(address.path, &things));
            let (owner, guest) = (&stage.consumer, &stage.provider);
            places.push(Place { address, url, channel, owner, guest, scope: "data.read" });
        }
    }
    assert!(places.len() >= 13, "the addresses are listed: {}", places.len());

    let admin = stage.platform.admin().await.unwrap();
    let nobodies = nobodies(&stage, &admin, &other).await;
    for place in &places {
        let lacking = scopes().filter(|scope| *scope != place.scope).collect();
        let lacking = sign_in(&admin, &stage.platform, &place.owner.tenant, lacking).await;
        let elsewhere = if place.channel.id == stage.feed.id { &channels[0] } else { &stage.feed };
        let mut strangers = nobodies.clone();
        strangers.extend([
            ("the key of another tenant's channel", Some(elsewhere.secret("channel_key").to_owned()), 401),
            ("another tenant's token", Some(place.guest.api.token.clone()), 404),
            ("a token with every scope but one", Some(lacking.1), 403),
        ]);
        for (who, credential, hears) in &strangers {
            for (way, request) in ways(place, credential.as_deref()) {
                refused(&format!("{who} by {way} at {}", place.named()), *hears, request.send().await.unwrap()).await;
            }
        }
        served_well(place, place.channel.secret("channel_key")).await;
    }
    // Whoever was recognised and refused stands in the audit log, with the request.
    let audit = admin.get(&format!("/v1/admin/audit?tenant={}&page_size=1000", stage.provider.tenant)).await.unwrap();
    let denied: Vec<&Value> =
        audit["items"].as_array().unwrap().iter().filter(|row| row["outcome"] == "denied").collect();
    assert!(!denied.is_empty());
    assert!(denied.iter().all(|row| row["request_id"].is_string()), "{denied:#?}");
    // Nothing was written or removed by any of them; what the owner sent to show that it may, was.
    for channel in &channels {
        stage.settled(channel, 4).await;
    }

    // A suspended tenant is nobody at its own channels, and somebody again afterwards.
    for organisation in [&stage.provider, &stage.consumer] {
        let tenant = format!("/v1/admin/tenants/{}", organisation.tenant);
        admin.post(&format!("{tenant}/suspend"), &json!({})).await.unwrap();
        for place in places.iter().filter(|place| place.owner.tenant == organisation.tenant) {
            for credential in [place.channel.secret("channel_key"), &place.owner.api.token] {
                let answer = place.request("").bearer_auth(credential).send().await.unwrap();
                refused(&format!("a suspended tenant at {}", place.named()), 403, answer).await;
            }
        }
        admin.post(&format!("{tenant}/resume"), &json!({})).await.unwrap();
        let own = places.iter().filter(|place| place.owner.tenant == organisation.tenant);
        for place in own.filter(|place| place.address.method == Method::GET) {
            eventually("the owner is served again", async || {
                let answer = place.request("").bearer_auth(place.channel.secret("channel_key")).send().await.unwrap();
                (answer.status().as_u16() < 401).then_some(())
            })
            .await;
        }
    }
    // The owner may remove what it has read; once.
    let gone: Vec<_> = places.iter().filter(|place| place.address.method == Method::DELETE).collect();
    assert_eq!(gone.len(), 1, "what else can be removed is removed here");
    let file = gone[0];
    for (method, status) in [(Method::GET, 200), (Method::DELETE, 204), (Method::GET, 404), (Method::DELETE, 404)] {
        let call = Client::new().request(method.clone(), &file.url).bearer_auth(file.channel.secret("channel_key"));
        assert_eq!(call.send().await.unwrap().status(), status, "{method}");
    }
}

/// What paths name, by the word they have for it.
async fn things(stage: &Stage, channels: &BTreeMap<String, &Channel>) -> BTreeMap<&'static str, String> {
    let get = async |channel: &Channel, path: &str| -> Value {
        let call = Client::new().get(format!("{}{path}", channel.url())).bearer_auth(channel.secret("channel_key"));
        call.send().await.unwrap().json().await.unwrap()
    };
    let file = eventually("a published file", async || {
        Some(get(channels["file"], "/").await["items"][0]["name"].as_str()?.to_owned())
    })
    .await;
    let row = get(channels["api"], "/readings").await["items"][0]["_id"].as_str().unwrap().to_owned();
    let landed = Client::new().post(format!("{}/readings", stage.feed.url()));
    let landed = landed.bearer_auth(stage.feed.secret("channel_key")).json(&reading(3)).send().await.unwrap();
    let receipt = landed.json::<Value>().await.unwrap()["receipt"].as_str().unwrap().to_owned();
    BTreeMap::from([
        ("feed", stage.feed.stream().to_owned()),
        ("table", channels["api"].stream().to_owned()),
        ("key", row),
        ("name", file),
        ("receipt", receipt),
    ])
}

type Nobody = (&'static str, Option<String>, u16);

/// Those who are refused wherever they come.
async fn nobodies(stage: &Stage, admin: &ApiClient, other: &Channel) -> Vec<Nobody> {
    let platform = &stage.platform;
    let made = async |name: &str| Organisation::create(admin, &platform.control, name).await.unwrap();
    let (suspended, ended) = (made("Suspended").await, made("Ended").await);
    for (organisation, verb) in [(&suspended, "suspend"), (&ended, "offboard")] {
        admin.post(&format!("/v1/admin/tenants/{}/{verb}", organisation.tenant), &json!({})).await.unwrap();
    }
    let (revoked, token) = sign_in(admin, platform, &stage.consumer.tenant, scopes().collect()).await;
    let clients = format!("/v1/admin/tenants/{}/clients", stage.consumer.tenant);
    admin.post(&format!("{clients}/{revoked}/revoke"), &json!({})).await.unwrap();
    let some = |text: &str| Some(text.to_owned());
    vec![
        ("nobody", None, 401),
        ("garbage", some("garbage"), 401),
        ("an invented key", some("hgk_0123456789abcdefghijklmnopqrstuvwxyz"), 401),
        ("another channel's key", some(other.secret("channel_key")), 401),
        ("an expired token", Some(expired(stage, admin).await), 401),
        ("the token of a client that was revoked", Some(token), 401),
        ("a suspended tenant's token", some(&suspended.api.token), 403),
        ("an ended tenant's token", some(&ended.api.token), 401),
        ("an administrator's token", some(&admin.token), 403),
    ]
}

/// Every way to present a credential.
fn ways(place: &Place<'_>, credential: Option<&str>) -> Vec<(&'static str, RequestBuilder)> {
    let Some(credential) = credential else { return vec![("nothing", place.request(""))] };
    vec![
        ("bearer", place.request("").bearer_auth(credential)),
        ("password", place.request("").basic_auth("any", Some(credential))),
        ("header", place.request("").header("x-api-key", credential)),
        ("query", place.request(&format!("?key={credential}"))),
    ]
}

async fn refused(at: &str, hears: u16, answer: Response) {
    let (status, body) = (answer.status().as_u16(), answer.text().await.unwrap());
    assert_eq!(status, hears, "{at}: {body}");
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert!(problem["code"].is_string() && problem["request_id"].is_string(), "{at}: {problem}");
    assert!(!body.contains("north") && !body.contains("r00000"), "{at}: {body}");
}

/// The owner is served, so what strangers hear says nothing about the address.
async fn served_well(place: &Place<'_>, key: &str) {
    if place.address.method == Method::DELETE {
        return;
    }
    let ways =
        if place.address.method == Method::GET { ways(place, Some(key)) } else { ways(place, Some(key)).split_off(3) };
    for (way, request) in ways {
        let status = request.send().await.unwrap().status().as_u16();
        let fine = if place.is_open_for_good() { status < 401 } else { status < 300 };
        assert!(fine, "{} by {way}: {status}", place.named());
    }
}

/// What a tenant's client can be given.
fn scopes() -> impl Iterator<Item = &'static str> {
    let all = headgate_access::Scope::ALL.iter().map(|scope| scope.as_str());
    all.filter(|scope| *scope != "admin")
}

/// Id and token of a new client of the tenant.
async fn sign_in(admin: &ApiClient, platform: &Platform, tenant: &str, scopes: Vec<&str>) -> (String, String) {
    let body = json!({"name": "narrow", "scopes": scopes});
    let client = admin.post(&format!("/v1/admin/tenants/{tenant}/clients"), &body).await.unwrap();
    let (id, secret) = (client["id"].as_str().unwrap(), client["client_secret"].as_str().unwrap());
    (id.to_owned(), ApiClient::sign_in(&platform.control, id, secret).await.unwrap().token)
}

/// Access over the platform's own tables and keys, as it was at another time.
async fn access(platform: &Platform, clock: SharedClock) -> Access {
    let data = platform.directory().join("data");
    let master_key = MasterKey::from_hex(std::fs::read_to_string(data.join("master.key")).unwrap().trim()).unwrap();
    let options = match platform.database_url() {
        Some(url) => Options::Postgres { url: url.to_owned(), connections: 2 },
        None => Options::Sqlite { directory: data },
    };
    let db = Db::open(&options, Part::Control).await.unwrap();
    let issuer = format!("{}/", platform.control.trim_end_matches('/')).parse().unwrap();
    Access::open(db, clock, AccessConfig::new(issuer, "headgate", master_key)).await.unwrap()
}

/// A token of the consumer that was good until an hour ago.
async fn expired(stage: &Stage, admin: &ApiClient) -> String {
    let path = format!("/v1/admin/tenants/{}/clients", stage.consumer.tenant);
    let client = admin.post(&path, &json!({"name": "early", "scopes": scopes().collect::<Vec<_>>()})).await.unwrap();
    let secret = client["client_secret"].as_str().unwrap().to_owned().into();
    let past = access(&stage.platform, FakeClock::at(SystemClock::shared().now() - TimeDelta::hours(2))).await;
    past.issue_token(client["id"].as_str().unwrap(), &secret, None, None).await.unwrap().access_token
}

#[tokio::test]
async fn every_operation_of_the_internal_api_is_closed_to_strangers_and_on_no_other_listener() {
    let stage = Stage::start("events").await;
    let platform = &stage.platform;
    let admin = platform.admin().await.unwrap();
    let token = hex::encode(*access(platform, SystemClock::shared()).await.derive_key("internal api"));
    let http = Client::new();
    let addresses = internal::addresses();
    assert!(addresses.list().len() >= 10);
    for Address { method, path } in addresses.list() {
        let ask = |base: &str| http.request(method.clone(), format!("{base}{path}")).json(&json!(null));
        let strangers = [
            ask(&platform.internal),
            ask(&platform.internal).bearer_auth("garbage"),
            ask(&platform.internal).bearer_auth(""),
            ask(&platform.internal).bearer_auth(&admin.token),
            ask(&platform.internal).bearer_auth(&stage.provider.api.token),
            ask(&platform.internal).bearer_auth(stage.feed.secret("channel_key")),
            ask(&platform.internal).basic_auth("any", Some(&token)),
        ];
        for stranger in strangers {
            let answer = stranger.send().await.unwrap();
            let (status, body) = (answer.status().as_u16(), answer.text().await.unwrap());
            assert_eq!(status, 401, "{method} {path}: {body}");
            assert!(!body.contains(&token), "{body}");
        }
        for base in [&platform.control, &platform.data] {
            let answer = ask(base).bearer_auth(&token).send().await.unwrap();
            assert!(matches!(answer.status().as_u16(), 401 | 404), "{base}{path}: {}", answer.status());
        }
        let answer = ask(&platform.internal).bearer_auth(&token).send().await.unwrap();
        assert!(matches!(answer.status().as_u16(), 200 | 400), "{path}: {}", answer.status());
    }
}
