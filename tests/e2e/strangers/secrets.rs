//! Whatever was secret is searched for in everything that is kept, said or logged.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use super::access;
use crate::aws::cloud::{CloudStage, succeeded};
use crate::harness::platform::fresh_database;
use crate::harness::receiver::Receiver;
use crate::harness::stage::{carried_out, reading};
use crate::harness::world::{Channel, Organisation};
use crate::harness::{ApiClient, Database, Options, Platform, Stage};

#[tokio::test]
async fn no_secret_is_found_in_what_is_kept_said_or_logged_on_sqlite() {
    secrets(Database::Sqlite).await;
}

#[tokio::test]
async fn no_secret_is_found_in_what_is_kept_said_or_logged_on_postgres() {
    secrets(Database::Postgres).await;
}

/// Whatever there is to log, which shows what Debug says of every value on the way.
const EVERYTHING: &str = "debug,headgate=trace,axum=trace,tower_http=trace,hyper=trace,reqwest=trace,sqlx=trace";

async fn secrets(database: Database) {
    let database_url = match database {
        Database::Sqlite => None,
        Database::Postgres => Some(fresh_database().await.unwrap()),
    };
    let environment = vec![("RUST_LOG".to_owned(), EVERYTHING.to_owned())];
    let platform = Platform::start_with(Options { database_url, environment, ..Options::default() }).unwrap();
    let stage = Stage::on(platform, "events").await;
    let platform = &stage.platform;
    let admin = platform.admin().await.unwrap();
    let mut secrets: Vec<(&str, String)> = vec![("the admin's secret", platform.admin.1.clone())];
    for (whose, client) in [("admin", &admin), ("provider", &stage.provider.api), ("consumer", &stage.consumer.api)] {
        // The last part of a token is what makes it one; the others are no secrets.
        secrets.push((whose, client.token.rsplit('.').next().unwrap().to_owned()));
    }
    let keys = access(platform, headgate_types::SystemClock::shared()).await;
    secrets.push(("the internal API's token", hex::encode(*keys.derive_key("internal api"))));
    let master_key = std::fs::read_to_string(platform.directory().join("data/master.key")).unwrap();
    secrets.push(("the master key", master_key.trim().to_owned()));

    // A channel of each kind, with every credential there is, some of them rotated.
    let receiver = Receiver::start().await.unwrap();
    let mut channels = vec![stage.feed.clone()];
    for profile in ["api", "file", "queue", "stream"] {
        channels.push(stage.channel(profile, json!({})).await);
    }
    let order = stage.order_out("webhook", &json!({"url": receiver.url}));
    let revealed = async |_: &str, secret: &str| {
        receiver.with(|received| received.secrets.push(secret.to_owned())).await;
    };
    channels.push(stage.consumer.order("out", &order, |_| {}, revealed).await.unwrap());
    for channel in &channels {
        secrets.extend(channel.secrets.iter().map(|(_, secret)| ("a channel's secret", secret.clone())));
    }
    for (owner, channel) in [(&stage.provider, &stage.feed), (&stage.consumer, &channels[1])] {
        secrets.extend(rotated(owner, channel).await);
    }
    secrets.extend(endpoints_and_clients(&stage, &admin, &receiver).await);
    stage.send(&[reading(1), reading(2)]).await;
    for channel in &channels[1..] {
        stage.settled(channel, 2).await;
    }
    // What is wrong is told without what was presented.
    let mut said = errors(&stage, &channels, &secrets).await;
    said.extend(everything_listed(&stage, &admin, &channels).await);

    let looked_at = search(platform, &secrets, said).await;
    // The search finds what is there.
    for there in [stage.feed.id.trim_start_matches("ch_"), "Provider", "master.key"] {
        let found = looked_at.iter().any(|(place, text)| place.contains(there) || text.contains(there));
        assert!(found, "{there}");
    }
}

