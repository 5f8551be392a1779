//! What there is to order, and who sees it.

use http::Method;
use serde_json::json;

use crate::testing::TestApi;

#[tokio::test]
async fn an_element_is_its_owners_alone_until_it_is_granted() {
    for api in TestApi::all().await {
        let (owner, other) = (api.tenant("a").await, api.tenant("b").await);
        let (_, element) = api.element(&owner, "weather/hourly").await;
        let path = format!("/v1/elements/{element}");
        for place in ["", "/schema", "/statistics", "/grants"] {
            assert_eq!(api.get(&other.token, &format!("{path}{place}")).await.expect(404).code(), "not_found");
            api.get(&owner.token, &format!("{path}{place}")).await.expect(200);
        }
        let grant = json!({"tenant": other.id, "policy": {"columns": ["id"]}});
        let given = api.post(&owner.token, &format!("{path}/grants"), &grant).await.expect(201);
        let seen = api.get(&other.token, &path).await.expect(200);
        assert_eq!(
            (seen.body["owned"].as_bool(), seen.body["owner"].as_str()),
            (Some(false), Some(owner.id.to_string().as_str()))
        );
        let schema = api.get(&other.token, &format!("{path}/schema")).await.expect(200);
        assert_eq!(schema.body["schema"]["fields"].as_array().unwrap().len(), 1);
        assert_eq!(api.get(&other.token, &format!("{path}/grants")).await.expect(404).code(), "not_found");

        let delete = api.call(Method::DELETE, &format!("{path}/grants/{}", given.body["id"].as_str().unwrap()));
        delete.token(&other.token).send().await.expect(404);
        let delete = api.call(Method::DELETE, &format!("{path}/grants/{}", given.body["id"].as_str().unwrap()));
        delete.token(&owner.token).send().await.expect(204);
        api.get(&other.token, &path).await.expect(404);
    }
}

#[tokio::test]
async fn a_grant_that_cannot_hold_is_refused_where_it_is_wrong() {
    for api in TestApi::all().await {
        let owner = api.tenant("a").await;
        let (_, element) = api.element(&owner, "weather").await;
        let path = format!("/v1/elements/{element}/grants");
        let reply = api.post(&owner.token, &path, &json!({"public": true, "policy": {"filter": "broken"}})).await;
        assert_eq!(reply.expect(422).pointers(), ["/policy/filter"]);
        let reply = api.post(&owner.token, &path, &json!({"public": true, "tenant": owner.id})).await.expect(422);
        assert_eq!(reply.body["errors"][0]["code"], "exactly_one");
    }
}

#[tokio::test]
async fn elements_are_searched_and_listed_in_pages() {
    for api in TestApi::all().await {
        let tenant = api.tenant("a").await;
        for name in ["weather", "orders", "products"] {
            api.element(&tenant, name).await;
        }
        let found = api.get(&tenant.token, "/v1/elements?q=orders").await.expect(200);
        assert_eq!(found.body["items"].as_array().unwrap().len(), 1);
        let first = api.get(&tenant.token, "/v1/elements?page_size=2").await.expect(200);
        let token = first.body["next_page_token"].as_str().unwrap();
        let next = api.get(&tenant.token, &format!("/v1/elements?page_size=2&page_token={token}")).await.expect(200);
        assert_eq!(next.body["items"].as_array().unwrap().len(), 1);
        assert!(next.body.get("next_page_token").is_none());
        // The token was made for the list without a search.
        let wrong = api.get(&tenant.token, &format!("/v1/elements?q=orders&page_token={token}")).await.expect(400);
        assert_eq!(wrong.pointers(), ["page_token"]);
        let stranger = api.tenant("b").await;
        api.get(&stranger.token, &format!("/v1/elements?page_size=2&page_token={token}")).await.expect(400);
        let wrong = api.get(&tenant.token, "/v1/elements?filter=colour%3Dred").await.expect(400);
        assert_eq!(wrong.pointers(), ["filter"]);
    }
}

#[tokio::test]
async fn nodes_are_made_listed_and_removed() {
    for api in TestApi::all().await {
        let (tenant, other) = (api.tenant("a").await, api.tenant("b").await);
        let root = api.post(&tenant.token, "/v1/nodes", &json!({"tree": "topic", "name": "weather"})).await.expect(201);
        let id = root.body["id"].as_str().unwrap();
        let child = json!({"tree": "topic", "name": "hourly", "parent": id});
        let child = api.post(&tenant.token, "/v1/nodes", &child).await.expect(201);
        assert_eq!(child.body["path"], "weather/hourly");
        let listed = api.get(&tenant.token, "/v1/nodes?tree=topic").await.expect(200);
        assert_eq!(listed.body["items"].as_array().unwrap().len(), 2);
        assert!(api.get(&other.token, "/v1/nodes").await.expect(200).body["items"].as_array().unwrap().is_empty());
        let delete = |token: &str| api.call(Method::DELETE, &format!("/v1/nodes/{id}")).token(token).send();
        delete(&other.token).await.expect(404);
        assert_eq!(delete(&tenant.token).await.expect(409).code(), "in_use");
        let reply = api.post(&tenant.token, "/v1/nodes", &json!({"tree": "topic", "name": "a b"})).await.expect(422);
        assert_eq!(reply.pointers(), ["/name"]);
    }
}

#[tokio::test]
async fn a_schema_is_inferred_and_nothing_is_kept() {
    for api in TestApi::all().await {
        let tenant = api.tenant("a").await;
        let sample = json!({"format": "csv", "text": "id\n1\n", "keys": ["id"]});
        let reply = api.post(&tenant.token, "/v1/schemas/infer", &sample).await.expect(200);
        assert_eq!(reply.body["schema"]["fields"][0]["key"], true);
        let reply =
            api.post(&tenant.token, "/v1/schemas/infer", &json!({"format": "csv", "text": ""})).await.expect(422);
        assert_eq!(reply.code(), "sample_empty");
        assert!(api.get(&tenant.token, "/v1/elements").await.expect(200).body["items"].as_array().unwrap().is_empty());
    }
}

#[tokio::test]
async fn channel_profiles_list_what_the_engine_serves() {
    for api in TestApi::all().await {
        let tenant = api.tenant("a").await;
        let reply = api.get(&tenant.token, "/v1/channel-profiles").await.expect(200);
        let profiles = reply.body["channel_profiles"].as_array().unwrap();
        let http = profiles.iter().find(|profile| profile["key"] == "http").unwrap();
        assert_eq!(http["direction"], "in");
        assert!(http["sizes"][0]["limits"]["records_per_second"].as_u64().unwrap() > 0);
    }
}
