//! Records of an order end to end in resources of AWS.

use std::collections::{BTreeMap, HashMap};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use super::cloud::{CloudChannel, CloudStage, order, revealed, succeeded};
use crate::harness::stage::reading;
use crate::harness::world::Organisation;
use crate::harness::{PATIENCE, eventually, settled};

/// The fields of a record as it was sent, with `_op` of an upsert.
fn expected(n: usize, count: usize) -> Value {
    let mut record = reading(n);
    record["count"] = json!(count);
    record["_op"] = json!("upsert");
    record
}

fn without_id(record: &Value) -> Value {
    let mut record = record.clone();
    assert_eq!(record.as_object_mut().unwrap().remove("_id").unwrap().as_str().unwrap().len(), 32);
    // Canonical JSON writes 0.0 as 0.
    if let Some(value) = record["value"].as_f64() {
        record["value"] = json!(value);
    }
    record
}

/// Records and bytes of all flows.
fn sums(statistics: &Value) -> (u64, u64) {
    let flows = statistics["flows"].as_array().unwrap();
    let sum = |name: &str| flows.iter().filter_map(|flow| flow[name].as_u64()).sum();
    (sum("records"), sum("bytes"))
}

/// Collects what comes until `records` different ids were seen; answers all, in order.
async fn collected(cloud: &CloudStage, channel: &CloudChannel, records: usize) -> Vec<Value> {
    let mut found: Vec<Value> = Vec::new();
    eventually("every record", async || {
        let now = cloud.records(channel).await;
        // A queue gives each message once, the others all there is.
        if channel.url.starts_with("sqs") {
            found.extend(now)
        } else {
            found = now
        }
        let ids: std::collections::HashSet<&str> = found.iter().map(|record| record["_id"].as_str().unwrap()).collect();
        (ids.len() >= records).then_some(())
    })
    .await;
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_of_an_order_arrives_in_the_resource_of_aws_that_its_claim_opens() {
    let Some(mut cloud) = CloudStage::start("entity").await else { return };
    let (rows, more) = (40, 15);
    let sent: Vec<Value> = (0..rows).map(reading).collect();
    cloud.stage.send(&sent).await;
    let ordered = [
        ("files", "file", json!({"format": "ndjson", "roll_seconds": 1})),
        ("stream", "stream", json!({})),
        ("queue", "queue", json!({})),
        ("fifo", "queue", json!({"ordered": true})),
    ];
    let mut channels: Vec<CloudChannel> = futures::future::join_all(
        ordered.map(|(name, profile, options)| cloud.order(name, profile, options)).into_iter(),
    )
    .await;
    let spark = cloud.order_for("arn:aws:iam::222222222222:role/spark", "file", json!({"roll_seconds": 1})).await;
    channels.push(spark);
    let embedded = cloud.stage.channel("api", json!({})).await;
    assert!(channels[2].url.ends_with("-records") && channels[3].url.ends_with("-records.fifo"), "{channels:?}");

    // Changes while it runs, and others over the end of the process.
    let changed: Vec<Value> = (0..more)
        .map(|n| {
            let mut row = reading(n);
            row["count"] = json!(1_000 + n);
            row
        })
        .collect();
    cloud.stage.send(&changed).await;
    cloud.stage.platform.kill_and_restart().unwrap();
    let again: Vec<Value> = (0..more)
        .map(|n| {
            let mut row = reading(n);
            row["count"] = json!(2_000 + n);
            row
        })
        .collect();
    cloud.stage.send(&again).await;
    let gone = json!({"id": reading(rows - 1)["id"], "_op": "delete"});
    cloud.stage.send(std::slice::from_ref(&gone)).await;

    let total = rows + 2 * more + 1;
    let billed = cloud.stage.settled(&embedded, total).await;
    for channel in &channels {
        let found = collected(&cloud, channel, total).await;
        let mut versions: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        let mut ids = HashMap::new();
        for record in &found {
            let before = ids.insert(record["_id"].as_str().unwrap().to_owned(), record.clone());
            assert!(before.as_ref().is_none_or(|before| before == record), "a repeat is the same record");
            if before.is_none() {
                versions.entry(record["id"].as_str().unwrap().to_owned()).or_default().push(without_id(record));
            }
        }
        assert_eq!(ids.len(), total, "{}", channel.url);
        let once = channel.url.starts_with("s3") || channel.url.ends_with(".fifo");
        assert!(!once || found.len() == total, "{}: {} of {total}", channel.url, found.len());
        for n in 0..rows {
            let mut seen = versions[reading(n)["id"].as_str().unwrap()].clone();
            let mut wanted = vec![expected(n, n)];
            if n < more {
                wanted.extend([expected(n, 1_000 + n), expected(n, 2_000 + n)]);
            }
            if n == rows - 1 {
                wanted.push(gone.clone());
            }
            if channel.url.ends_with("-records") {
                // A standard queue promises no order.
                seen.sort_by_key(|record| record["count"].as_u64().unwrap_or(u64::MAX));
            }
            assert_eq!(seen, wanted, "{}", channel.url);
        }
        // Billed as if Headgate served it (DATA-PLANE rule 33).
        let statistics = settled(&cloud.stage.consumer, &channel.path, total).await;
        assert_eq!(sums(&statistics), sums(&billed), "{}: {statistics:#}", channel.url);
        assert_eq!(statistics["dead_letters"], 0);
    }
    assert!(cloud.stage.platform.stop().unwrap().success());
    cloud.stage.platform.run(&["usage", "reconcile"]).unwrap();
}

/// Asks for something of a channel with a body; the order's end.
async fn changed(owner: &Organisation, channel: &CloudChannel, method: Method, body: Option<&Value>) -> Value {
    let answer = owner.api.send(method, &channel.path, body, &[("if-match", "*")]).await.unwrap().ok().unwrap();
    succeeded(owner, &answer).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_of_aws_is_paused_resized_given_new_keys_and_removed_and_is_closed_to_everybody_else() {
    let Some(cloud) = CloudStage::start("events").await else { return };
    let stage = &cloud.stage;
    let ordered = [
        ("files", "file", json!({"format": "ndjson", "roll_seconds": 1})),
        ("stream", "stream", json!({})),
        ("queue", "queue", json!({})),
    ];
    let mut channels: Vec<CloudChannel> = futures::future::join_all(
        ordered.map(|(name, profile, options)| cloud.order(name, profile, options)).into_iter(),
    )
    .await;
    // Another tenant has the same.
    let admin = stage.platform.admin().await.unwrap();
    let stranger = Organisation::create(&admin, &stage.platform.control, "Stranger").await.unwrap();
    let grants = format!("/v1/elements/{}/grants", stage.feed.element());
    stage.provider.api.post(&grants, &json!({"tenant": stranger.tenant})).await.unwrap();
    let mut theirs = Vec::new();
    for (name, profile, options) in
        [("f", "file", json!({"roll_seconds": 1})), ("s", "stream", json!({})), ("q", "queue", json!({}))]
    {
        let mut body = stage.order_out(profile, &options);
        (body["name"], body["performance_profile"]) = (json!(name), json!("S"));
        theirs.push(order(&stranger, &body).await);
    }

    let mut sent = 0;
    let send = async |sent: &mut usize, count: usize| {
        let records: Vec<Value> = (*sent..*sent + count).map(reading).collect();
        *sent += count;
        stage.send(&records).await;
    };
    send(&mut sent, 10).await;
    let mut found: Vec<Vec<Value>> = Vec::new();
    for channel in &channels {
        found.push(collected(&cloud, channel, sent).await);
    }
    for (mine, other) in channels.iter().zip(&theirs) {
        settled(&stranger, &other.path, sent).await;
        for (whose, key, outcome) in [
            (mine, &mine.key, "ok"),
            (other, &other.key, "ok"),
            (other, &mine.key, "refused"),
            (mine, &other.key, "refused"),
        ] {
            let jobs = whose.read_and_write(&cloud.account, key);
            assert_eq!(cloud.account.client(&jobs).await, [outcome, "refused"], "{} of {}", whose.url, key["id"]);
        }
    }
    let bucket = channels[0].place(&cloud.account)["bucket"].clone();
    let asked = |call: &str, key: &str| json!({"as": channels[0].key, "service": "s3", "call": call, "with": {"Bucket": bucket, "Key": key}});
    let first = cloud.read(&channels[0]).await["keys"][0].as_str().unwrap().to_owned();
    let jobs = [
        asked("get_object", ".headgate/state.json"),
        asked("delete_object", "manifest.json"),
        asked("get_object", &first),
    ];
    assert_eq!(cloud.account.client(&jobs).await, ["refused", "refused", "ok"], "offsets are internal");

    // Paused: nothing comes; resumed and larger: what was missing does.
    let owner = &stage.consumer;
    let action = async |channel: &CloudChannel, action: &str| {
        let accepted = owner.api.post(&format!("{}/{action}", channel.path), &json!({})).await.unwrap();
        succeeded(owner, &accepted).await
    };
    futures::future::join_all(channels.iter().map(|channel| action(channel, "pause"))).await;
    send(&mut sent, 10).await;
    let larger = json!({"performance_profile": "M"});
    let resumed = channels.iter().map(async |channel| {
        action(channel, "resume").await;
        changed(owner, channel, Method::PATCH, Some(&larger)).await
    });
    futures::future::join_all(resumed).await;
    send(&mut sent, 10).await;

    // New keys open it, the former ones for as long as the grace says.
    for (channel, found) in channels.iter_mut().zip(&mut found) {
        let accepted =
            stage.consumer.api.post(&format!("{}/rotate-credentials", channel.path), &json!({})).await.unwrap();
        let order = succeeded(&stage.consumer, &accepted).await;
        let key = revealed(&stage.consumer, &order["result"]["credentials"][0]).await;
        assert_ne!(key["id"], channel.key["id"]);
        let former = std::mem::replace(&mut channel.key, key);
        let jobs = [&former, &channel.key].map(|key| channel.read_and_write(&cloud.account, key)[0].clone());
        assert_eq!(cloud.account.client(&jobs).await, ["ok", "ok"], "{}", channel.url);
        let had = if channel.url.starts_with("sqs") { found.len() } else { 0 };
        let mut all = std::mem::take(found);
        let rest = collected(&cloud, channel, sent - had).await;
        if had == 0 {
            all = rest
        } else {
            all.extend(rest)
        }
        let mut counts: Vec<u64> = all.iter().map(|record| record["count"].as_u64().unwrap()).collect();
        counts.sort_unstable();
        assert_eq!(counts, (0..sent as u64).collect::<Vec<_>>(), "{}", channel.url);
    }
    snippets(&cloud, &channels).await;

    // Deleted: the key ends, and nothing is left.
    futures::future::join_all(channels.iter().map(|channel| changed(owner, channel, Method::DELETE, None))).await;
    for channel in &channels {
        let jobs = channel.read_and_write(&cloud.account, &channel.key);
        for outcome in cloud.account.client(&jobs).await {
            assert!(outcome != "ok", "{}: {outcome}", channel.url);
        }
    }
    futures::future::join_all(theirs.iter().map(|channel| changed(&stranger, channel, Method::DELETE, None))).await;
    let left = cloud.account.left().await;
    for kind in ["stacks", "buckets", "queues", "streams", "policies"] {
        assert!(!left.contains_key(kind), "{kind}: {left:?}");
    }
}

/// Each channel's own snippets, run as they stand by whoever has its key.
async fn snippets(cloud: &CloudStage, channels: &[CloudChannel]) {
    let folder = tempfile::tempdir().unwrap();
    // Something for the queue, which is empty by now.
    cloud.stage.send(&[reading(500)]).await;
    for channel in channels {
        settled(&cloud.stage.consumer, &channel.path, 31).await;
        let items = cloud.stage.consumer.api.get(&format!("{}/snippets", channel.path)).await.unwrap();
        let items = items["items"].as_array().unwrap().clone();
        assert!(!items.is_empty(), "{}", channel.url);
        for snippet in items {
            let output = Command::new(std::env::var("HEADGATE_TEST_PYTHON").unwrap())
                .args(["-c", snippet["code"].as_str().unwrap()])
                .current_dir(folder.path())
                .env_clear()
                .env("AWS_ENDPOINT_URL", &cloud.account.url)
                .env("AWS_ACCESS_KEY_ID", channel.key["id"].as_str().unwrap())
                .env("AWS_SECRET_ACCESS_KEY", channel.key["secret"].as_str().unwrap())
                .output()
                .await
                .unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            let fine = output.status.success() && (said.contains("r000500") || said.contains(".ndjson"));
            assert!(fine, "{snippet:#}\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
        }
    }
    let files = std::fs::read_dir(folder.path()).unwrap();
    let lines: usize = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap().lines().count()).sum();
    assert_eq!(lines, 31, "the files were downloaded whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_too_large_for_a_queue_of_aws_is_a_dead_letter_that_names_its_size_and_the_rest_arrives() {
    let Some(cloud) = CloudStage::start("events").await else { return };
    let channel = cloud.order("queue", "queue", json!({})).await;
    let mut records: Vec<Value> = (0..20).map(reading).collect();
    records[7]["note"] = json!("x".repeat(300_000));
    cloud.stage.send(&records).await;
    let found = collected(&cloud, &channel, 19).await;
    assert!(found.len() == 19 && found.iter().all(|record| record["count"] != 7));
    let letters = eventually("the dead letter", async || {
        let letters = cloud.stage.consumer.api.get(&format!("{}/dead-letters", channel.path)).await.unwrap();
        letters["items"].as_array().filter(|items| !items.is_empty()).cloned()
    })
    .await;
    let reason = letters[0]["reason"].as_str().unwrap();
    assert!(letters.len() == 1 && reason.contains("262144") && reason.contains("300"), "{letters:?}");
    // The refused one is not billed.
    let statistics = settled(&cloud.stage.consumer, &channel.path, 19).await;
    assert_eq!(sums(&statistics).0, 19, "{statistics:#}");
}

/// Receives and never removes, until the message has gone where the dead letters go; prints how often it was
/// received, and what lies there.
const NEVER_DONE: &str = r#"
import json, sys, boto3
sqs, (queue, dead) = boto3.client("sqs", region_name="us-east-1"), sys.argv[1:]
received = []
while True:
    taken = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1, AttributeNames=["ApproximateReceiveCount"])
    received += [int(one["Attributes"]["ApproximateReceiveCount"]) for one in taken.get("Messages", [])]
    for one in sqs.receive_message(QueueUrl=dead, WaitTimeSeconds=0).get("Messages", []):
        print(json.dumps({"received": received, "dead": json.loads(one["Body"])}))
        sys.exit()
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_of_aws_hides_a_message_and_sets_it_aside_as_its_order_said() {
    let Some(cloud) = CloudStage::start("events").await else { return };
    let channel = cloud.order("queue", "queue", json!({"visibility_seconds": 1, "max_receives": 3})).await;
    cloud.stage.send(&[reading(7)]).await;
    settled(&cloud.stage.consumer, &channel.path, 1).await;
    let queue = channel.place(&cloud.account)["queue"].as_str().unwrap().to_owned();
    let endpoint = cloud.stage.consumer.api.get(&channel.path).await.unwrap()["status"]["endpoint"].clone();
    let dead = endpoint["cloud"]["further"]["dead_letters"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let dead = format!("{}/123456789012/{dead}", cloud.account.url);
    let mut client = Command::new(std::env::var("HEADGATE_TEST_PYTHON").unwrap());
    client.args(["-c", NEVER_DONE, &queue, &dead]).env_clear().env("AWS_ENDPOINT_URL", &cloud.account.url);
    client.env("AWS_ACCESS_KEY_ID", channel.key["id"].as_str().unwrap());
    client.env("AWS_SECRET_ACCESS_KEY", channel.key["secret"].as_str().unwrap()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, client.output()).await.expect("it is set aside").unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["received"], &found["dead"]["data"]["count"]), (&json!([1, 2, 3]), &json!(7)));
}
