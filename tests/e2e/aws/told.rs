//! What the owner of a channel is told when it can be used, whether AWS holds it or Headgate.

use std::collections::BTreeMap;

use futures::StreamExt;
use serde_json::{Value, json};

use super::cloud::{CloudChannel, CloudStage, revealed, succeeded};
use super::count;
use crate::harness::eventually;
use crate::harness::receiver::Receiver;
use crate::harness::stage::order_in;
use crate::harness::world::Organisation;

const READY: &str = "io.headgate.channel.ready.v1";
const SPARK: &str = "arn:aws:iam::222222222222:role/spark";

/// The ready events among others, by channel.
fn ready(events: &[Value]) -> BTreeMap<String, Vec<Value>> {
    let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for event in events.iter().filter(|event| event["type"] == READY) {
        found.entry(event["subject"].as_str().unwrap().to_owned()).or_default().push(event.clone());
    }
    found
}

/// The log of a tenant's events.
async fn log(owner: &Organisation) -> Vec<Value> {
    owner.api.get("/v1/events?page_size=1000").await.unwrap()["items"].as_array().unwrap().clone()
}

/// What a subscriber to the log's stream is sent from its beginning to the event of this id.
async fn streamed(owner: &Organisation, last: &Value) -> Vec<Value> {
    let url = format!("{}/v1/events/stream", owner.api.base);
    let answer = owner.api.http.get(url).bearer_auth(&owner.api.token).send().await.unwrap();
    let (mut body, mut text) = (answer.bytes_stream(), Vec::new());
    loop {
        text.extend(body.next().await.expect("the stream goes on").unwrap());
        let whole = String::from_utf8_lossy(&text);
        let (whole, _) = whole.rsplit_once("\n\n").unwrap_or_default();
        let data = whole.lines().filter_map(|line| line.strip_prefix("data:"));
        let events: Vec<Value> = data.map(|data| serde_json::from_str(data).unwrap()).collect();
        if events.iter().any(|event| event["id"] == *last) {
            return events;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ready_event_comes_once_with_address_and_claim_and_no_secret_whoever_holds_the_channel() {
    let Some(mut cloud) = CloudStage::start("events").await else { return };
    let receiver = Receiver::start().await.unwrap();
    let owner = &cloud.stage.consumer;
    let hook = owner.api.post("/v1/event-endpoints", &json!({"url": receiver.url})).await.unwrap();
    let signing = hook["signing_secret"].as_str().unwrap().to_owned();
    receiver.with(|received| received.secrets.push(signing)).await;

    // None of the stacks gets past its last resource.
    cloud.account.fault(json!({"resource": "PlatformRole", "operation": "create", "effect": "hold"})).await;
    let mut bodies = Vec::new();
    for (profile, principal) in
        [("file", None), ("queue", None), ("stream", None), ("file", Some(SPARK)), ("api", None)]
    {
        let mut body = cloud.stage.order_out(profile, &json!({}));
        (body["name"], body["performance_profile"]) = (json!(format!("out-{}", bodies.len())), json!("S"));
        if let Some(principal) = principal {
            body["client_principal"] = json!(principal);
        }
        bodies.push(("out", body));
    }
    for profile in ["file", "queue", "stream"] {
        let mut body = order_in("events");
        (body["name"], body["channel_profile"]) = (json!(format!("in-{profile}")), json!(profile));
        body["performance_profile"] = json!("S");
        body["feeds"][0]["new_element"]["name"] = json!(profile);
        bodies.push(("in", body));
    }
    let mut accepted = Vec::new();
    for (direction, body) in &bodies {
        let path = format!("/v1/data-{direction}-channels");
        let headers = [("idempotency-key", body["name"].as_str().unwrap())];
        let answer = owner.api.send(reqwest::Method::POST, &path, Some(body), &headers).await.unwrap();
        assert_eq!((answer.status.as_u16(), &answer.body["channel"]["state"]), (202, &json!("PROVISIONING")));
        accepted.push(answer.body);
    }
    let embedded = accepted[4]["channel"]["id"].as_str().unwrap();
    eventually("every stack, and what Headgate holds", async || {
        let stacks = count(&cloud.account, "stacks").await;
        (stacks == bodies.len() - 1 && ready(&log(owner).await).contains_key(embedded)).then_some(())
    })
    .await;
    assert_eq!(ready(&log(owner).await).len(), 1, "nothing is told before it is so");
    // What a process is sending when it is killed is sent again when its lease is over, minutes later.
    eventually("the first event at the subscriber", async || {
        receiver.with(|received| ready(&received.bodies).contains_key(embedded).then_some(())).await
    })
    .await;
    // The process that saw the stacks begun does not see them done.
    tokio::task::block_in_place(|| cloud.stage.platform.kill_and_restart()).unwrap();
    cloud.account.no_faults().await;

    let owner = &cloud.stage.consumer;
    let mut secrets = Vec::new();
    for ((direction, body), accepted) in bodies.iter().zip(&accepted) {
        let id = accepted["channel"]["id"].as_str().unwrap();
        let order = succeeded(owner, accepted).await;
        let path = format!("/v1/data-{direction}-channels/{id}");
        let channel = owner.api.get(&path).await.unwrap();
        let events = ready(&log(owner).await);
        let [event] = &events[id][..] else { panic!("{id} is told of once: {events:#?}") };
        let told = &event["data"];
        // Order, event and channel name the same place.
        let endpoint = &channel["status"]["endpoint"];
        assert_eq!((&told["endpoint"], &order["result"]["endpoint"]), (endpoint, endpoint));
        for (member, value) in [
            ("channel", json!(id)),
            ("name", body["name"].clone()),
            ("direction", json!(direction)),
            ("channel_profile", body["channel_profile"].clone()),
            ("performance_profile", body["performance_profile"].clone()),
            ("state", json!("ACTIVE")),
            ("order", order["id"].clone()),
            ("snippets_url", json!(format!("{path}/snippets"))),
        ] {
            assert_eq!(told[member], value, "{member} of {event:#}");
        }
        let url = endpoint["url"].as_str().unwrap().to_owned();
        let scheme = match body["channel_profile"].as_str().unwrap() {
            "file" => "s3://headgate-ch-",
            "queue" => "sqs://us-east-1/123456789012/headgate-ch-",
            "stream" => "kinesis://us-east-1/headgate-ch-",
            _ => "http://",
        };
        assert!(url.starts_with(scheme), "{url}");
        let credentials = told["credentials"].as_array().unwrap();
        if body["client_principal"] == json!(SPARK) {
            assert_eq!(credentials.len(), 0, "its own principal takes up the role");
            assert!(endpoint["cloud"]["role"].is_string() && endpoint["cloud"]["external_id"].is_string());
            continue;
        }
        // Nothing but the event is needed to get in.
        let [credential] = &credentials[..] else { panic!("{event:#}") };
        let key = revealed(owner, credential).await;
        let claim = format!("/v1/credential-claims/{}/reveal", credential["claim"].as_str().unwrap());
        let again = owner.api.post(&claim, &json!({})).await.unwrap_err().to_string();
        assert!(again.starts_with("410"), "{again}");
        let secret = key["secret"].as_str().unwrap().to_owned();
        if scheme == "http://" {
            assert_eq!(credential["kind"], "channel_key");
            let answer = reqwest::Client::new().get(&url).bearer_auth(&secret).send().await.unwrap();
            assert_eq!(answer.status(), 200);
        } else {
            assert_eq!(credential["kind"], "access_key");
            let channel = CloudChannel { path, url, key };
            let [read, write] = channel.read_and_write(&cloud.account, &channel.key);
            let job = if *direction == "in" { write } else { read };
            let came_to = cloud.account.client(&[job]).await;
            // An empty bucket has no manifest yet, which only who may read is told.
            assert!(came_to == ["ok"] || came_to == ["NoSuchKey"], "{came_to:?}: {}", channel.url);
        }
        secrets.push(secret);
    }

    // Who listens, by whichever way, gets the same events, and each of them once.
    let kept = log(owner).await;
    let expected = ready(&kept);
    assert_eq!(expected.len(), bodies.len());
    let last = &kept.iter().rfind(|event| event["type"] == READY).unwrap()["id"];
    assert_eq!(ready(&streamed(owner, last).await), expected);
    eventually("every event at the subscriber", async || {
        let sent = receiver.with(|received| ready(&received.bodies)).await;
        (sent.len() == bodies.len()).then_some(())
    })
    .await;
    let (sent, refused) = receiver.with(|received| (received.bodies.clone(), received.refused)).await;
    assert_eq!((ready(&sent), refused), (expected, 0));
    let everything = json!([kept, sent, accepted]).to_string();
    for secret in secrets {
        assert!(!everything.contains(&secret), "an event or an answer tells a secret");
    }
    crate::events::validated(&cloud.stage.platform.control, owner).await;
}
