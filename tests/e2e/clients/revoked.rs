//! What is taken back is gone at once: a grant, a credential.

use reqwest::Method;
use serde_json::{Value, json};

use super::get;
use crate::harness::Stage;
use crate::harness::stage::{carried_out, eventually, order_in, reading, send_to};
use crate::harness::world::Channel;

#[tokio::test]
async fn a_channel_gets_nothing_of_an_element_whose_grant_was_taken_back() {
    let stage = Stage::start("events").await;
    let mut other = order_in("events");
    other["name"] = json!("other");
    other["feeds"][0]["new_element"]["name"] = json!("other");
    let other = stage.provider.order("in", &other, |_| {}, async |_, _| {}).await.unwrap();
    let api = &stage.provider.api;
    api.post(&format!("/v1/elements/{}/grants", other.element()), &json!({"tenant": stage.consumer.tenant}))
        .await
        .unwrap();

    let order = json!({
        "name": "both", "channel_profile": "api", "performance_profile": "L",
        "data": [{"element": stage.feed.element()}, {"element": other.element()}],
    });
    let channel = stage.consumer.order("out", &order, |_| {}, async |_, _| {}).await.unwrap();
    stage.send(&[reading(1), reading(2)]).await;
    send_to(&other, &[reading(101)]).await;
    stage.settled(&channel, 3).await;
    assert_eq!(get(&channel, "/readings", &[]).await.status(), 200);

    let grants = format!("/v1/elements/{}/grants", stage.feed.element());
    let grant = api.get(&grants).await.unwrap()["items"][0]["id"].as_str().unwrap().to_owned();
    let gone = api.send(Method::DELETE, &format!("{grants}/{grant}"), None, &[]).await.unwrap();
    assert_eq!(gone.status, 204, "{}", gone.body);
    assert_ne!(get(&channel, "/readings", &[]).await.status(), 200, "what is taken back is gone with the answer");
    let element = format!("/v1/elements/{}", stage.feed.element());
    let hidden = stage.consumer.api.send(Method::GET, &element, None, &[]).await.unwrap();
    assert_eq!(hidden.status, 404);
    eventually("the channel stops serving the element", async || {
        (get(&channel, "/readings", &[]).await.status() == 404).then_some(())
    })
    .await;

    stage.send(&[reading(3), reading(4)]).await;
    send_to(&other, &[reading(102)]).await;
    // The statistics are those of what the channel carries.
    stage.settled(&channel, 2).await;
    send_to(&other, &[reading(103)]).await;
    let statistics = stage.settled(&channel, 3).await;
    let flows = statistics["flows"].as_array().unwrap();
    assert!(flows.iter().all(|flow| flow["element"] == other.element()), "{statistics:#}");
    assert_eq!(counts(&channel, "/other").await, [101, 102, 103]);
    assert_eq!(get(&channel, "/readings", &[]).await.status(), 404);

    // Granted again, the channel has what it may have: all of it.
    api.post(&grants, &json!({"tenant": stage.consumer.tenant})).await.unwrap();
    stage.send(&[reading(5)]).await;
    stage.settled(&channel, 8).await;
    assert_eq!(counts(&channel, "/readings").await, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn a_rotated_key_is_good_at_once_and_the_one_before_the_last_is_refused() {
    let stage = Stage::start("events").await;
    let channel = stage.channel("api", json!({})).await;
    let mut keys = vec![channel.secret("channel_key").to_owned()];
    for _ in 0..2 {
        let done = carried_out(&stage.consumer, &channel, "rotate-credentials").await;
        keys.push(stage.consumer.reveal(&done["result"]["credentials"][0]).await.unwrap().1);
    }
    for (key, status) in keys.iter().zip([401, 200, 200]) {
        let answer = reqwest::Client::new().get(channel.url()).bearer_auth(key).send().await.unwrap();
        assert_eq!(answer.status(), status);
    }
}

/// The numbers of the rows of a table, in order.
async fn counts(channel: &Channel, table: &str) -> Vec<i64> {
    let answer = get(channel, table, &[]).await;
    assert_eq!(answer.status(), 200);
    let page: Value = answer.json().await.unwrap();
    let mut counts: Vec<i64> =
        page["items"].as_array().unwrap().iter().map(|row| row["count"].as_i64().unwrap()).collect();
    counts.sort_unstable();
    counts
}
