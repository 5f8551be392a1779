//! A tenant is limited, suspended and ended by the platform, and everything it had goes with it.

use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::world::{Channel, Organisation, send};
use crate::harness::{ApiClient, Database, Platform, eventually};

#[tokio::test]
async fn an_offboarded_tenant_leaves_nothing_and_a_limited_or_suspended_one_moves_nothing_on_sqlite() {
    tenants(Database::Sqlite).await;
}

#[tokio::test]
async fn an_offboarded_tenant_leaves_nothing_and_a_limited_or_suspended_one_moves_nothing_on_postgres() {
    tenants(Database::Postgres).await;
}

async fn tenants(database: Database) {
    let platform = Platform::start(database).await.unwrap();
    let admin = platform.admin().await.unwrap();
    let farm = Organisation::create(&admin, &platform.control, "Farm").await.unwrap();
    let reader = Organisation::create(&admin, &platform.control, "Reader").await.unwrap();
    let feed = order_in(&farm).await;
    let grants = format!("/v1/elements/{}/grants", feed.element());
    farm.api.post(&grants, &json!({"tenant": reader.tenant})).await.unwrap();
    let out = json!({"name": "mine", "channel_profile": "api", "performance_profile": "S",
                     "data": [{"element": feed.element()}]});
    let out = farm.order("out", &out, |_| {}, async |_, _| {}).await.unwrap();
    send(&feed, "application/x-ndjson", "{\"id\":1}\n{\"id\":2}\n".to_owned()).await.unwrap();
    let tenant = format!("/v1/admin/tenants/{}", farm.tenant);

    // Recognised and refused: it stands in the tenant's audit log.
    let body = json!({"name": "accountant", "scopes": ["usage.read"]});
    let made = admin.post(&format!("{tenant}/clients"), &body).await.unwrap();
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", made["id"].as_str().unwrap()),
        ("client_secret", made["client_secret"].as_str().unwrap()),
    ];
    let http = reqwest::Client::new();
    let token = http.post(format!("{}/oauth2/token", platform.control)).form(&form).send().await.unwrap();
    let token: Value = token.json().await.unwrap();
    let write = http.post(format!("{}/{}", feed.url(), feed.stream())).json(&json!({"id": 4}));
    let refused = write.bearer_auth(token["access_token"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(refused.status(), 403);
    let audit = admin.get(&format!("/v1/admin/audit?tenant={}", farm.tenant)).await.unwrap();
    let denied = audit["items"].as_array().unwrap().iter().find(|row| row["outcome"] == "denied").unwrap();
    assert_eq!((&denied["actor"], &denied["resource"]), (&made["id"], &json!(feed.id)));

    // A quota that is used up: 429 with the time the month still has, and an event on the way.
    set_quota(&admin, &tenant, &json!({"ingest_bytes_per_month": 1, "bytes_per_month": 1})).await;
    let refused =
        eventually("the quota holds", async || Some(post(&feed).await).filter(|(status, ..)| *status == 429)).await;
    assert_eq!(refused.1["code"], "tenant_quota_exceeded");
    assert!(refused.2.is_some_and(|seconds| seconds > 0), "Retry-After says when the month ends");
    let held = eventually("delivery is held", async || {
        let channel = farm.api.get(&out.path).await.unwrap();
        let conditions = channel["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.into_iter().find(|condition| condition["type"] == "QuotaOk" && condition["status"] == "False")
    });
    assert_eq!(held.await["reason"], "QuotaExceeded");
    let events = farm.api.get("/v1/events?types=io.headgate.usage.threshold.v1").await.unwrap();
    let percents: Vec<_> =
        events["items"].as_array().unwrap().iter().map(|event| event["data"]["percent"].as_u64().unwrap()).collect();
    assert_eq!(percents, [50, 80, 100, 50, 80, 100], "for each quota");
    set_quota(&admin, &tenant, &json!({})).await;
    eventually("payloads are taken", async || (post(&feed).await.0 == 202).then_some(())).await;

    // Suspended: token and keys are refused, channels stand still; resumed, all goes on.
    admin.post(&format!("{tenant}/suspend"), &json!({})).await.unwrap();
    assert_eq!(code(&farm.api, "/v1/orders").await, (403, "tenant_suspended".to_owned()));
    assert_eq!(post(&feed).await.0, 403);
    let list = format!("/v1/admin/channels?tenant={}", farm.tenant);
    let states = states(&admin, &list).await;
    assert_eq!(states, ["SUSPENDED", "SUSPENDED"]);
    admin.post(&format!("{tenant}/resume"), &json!({})).await.unwrap();
    eventually("payloads are taken", async || (post(&feed).await.0 == 202).then_some(())).await;

    let told = crate::events::validated(&platform.control, &farm).await;
    assert!(["channel.suspended.v1", "usage.threshold.v1"].iter().all(|wanted| told.contains(*wanted)), "{told:?}");

    // What was revealed stands nowhere: not in a log, an event, a remembered answer or a table.
    for secret in [feed.secret("channel_key"), out.secret("channel_key"), &platform.admin.1] {
        assert!(secret.len() > 20);
        assert_eq!(files_with(platform.directory(), secret.as_bytes()), Vec::<PathBuf>::new());
    }
    if database == Database::Sqlite {
        assert!(!files_with(platform.directory(), feed.id.as_bytes()).is_empty(), "the search finds what is there");
    }

    // Ended: nothing of it is left but its name, usage and audit log.
    assert!(!files_of(platform.directory(), feed.element()).is_empty());
    admin.post(&format!("{tenant}/offboard"), &json!({})).await.unwrap();
    assert_eq!(code(&farm.api, "/v1/orders").await.0, 401);
    assert_eq!(post(&feed).await.0, 401);
    assert_eq!(code(&reader.api, &format!("/v1/elements/{}", feed.element())).await.0, 404);
    for kept in [feed.element(), &feed.id, &out.id] {
        eventually("its files are gone", async || files_of(platform.directory(), kept).is_empty().then_some(())).await;
    }
    assert_eq!(admin.get(&tenant).await.unwrap()["state"], "OFFBOARDED");
}

async fn order_in(farm: &Organisation) -> Channel {
    let order = json!({
        "name": "in", "channel_profile": "http", "performance_profile": "S",
        "feeds": [{
            "name": "sensors",
            "new_element": {
                "name": "sensors", "kind": "entity",
                "schema": {"fields": [{"name": "id", "type": "int64", "required": true, "key": true}]},
                "metadata": {
                    "context": "barn", "source": "sensors", "format": "json", "what": "readings",
                    "identified_by": "id",
                },
            },
        }],
    });
    farm.order("in", &order, |_| {}, async |_, _| {}).await.unwrap()
}

async fn set_quota(admin: &ApiClient, tenant: &str, quota: &Value) {
    let path = format!("{tenant}/quota");
    admin.send(Method::PUT, &path, Some(quota), &[("if-match", "*")]).await.unwrap().ok().unwrap();
}

/// Status, problem and `Retry-After` of one payload.
async fn post(feed: &Channel) -> (u16, Value, Option<u64>) {
    let request = reqwest::Client::new().post(format!("{}/{}", feed.url(), feed.stream()));
    let request = request.bearer_auth(feed.secret("channel_key")).header("content-type", "application/json");
    let response = request.body("{\"id\":3}").send().await.unwrap();
    let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    (response.status().as_u16(), response.json().await.unwrap_or_default(), retry_after)
}

async fn code(api: &ApiClient, path: &str) -> (u16, String) {
    let answer = api.send(Method::GET, path, None, &[]).await.unwrap();
    (answer.status.as_u16(), answer.body["code"].as_str().unwrap_or_default().to_owned())
}

async fn states(admin: &ApiClient, list: &str) -> Vec<String> {
    let channels = admin.get(list).await.unwrap();
    let items = channels["items"].as_array().unwrap().iter();
    items.map(|channel| channel["state"].as_str().unwrap().to_owned()).collect()
}

/// Files and folders below `folder` with the id in their name, in whichever form it is written there.
fn files_of(folder: &Path, id: &str) -> Vec<PathBuf> {
    let digits = id.split_once('_').map_or(id, |(_, digits)| digits);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().replace('-', "");
        if name.contains(digits) {
            found.push(path);
        } else if path.is_dir() {
            found.extend(files_of(&path, id));
        }
    }
    found
}

/// Files below `folder` that hold these bytes.
fn files_with(folder: &Path, bytes: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(&path, bytes));
        } else if std::fs::read(&path).is_ok_and(|text| text.windows(bytes.len()).any(|part| part == bytes)) {
            found.push(path);
        }
    }
    found
}
