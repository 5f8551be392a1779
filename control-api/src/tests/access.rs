//! Tokens, scopes, tenants, and what is recorded of them.

use headgate_access::audit;
use headgate_access::{CredentialKind, PLATFORM};
use headgate_types::{ChannelId, ClaimId};
use http::Method;
use serde_json::json;

use crate::testing::TestApi;

#[tokio::test]
async fn the_token_endpoint_speaks_oauth() {
    for api in TestApi::all().await {
        let form = "application/x-www-form-urlencoded";
        let ask = |body: &str| api.call(Method::POST, "/oauth2/token").raw(form, body.to_owned()).send();
        let reply = ask("grant_type=password").await.expect(400);
        assert_eq!(reply.body["error"], "unsupported_grant_type");
        let reply = ask("grant_type=client_credentials").await.expect(401);
        assert_eq!(reply.body["error"], "invalid_client");
        assert!(reply.header("www-authenticate").starts_with("Basic"));
        let reply = ask("grant_type=client_credentials&client_id=cli_x&client_secret=y").await.expect(401);
        assert_eq!(reply.body["error"], "invalid_client");
        assert_eq!(reply.header("cache-control"), "no-store");

        let made = api.post(&api.admin, "/v1/admin/clients", &json!({"name": "second"})).await.expect(201);
        let pair = format!("{}:{}", made.body["id"].as_str().unwrap(), made.body["client_secret"].as_str().unwrap());
        let basic = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, pair);
        let call = api.call(Method::POST, "/oauth2/token").header("authorization", &format!("Basic {basic}"));
        let reply = call.raw(form, "grant_type=client_credentials&scope=admin").send().await.expect(200);
        assert_eq!((reply.body["token_type"].as_str(), reply.body["scope"].as_str()), (Some("Bearer"), Some("admin")));
        let keys = api.call(Method::GET, "/.well-known/jwks.json").send().await.expect(200);
        assert_eq!(keys.body["keys"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_missing_scope_is_refused_and_the_denial_is_recorded() {
    for api in TestApi::all().await {
        let tenant = api.tenant("a").await;
        let reader = api.client(tenant.id, "catalog.read").await;
        api.get(&reader, "/v1/elements").await.expect(200);
        let reply = api.post(&reader, "/v1/nodes", &json!({"tree": "topic", "name": "weather"})).await.expect(403);
        assert_eq!(reply.code(), "insufficient_scope");
        api.get(&tenant.token, "/v1/admin/tenants").await.expect(403);
        let mut tx = api.db.control.read_platform().await.unwrap();
        let rows = audit::list(&mut tx, tenant.id, None, 10).await.unwrap();
        assert_eq!(rows[0].resource, "GET /v1/admin/tenants");
        assert_eq!((rows[1].resource.as_str(), rows[1].outcome), ("POST /v1/nodes", audit::Outcome::Denied));
        assert_eq!(rows[1].request_id.as_deref(), Some(reply.header("x-request-id")));
        assert_eq!(audit::verify(&mut tx, tenant.id).await.unwrap().broken_at, None);
    }
}

#[tokio::test]
async fn an_administrator_belongs_to_no_tenant() {
    for api in TestApi::all().await {
        let reply = api.get(&api.admin, "/v1/orders").await.expect(403);
        assert_eq!(reply.code(), "tenant_required");
    }
}

#[tokio::test]
async fn a_credential_is_revealed_once_to_its_own_tenant() {
    for api in TestApi::all().await {
        let (tenant, stranger) = (api.tenant("a").await, api.tenant("b").await);
        let mut tx = api.db.control.tenant(tenant.id).await.unwrap();
        let kind = CredentialKind::ChannelKey;
        let issued = api.state.access.issue_credential(&mut tx, tenant.id, ChannelId::new(), kind).await.unwrap();
        tx.commit().await.unwrap();
        let path = format!("/v1/credential-claims/{}/reveal", issued.claim);
        let reply = api.call(Method::POST, &path).token(&stranger.token).send().await.expect(404);
        assert_eq!(reply.code(), "not_found");
        let reply = api.call(Method::POST, &path).token(&tenant.token).send().await.expect(200);
        assert!(reply.body["secret"].as_str().unwrap().starts_with("hgk_"));
        assert_eq!(reply.header("cache-control"), "no-store");
        let reply = api.call(Method::POST, &path).token(&tenant.token).send().await.expect(410);
        assert_eq!(reply.code(), "claim_used");
        let unknown = format!("/v1/credential-claims/{}/reveal", ClaimId::new());
        api.call(Method::POST, &unknown).token(&tenant.token).send().await.expect(404);
    }
}

#[tokio::test]
async fn changes_by_an_administrator_stand_in_both_chains() {
    for api in TestApi::all().await {
        let tenant = api.tenant("a").await;
        let mut tx = api.db.control.read_platform().await.unwrap();
        for chain in [PLATFORM, tenant.id] {
            let rows = audit::list(&mut tx, chain, None, 100).await.unwrap();
            assert!(rows.iter().any(|row| row.action == "tenant.create" && row.resource == tenant.id.to_string()));
            assert_eq!(audit::verify(&mut tx, chain).await.unwrap().broken_at, None);
        }
    }
}
