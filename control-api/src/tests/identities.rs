//! Clients, groups and people of other issuers, and logins in a pool.

use http::Method;
use serde_json::json;

use crate::testing::{FakePool, ISSUER, Mood, TestApi};

#[tokio::test]
async fn a_group_is_bound_listed_and_unbound_once_and_on_the_record() {
    for api in TestApi::all().await {
        let (a, b) = (api.tenant("a").await, api.tenant("b").await);
        for collection in [format!("/v1/admin/tenants/{}/identities", a.id), "/v1/admin/identities".to_owned()] {
            let body = json!({"issuer": ISSUER, "kind": "group", "name": format!("farm {collection}")});
            let create = || {
                let call = api.call(Method::POST, &collection).token(&api.admin).header("idempotency-key", &collection);
                call.json(&body).send()
            };
            let made = create().await.expect(201);
            let again = create().await.expect(201);
            assert_eq!((again.header("idempotent-replayed"), &again.body), ("true", &made.body));
            assert_eq!(made.header("location"), format!("{collection}/{}", made.body["id"].as_str().unwrap()));
            let is_platform = collection == "/v1/admin/identities";
            assert_eq!(made.body["tenant"].is_null(), is_platform);
            assert_eq!(made.body["scopes"].to_string().contains("\"admin\""), is_platform);
            assert_eq!(api.get(&api.admin, &collection).await.expect(200).body["items"], json!([made.body]));

            // A name leads to one tenant: whoever has it.
            let others = format!("/v1/admin/tenants/{}/identities", b.id);
            let taken = api.post(&api.admin, &others, &body).await.expect(409);
            assert_eq!(taken.code(), "already_exists");

            let path = made.header("location").to_owned();
            api.call(Method::DELETE, &path).token(&api.admin).send().await.expect(204);
            api.call(Method::DELETE, &path).token(&api.admin).send().await.expect(404);
            assert_eq!(api.get(&api.admin, &collection).await.body["items"], json!([]));
            api.post(&api.admin, &others, &body).await.expect(201);
        }
        let audit = api.get(&api.admin, &format!("/v1/admin/audit?tenant={}", a.id)).await.expect(200);
        let rows = audit.body["items"].as_array().unwrap().iter();
        let told: Vec<_> = rows.filter(|row| row["action"].as_str().unwrap().starts_with("identity.")).collect();
        assert_eq!(told.len(), 2);
        assert!(told.iter().all(|row| row["detail"]["issuer"] == ISSUER), "{told:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_bound_is_refused_by_its_place() {
    for api in TestApi::all().await {
        let tenant = api.tenant("a").await;
        let path = format!("/v1/admin/tenants/{}/identities", tenant.id);
        for (body, place) in [
            (json!({"issuer": format!("{ISSUER}/"), "kind": "group", "name": "x"}), "/issuer"),
            (json!({"issuer": "http://127.0.0.1:7170/", "kind": "group", "name": "x"}), "/issuer"),
            (json!({"issuer": ISSUER, "kind": "group", "name": ""}), "/name"),
            (json!({"issuer": ISSUER, "kind": "group", "name": "x", "scopes": []}), "/scopes"),
            (json!({"issuer": ISSUER, "kind": "group", "name": "x", "scopes": ["admin"]}), "/scopes"),
        ] {
            assert_eq!(api.post(&api.admin, &path, &body).await.expect(422).pointers(), [place], "{body}");
        }
        let unknown = json!({"issuer": ISSUER, "kind": "role", "name": "x"});
        assert!(api.post(&api.admin, &path, &unknown).await.status.is_client_error());
    }
}

/// The clients of a tenant, and one of them.
async fn made(api: &TestApi, scopes: &[&str]) -> (String, crate::testing::Reply) {
    let tenant = api.post(&api.admin, "/v1/admin/tenants", &json!({"name": "a"})).await.expect(201);
    let path = format!("/v1/admin/tenants/{}/clients", tenant.body["id"].as_str().unwrap());
    let client = api.post(&api.admin, &path, &json!({"name": "robot", "scopes": scopes})).await.expect(201);
    (path, client)
}

fn app_clients(pool: &FakePool) -> Vec<String> {
    pool.clients.lock().keys().cloned().collect()
}

#[tokio::test]
async fn a_client_of_a_tenant_gets_an_app_client_and_an_administrator_does_not() {
    for (api, pool) in TestApi::with_pools().await {
        let (path, client) = made(&api, &["data.read", "usage.read"]).await;
        let login = &client.body["login"];
        assert_eq!(app_clients(&pool), [login["client_id"].as_str().unwrap()]);
        assert_eq!(login["issuer"], crate::testing::POOL);
        assert_eq!(client.body["token_url"], "https://pool.example.com/oauth2/token");
        assert_eq!(client.body["token_scope"], "headgate/usage.read headgate/data.read");
        assert!(client.body["client_secret"].as_str().unwrap().starts_with("secret-of-"));
        let listed = api.get(&api.admin, &path).await.expect(200);
        assert_eq!(listed.body["items"][0]["login"], *login);
        assert!(!listed.text.contains("secret"), "{}", listed.text);

        let colleague = api.post(&api.admin, "/v1/admin/clients", &json!({"name": "operations"})).await.expect(201);
        assert!(colleague.body["login"].is_null() && colleague.body["token_url"].is_null());
        assert_eq!(app_clients(&pool).len(), 1);
    }
}

#[tokio::test]
async fn a_new_secret_is_a_new_app_client_and_revoking_removes_them_all() {
    for (api, pool) in TestApi::with_pools().await {
        let (path, client) = made(&api, &["data.read"]).await;
        let one = format!("{path}/{}", client.body["id"].as_str().unwrap());
        let rotated = api.post(&api.admin, &format!("{one}/rotate-secret"), &json!({})).await.expect(200);
        assert_eq!(rotated.body["id"], client.body["id"]);
        assert_ne!(rotated.body["login"], client.body["login"]);
        assert_ne!(rotated.body["client_secret"], client.body["client_secret"]);
        assert_eq!(app_clients(&pool).len(), 2, "the one before is good for its grace");
        let revoked = api.post(&api.admin, &format!("{one}/revoke"), &json!({})).await.expect(200);
        assert!(revoked.body["revoked_at"].is_string());
        assert!(app_clients(&pool).is_empty());
        api.post(&api.admin, &format!("{one}/rotate-secret"), &json!({})).await.expect(404);
        assert!(app_clients(&pool).is_empty());
    }
}

#[tokio::test]
async fn a_pool_that_fails_changes_nothing_and_a_refused_client_never_reaches_it() {
    for (api, pool) in TestApi::with_pools().await {
        let (path, client) = made(&api, &["data.read"]).await;
        let one = format!("{path}/{}", client.body["id"].as_str().unwrap());
        let before = api.get(&api.admin, &path).await.body;
        for (mood, code) in [(Mood::DoesNotAnswer, "pool_unavailable"), (Mood::Refuses, "pool_refused")] {
            *pool.mood.lock() = mood;
            for (at, body) in [(path.clone(), json!({"name": "x"})), (format!("{one}/rotate-secret"), json!({}))] {
                let failed = api.post(&api.admin, &at, &body).await.expect(503);
                assert_eq!(failed.code(), code);
                assert_eq!(failed.header("retry-after").is_empty(), code == "pool_refused");
            }
        }
        assert_eq!(api.get(&api.admin, &path).await.body, before);
        // Revoking does not wait for the pool.
        api.post(&api.admin, &format!("{one}/revoke"), &json!({})).await.expect(200);
        assert_eq!(app_clients(&pool).len(), 1, "left to the sweep");

        *pool.mood.lock() = Mood::Works;
        api.post(&api.admin, &path, &json!({"name": "x", "scopes": ["admin"]})).await.expect(422);
        api.post(&api.admin, &path, &json!({"name": "x".repeat(101)})).await.expect(422);
        let nobody = format!("/v1/admin/tenants/ten_{}/clients", "0".repeat(32));
        api.post(&api.admin, &nobody, &json!({"name": "x"})).await.expect(404);
        assert_eq!(app_clients(&pool).len(), 1);
    }
}

#[tokio::test]
async fn an_app_client_that_cannot_be_written_down_is_removed_at_once() {
    for (api, pool) in TestApi::with_pools().await {
        let (path, client) = made(&api, &["data.read"]).await;
        let one = format!("{path}/{}", client.body["id"].as_str().unwrap());
        let there = app_clients(&pool);
        // Somebody bound the name before: the row is refused after the pool made it.
        let taken = json!({"issuer": crate::testing::POOL, "kind": "client", "name": "app-taken"});
        api.post(&api.admin, "/v1/admin/identities", &taken).await.expect(201);
        for (at, body) in [(&path, json!({"name": "x"})), (&format!("{one}/rotate-secret"), json!({}))] {
            *pool.next.lock() = Some("app-taken".to_owned());
            assert_eq!(api.post(&api.admin, at, &body).await.expect(409).code(), "already_exists");
            assert!(pool.next.lock().is_none(), "the pool was asked");
            assert_eq!(app_clients(&pool), there);
        }
        assert_eq!(api.get(&api.admin, &path).await.body["items"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_repeated_request_makes_no_second_app_client_and_shows_no_secret() {
    for (api, pool) in TestApi::with_pools().await {
        let (path, _) = made(&api, &["data.read"]).await;
        let create = |name: &'static str| {
            let call = api.call(Method::POST, &path).token(&api.admin).header("idempotency-key", "one");
            call.json(&json!({"name": name})).send()
        };
        create("x").await.expect(201);
        let there = app_clients(&pool);
        let again = create("x").await.expect(201);
        assert_eq!(again.header("idempotent-replayed"), "true");
        assert!(again.body.get("client_secret").is_none() && again.body["login"].is_object());
        create("y").await.expect(422);
        assert_eq!(app_clients(&pool), there);
    }
}