/// The keys that AWS makes are nobody's but their client's, and those of Headgate's own are Headgate's.
#[tokio::test(flavor = "multi_thread")]
async fn no_key_of_a_channel_of_aws_is_found_in_what_is_kept_said_or_logged() {
    let environment = [("RUST_LOG".to_owned(), EVERYTHING.to_owned())];
    let Some(cloud) = CloudStage::start_with("events", environment).await else { return };
    let stage = &cloud.stage;
    let admin = stage.platform.admin().await.unwrap();
    let receiver = Receiver::start().await.unwrap();
    let hook = json!({"url": receiver.url});
    let hook = stage.consumer.api.post("/v1/event-endpoints", &hook).await.unwrap();
    let signing = hook["signing_secret"].as_str().unwrap().to_owned();
    receiver.with(|received| received.secrets.push(signing)).await;
    let mut secrets = vec![("the secret of Headgate's session", cloud.session["secret"].as_str().unwrap().to_owned())];
    secrets.push(("the token of Headgate's session", cloud.session["token"].as_str().unwrap().to_owned()));

    let (mut channels, mut said) = (Vec::new(), Vec::new());
    for profile in ["file", "queue", "stream"] {
        let mut body = stage.order_out(profile, &json!({}));
        body["performance_profile"] = json!("S");
        let (api, path) = (&stage.consumer.api, "/v1/data-out-channels");
        let send = async || api.send(Method::POST, path, Some(&body), &[("idempotency-key", profile)]).await.unwrap();
        let accepted = send().await.body;
        let order = succeeded(&stage.consumer, &accepted).await;
        let id = accepted["channel"]["id"].as_str().unwrap().to_owned();
        let channel = Channel {
            path: format!("/v1/data-out-channels/{id}"),
            endpoint: order["result"]["endpoint"].clone(),
            secrets: vec![stage.consumer.reveal(&order["result"]["credentials"][0]).await.unwrap()],
            id,
        };
        secrets.push(("an access key", channel.secrets[0].1.clone()));
        secrets.extend(rotated(&stage.consumer, &channel).await);
        // Asked again, it answers what it answered, and nothing of what has come of it.
        let replayed = send().await.body;
        assert_eq!(replayed["order"]["id"], accepted["order"]["id"]);
        said.push((format!("{path}, replayed"), replayed.to_string()));
        said.push(("the order".to_owned(), order.to_string()));
        channels.push(channel);
    }
    stage.send(&[reading(1), reading(2)]).await;
    for channel in &channels {
        stage.settled(channel, 2).await;
    }
    said.extend(everything_listed(stage, &admin, &channels).await);
    let told = receiver.with(|received| json!(received.bodies).to_string()).await;
    said.push(("what subscribers got".to_owned(), told));
    let looked_at = search(&stage.platform, &secrets, said).await;
    for there in ["channel.ready", "credential.rotated", "access_key", "CreateAccessKey", "headgate-ch-"] {
        assert!(looked_at.iter().any(|(_, text)| text.contains(there)), "{there}");
    }
}

/// Looks for secrets in what was said and in all that the platform keeps and logs; returns where it looked.
async fn search(platform: &Platform, secrets: &[(&str, String)], said: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut looked_at = said;
    looked_at.extend(files(platform.directory()));
    if let Some(url) = platform.database_url() {
        looked_at.extend(rows(url).await);
    }
    for (what, secret) in secrets {
        assert!(secret.len() > 20, "{what} is a secret: {secret}");
        for form in forms(secret) {
            // A column of bytes is written in hexadecimal digits.
            let (plain, digits) = (legible(&form), hex::encode(&form));
            let found = looked_at.iter().filter(|(place, text)| {
                !place.ends_with("master.key") && (text.contains(&plain) || text.contains(&digits))
            });
            let found: Vec<_> = found.map(|(place, text)| (place, around(text, &plain))).collect();
            assert!(found.is_empty(), "{what} is found: {found:#?}");
        }
    }
    assert!(looked_at.iter().any(|(place, text)| place.ends_with("headgate.log") && text.contains("TRACE")));
    looked_at
}

/// The secrets of a channel after a rotation.
async fn rotated(owner: &Organisation, channel: &Channel) -> Vec<(&'static str, String)> {
    let order = carried_out(owner, channel, "rotate-credentials").await;
    let mut secrets = Vec::new();
    for credential in order["result"]["credentials"].as_array().unwrap() {
        secrets.push(("a rotated secret", owner.reveal(credential).await.unwrap().1));
        // A claim is redeemed once, and says nothing afterwards.
        let again = owner.reveal(credential).await.unwrap_err().to_string();
        assert!(again.starts_with("410"), "{again}");
    }
    assert!(!secrets.is_empty());
    secrets
}

/// An endpoint of events and a client, made under idempotency keys that are used again.
async fn endpoints_and_clients(stage: &Stage, admin: &ApiClient, receiver: &Receiver) -> Vec<(&'static str, String)> {
    let mut secrets = Vec::new();
    let clients = format!("/v1/admin/tenants/{}/clients", stage.consumer.tenant);
    let endpoint = json!({"url": receiver.url});
    for (api, path, body, member) in [
        (&stage.consumer.api, "/v1/event-endpoints".to_owned(), endpoint, "signing_secret"),
        (admin, clients.clone(), json!({"name": "again"}), "client_secret"),
    ] {
        let send =
            async || api.send(Method::POST, &path, Some(&body), &[("idempotency-key", "the-same")]).await.unwrap();
        let made = send().await.body;
        let secret = made[member].as_str().unwrap().to_owned();
        let again = send().await.body;
        assert_eq!(again["id"], made["id"]);
        assert!(!again.to_string().contains(&secret), "a repeated answer tells no secret again: {again}");
        secrets.push((member, secret));
        let id = made["id"].as_str().unwrap();
        let rotated = api.post(&format!("{path}/{id}/rotate-secret"), &json!({})).await.unwrap();
        secrets.push((member, rotated[member].as_str().unwrap().to_owned()));
        assert_ne!(secrets[secrets.len() - 1], secrets[secrets.len() - 2]);
    }
    secrets
}

