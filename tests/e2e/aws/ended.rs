//! How channels end, whoever holds them: nobody gets in, what is in flight arrives, it is billed, and only
//! then is anything removed.

use reqwest::Method;
use serde_json::{Value, json};

use super::cloud::{CloudChannel, CloudStage, order, succeeded};
use super::count;
use crate::harness::stage::reading;
use crate::harness::world::Organisation;
use crate::harness::{eventually, settled};

const RECORDS: usize = 25;

/// The names of an order's steps that are done, in order.
fn done(order: &Value) -> Vec<&str> {
    let steps = order["steps"].as_array().unwrap().iter();
    steps.filter(|step| step["state"] == "DONE").map(|step| step["name"].as_str().unwrap()).collect()
}

/// Records that were billed to a channel.
async fn billed(owner: &Organisation, channel: &str) -> u64 {
    let id = channel.rsplit('/').next().unwrap();
    let usage = owner.api.get(&format!("/v1/usage?meter=deliver.records&channel={id}")).await.unwrap();
    usage["items"][0]["quantity"].as_u64().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_ends_revoked_drained_billed_removed_and_remembered_in_this_order_whoever_holds_it() {
    let Some(mut cloud) = CloudStage::start("events").await else { return };
    let before = cloud.account.left().await;
    let owner = &cloud.stage.consumer;
    let mut channels: Vec<(CloudChannel, &str)> = Vec::new();
    // Each stack is held at what holds the data.
    for (profile, resource) in [("file", "Bucket"), ("queue", "Queue"), ("stream", "Stream")] {
        channels.push((cloud.order(profile, profile, json!({})).await, resource));
    }
    let embedded = cloud.stage.channel("api", json!({})).await;
    cloud.stage.send(&(0..RECORDS).map(reading).collect::<Vec<_>>()).await;
    for (channel, _) in &channels {
        settled(owner, &channel.path, RECORDS).await;
    }
    cloud.stage.settled(&embedded, RECORDS).await;
    for resource in ["Bucket", "Queue", "Stream"] {
        cloud.account.fault(json!({"resource": resource, "operation": "delete", "effect": "hold"})).await;
    }
    let delete = async |path: &str| {
        owner.api.send(Method::DELETE, path, None, &[("if-match", "*")]).await.unwrap().ok().unwrap()
    };
    let mut orders = Vec::new();
    for (channel, resource) in &channels {
        let accepted = delete(&channel.path).await;
        let path = format!("/v1/orders/{}", accepted["order"]["id"].as_str().unwrap());
        eventually("the removal begins", async || {
            let order = owner.api.get(&path).await.unwrap();
            let message = order["steps"].to_string();
            (done(&order) == ["revoke", "drain"] && message.contains(resource)).then_some(())
        })
        .await;
        // The resource is there, and its client is not let in any more; the bill is complete.
        let jobs = channel.read_and_write(&cloud.account, &channel.key);
        assert_eq!(cloud.account.client(&jobs).await, ["InvalidClientTokenId"; 2], "{}", channel.url);
        assert_eq!(billed(owner, &channel.path).await, RECORDS as u64, "{}", channel.url);
        assert_eq!(owner.api.get(&channel.path).await.unwrap()["state"], "DELETING");
        orders.push(accepted);
    }
    assert_eq!(count(&cloud.account, "stacks").await, before.get("stacks").map_or(0, Vec::len) + channels.len());
    cloud.account.no_faults().await;
    orders.push(delete(&embedded.path).await);
    let paths: Vec<&str> = channels.iter().map(|(channel, _)| channel.path.as_str()).chain([&*embedded.path]).collect();
    for (path, accepted) in paths.iter().zip(&orders) {
        let order = succeeded(owner, accepted).await;
        assert_eq!(done(&order), ["revoke", "drain", "release", "tombstone"], "{order:#}");
        let ends: Vec<&str> =
            order["steps"].as_array().unwrap().iter().map(|step| step["finished_at"].as_str().unwrap()).collect();
        assert!(ends.is_sorted(), "{ends:?}");
        let tombstone = owner.api.get(path).await.unwrap();
        assert_eq!(tombstone["state"], "DELETED", "{tombstone:#}");
        assert_eq!(billed(owner, path).await, RECORDS as u64, "{path}");
        let told = owner.api.get("/v1/events?page_size=1000").await.unwrap();
        let told = told["items"].as_array().unwrap().iter();
        let id = path.rsplit('/').next().unwrap();
        let ended = told.filter(|event| event["type"] == "io.headgate.channel.deleted.v1" && event["subject"] == id);
        assert_eq!(ended.count(), 1);
    }
    let key = reqwest::Client::new().get(embedded.url()).bearer_auth(embedded.secret("channel_key"));
    assert_eq!(key.send().await.unwrap().status(), 401);
    let left = cloud.account.left().await;
    for kind in ["stacks", "buckets", "queues", "streams", "users", "keys", "policies", "roles"] {
        assert_eq!(left.get(kind), before.get(kind), "{kind}");
    }

    // One that could not be made keeps nobody from the next, not even of the same name.
    let refused = json!({"resource": "ClientRole", "operation": "create", "effect": "fail",
        "message": "Invalid principal in policy"});
    cloud.account.fault(refused).await;
    let mut body = cloud.stage.order_out("file", &json!({}));
    (body["performance_profile"], body["client_principal"]) =
        (json!("S"), json!("arn:aws:iam::222222222222:role/nobody"));
    let accepted = owner.api.post("/v1/data-out-channels", &body).await.unwrap();
    let path = format!("/v1/orders/{}", accepted["order"]["id"].as_str().unwrap());
    let failed = eventually("the failure", async || {
        let order = owner.api.get(&path).await.unwrap();
        (order["state"] == "FAILED").then_some(order)
    })
    .await;
    assert!(failed["error"]["leftovers"].as_array().is_none_or(Vec::is_empty), "{failed:#}");
    assert_eq!(count(&cloud.account, "stacks").await, before.get("stacks").map_or(0, Vec::len));
    cloud.account.no_faults().await;
    body.as_object_mut().unwrap().remove("client_principal");
    let next = order(owner, &body).await;
    settled(owner, &next.path, RECORDS).await;
    assert!(tokio::task::block_in_place(|| cloud.stage.platform.stop()).unwrap().success());
    cloud.stage.platform.run(&["usage", "reconcile"]).unwrap();
}
