//! Running the platform.

use http::Method;
use serde_json::json;

use crate::testing::TestApi;

#[tokio::test]
async fn a_tenant_is_created_listed_limited_suspended_and_offboarded() {
    for api in TestApi::all().await {
        let tenant = api.tenant("Farm").await;
        let path = format!("/v1/admin/tenants/{}", tenant.id);
        let found = api.get(&api.admin, &path).await.expect(200);
        let listed = api.get(&api.admin, "/v1/admin/tenants?filter=name:farm").await.expect(200);
        assert_eq!(listed.body["items"][0], found.body);

        let quota = json!({"max_channels": 0});
        let put = || api.call(Method::PUT, &format!("{path}/quota")).token(&api.admin).json(&quota);
        assert_eq!(put().send().await.expect(428).code(), "if_match_required");
        assert_eq!(put().header("if-match", "\"old\"").send().await.expect(412).code(), "etag_mismatch");
        let changed = put().header("if-match", found.header("etag")).send().await.expect(200);
        assert_eq!(changed.body["quotas"], quota);
        let order = crate::testing::data_in("weather");
        let reply = api.post(&tenant.token, "/v1/data-in-channels", &order).await.expect(409);
        assert_eq!(reply.code(), "channel_quota_exceeded");

        api.post(&api.admin, &format!("{path}/suspend"), &json!({})).await.expect(200);
        assert_eq!(api.get(&tenant.token, "/v1/orders").await.expect(403).code(), "tenant_suspended");
        api.post(&api.admin, &format!("{path}/resume"), &json!({})).await.expect(200);
        api.get(&tenant.token, "/v1/orders").await.expect(200);

        let ended = api.post(&api.admin, &format!("{path}/offboard"), &json!({})).await.expect(200);
        assert_eq!(ended.body["state"], "OFFBOARDED");
        api.get(&tenant.token, "/v1/orders").await.expect(401);
        assert_eq!(api.post(&api.admin, &format!("{path}/resume"), &json!({})).await.code(), "tenant_offboarded");
    }
}

#[tokio::test]
async fn offboarding_orders_the_deletion_of_every_channel() {
    for api in TestApi::all().await {
        let tenant = api.tenant("a").await;
        let (channel, element) = api.element(&tenant, "weather").await;
        let other = api.tenant("b").await;
        let (grants, seen) = (format!("/v1/elements/{element}/grants"), format!("/v1/elements/{element}"));
        api.post(&tenant.token, &grants, &json!({"tenant": other.id})).await.expect(201);
        api.get(&other.token, &seen).await.expect(200);
        let endpoint = json!({"url": "http://127.0.0.1:9/hook", "types": ["io.headgate.channel.deleted.v1"]});
        api.post(&tenant.token, "/v1/event-endpoints", &endpoint).await.expect(201);
        api.post(&api.admin, &format!("/v1/admin/tenants/{}/offboard", tenant.id), &json!({})).await.expect(200);
        api.get(&other.token, &seen).await.expect(404);
        let mut tx = api.db.control.read_tenant(tenant.id).await.unwrap();
        assert!(headgate_events::endpoints::list(&mut tx, tenant.id).await.unwrap().is_empty());
        drop(tx);
        let list = format!("/v1/admin/orders?tenant={}&filter=kind=delete", tenant.id);
        let orders = api.get(&api.admin, &list).await.expect(200);
        assert_eq!(orders.body["items"][0]["channel"], channel.to_string());
        let channels = api.get(&api.admin, "/v1/admin/channels?filter=state=DELETING").await.expect(200);
        assert_eq!(channels.body["items"][0]["id"], channel.to_string());
    }
}

#[tokio::test]
async fn a_client_secret_is_shown_once_even_to_a_repeated_request() {
    for api in TestApi::all().await {
        let tenant = api.tenant("a").await;
        let path = format!("/v1/admin/tenants/{}/clients", tenant.id);
        let create = || {
            let call = api.call(Method::POST, &path).token(&api.admin).header("idempotency-key", "one");
            call.json(&json!({"name": "robot", "scopes": ["usage.read"]})).send()
        };
        let first = create().await.expect(201);
        assert!(first.body["client_secret"].as_str().unwrap().starts_with("hgs_"));
        let again = create().await.expect(201);
        assert_eq!(again.header("idempotent-replayed"), "true");
        assert_eq!(again.body["id"], first.body["id"]);
        assert!(again.body.get("client_secret").is_none());

        let revoke = format!("{path}/{}/revoke", first.body["id"].as_str().unwrap());
        let revoked = api.post(&api.admin, &revoke, &json!({})).await.expect(200);
        assert!(revoked.body["revoked_at"].is_string());
    }
}

#[tokio::test]
async fn an_administrator_cannot_revoke_the_client_it_is_logged_in_with() {
    for api in TestApi::all().await {
        let clients = api.get(&api.admin, "/v1/admin/clients").await.expect(200);
        let own = clients.body["items"][0]["id"].as_str().unwrap().to_owned();
        let refused = api.post(&api.admin, &format!("/v1/admin/clients/{own}/revoke"), &json!({})).await.expect(409);
        assert_eq!(refused.body["code"], "own_client");
        let other = api.post(&api.admin, "/v1/admin/clients", &json!({"name": "second"})).await.expect(201);
        let other = other.body["id"].as_str().unwrap().to_owned();
        api.post(&api.admin, &format!("/v1/admin/clients/{other}/revoke"), &json!({})).await.expect(200);
        let still = api.get(&api.admin, "/v1/admin/clients").await.expect(200);
        assert!(still.body["items"][0]["revoked_at"].is_null());
    }
}

#[tokio::test]
async fn a_tenants_client_cannot_have_the_platforms_scope() {
    for api in TestApi::all().await {
        let tenant = api.tenant("a").await;
        let path = format!("/v1/admin/tenants/{}/clients", tenant.id);
        let reply = api.post(&api.admin, &path, &json!({"name": "x", "scopes": ["admin"]})).await.expect(422);
        assert_eq!(reply.pointers(), ["/scopes"]);
    }
}

#[tokio::test]
async fn the_audit_log_is_listed_in_pages() {
    for api in TestApi::all().await {
        api.tenant("a").await;
        let first = api.get(&api.admin, "/v1/admin/audit?page_size=2").await.expect(200);
        assert_eq!(first.body["items"].as_array().unwrap().len(), 2);
        let token = first.body["next_page_token"].as_str().unwrap();
        let next = api.get(&api.admin, &format!("/v1/admin/audit?page_size=2&page_token={token}")).await.expect(200);
        let last_seen = first.body["items"][1]["sequence"].as_i64().unwrap();
        assert_eq!(next.body["items"][0]["sequence"], last_seen - 1);
    }
}