/// What is answered to whoever presents each secret where it does not belong.
async fn errors(stage: &Stage, channels: &[Channel], secrets: &[(&str, String)]) -> Vec<(String, String)> {
    let http = Client::new();
    let platform = &stage.platform;
    let mut said = Vec::new();
    for (_, secret) in secrets {
        let mut requests = vec![
            http.get(format!("{}/v1/orders", platform.control)).bearer_auth(secret),
            http.post(format!("{}/internal/v1/wake", platform.internal)).bearer_auth(secret),
            http.post(format!("{}/oauth2/token", platform.control)).form(&[
                ("grant_type", "client_credentials"),
                ("client_id", "cli_00000000000000000000000000000000"),
                ("client_secret", secret.as_str()),
            ]),
        ];
        for channel in channels.iter().filter(|channel| channel.url().contains("/v1/")) {
            let address = channel.url();
            requests.push(http.get(format!("{address}/nothing?key={secret}&page_size=x")));
            requests.push(http.get(address).header("x-api-key", secret));
            requests.push(http.get(address).basic_auth("any", Some(secret)));
        }
        for request in requests {
            let answer = request.send().await.unwrap();
            let at = answer.url().path().to_owned();
            let headers = format!("{:?}", answer.headers());
            said.push((at, format!("{headers} {}", answer.text().await.unwrap())));
        }
    }
    said
}

/// Every document that is read without naming one, and all there is of the channels.
async fn everything_listed(stage: &Stage, admin: &ApiClient, channels: &[Channel]) -> Vec<(String, String)> {
    let document = Client::new().get(format!("{}/openapi.json", stage.platform.control)).send().await.unwrap();
    let document: Value = document.json().await.unwrap();
    let mut said = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        if item["get"].is_null() || path.contains('{') || path.ends_with("/stream") {
            continue;
        }
        let apis =
            if path.starts_with("/v1/admin") { vec![admin] } else { vec![&stage.consumer.api, &stage.provider.api] };
        for api in apis {
            let answer = api.send(Method::GET, path, None, &[]).await.unwrap();
            assert_eq!(answer.status, 200, "{path}: {}", answer.body);
            said.push((path.clone(), answer.body.to_string()));
        }
    }
    for channel in channels {
        let owner = if channel.id == stage.feed.id { &stage.provider } else { &stage.consumer };
        for part in ["", "/snippets", "/statistics", "/dead-letters"] {
            let path = format!("{}{part}", channel.path);
            said.push((path.clone(), owner.api.get(&path).await.unwrap().to_string()));
        }
    }
    assert!(said.len() > 30, "{}", said.len());
    said
}

/// A secret as it is written, and what it stands for.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![secret.as_bytes().to_vec()];
    if let Some(encoded) = secret.strip_prefix("whsec_") {
        forms.push(encoded.as_bytes().to_vec());
        forms.push(BASE64_STANDARD.decode(encoded).unwrap());
    }
    if let Ok(bytes) = hex::decode(secret) {
        forms.push(bytes);
    }
    forms
}

/// Bytes as text, one character each: what is searched is found whatever surrounds it.
fn legible(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// The place in a long text.
fn around<'a>(text: &'a str, part: &str) -> std::borrow::Cow<'a, str> {
    let at = text.find(part).unwrap_or_default();
    text.chars().skip(text[..at].chars().count().saturating_sub(300)).take(700).collect()
}

/// Every file below `folder`: its path and what it holds.
fn files(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if let Ok(content) = std::fs::read(&path) {
            found.push((path.display().to_string(), legible(&content)));
        }
    }
    found
}

/// Every row of every table as text, with its table.
async fn rows(url: &str) -> Vec<(String, String)> {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let tables = "SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables
        WHERE table_schema NOT IN ('pg_catalog', 'information_schema') AND table_type = 'BASE TABLE'";
    let tables: Vec<String> =
        sqlx::query(tables).fetch_all(&mut connection).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert!(tables.len() > 20, "{tables:?}");
    let mut rows = Vec::new();
    for table in tables {
        let sql = format!("SELECT t::text FROM {table} t");
        let found = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
        rows.extend(found.iter().map(|row| (table.clone(), row.get(0))));
    }
    rows
}
