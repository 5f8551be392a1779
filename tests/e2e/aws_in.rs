//! Data-in channels that an AWS account holds, end to end: a client puts records with boto3 and the key of its claim,
//! rights are enforced, and a consumer reads them from a channel that Headgate serves itself.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::aws_account::{Account, BOUNDARY, Left, PLATFORM_ROLE};
use crate::harness::read::ChannelReader;
use crate::harness::stage::{order_in, reading};
use crate::harness::world::{Channel, Organisation};
use crate::harness::{Database, Options, Platform, eventually};

/// What a process had received when it was killed is invisible for a while, and a machine may be slow.
const PATIENCE: Duration = Duration::from_secs(240);
/// Everything of the account that belongs to channels.
const OF_CHANNELS: [&str; 7] = ["stacks", "buckets", "queues", "streams", "users", "keys", "policies"];

/// A platform whose data-in channels are held by an account with rights enforced.
struct World {
    account: Account,
    platform: Platform,
    provider: Organisation,
    consumer: Organisation,
    /// What there was before any channel.
    before: Left,
}

/// A data-in channel in the account, with its client, and a consumer of its element.
struct Inlet {
    channel: Channel,
    /// Who its client is to AWS.
    client: Value,
    reader: ChannelReader,
    api: Channel,
}

impl World {
    async fn start(profiles: Option<&str>) -> Option<Self> {
        let mut account = Account::start().await?;
        let people = account.enforce("headgate").await;
        let before = account.left().await;
        let role = ["--aws-platform-role", PLATFORM_ROLE, "--aws-boundary", BOUNDARY];
        let held = [["--aws-profiles", "file,stream,queue"].as_slice(), &role].concat();
        // Headgate runs as the role that every channel's own role admits.
        let environment = account.environment_of(&people["platform"]);
        let mut options = Options { environment, ..Options::arguments(&held) };
        if let Some(file) = profiles {
            options.arguments.extend(["--profiles".to_owned(), file.to_owned()]);
        }
        let platform = Platform::start_with(options).unwrap();
        let admin = platform.admin().await.unwrap();
        let provider = Organisation::create(&admin, &platform.control, "Provider").await.unwrap();
        let consumer = Organisation::create(&admin, &platform.control, "Consumer").await.unwrap();
        Some(Self { account, platform, provider, consumer, before })
    }

    /// Orders a data-in channel of the owner, with an element of its own that the consumer reads.
    async fn inlet(&self, owner: &Organisation, profile: &str, name: &str) -> Inlet {
        let mut order = order_in("events");
        order["channel_profile"] = json!(profile);
        order["performance_profile"] = json!("S");
        order["name"] = json!(name);
        order["feeds"][0]["new_element"]["name"] = json!(name);
        let accepted = owner.api.post("/v1/data-in-channels", &order).await.unwrap();
        let id = accepted["channel"]["id"].as_str().unwrap().to_owned();
        let order = format!("/v1/orders/{}", accepted["order"]["id"].as_str().unwrap());
        let done = eventually("the order's end", async || {
            let order = owner.api.get(&order).await.unwrap();
            assert!(order["state"] != "FAILED", "{order:#}");
            (order["state"] == "SUCCEEDED").then_some(order)
        })
        .await;
        let claim = done["result"]["credentials"][0]["claim"].as_str().unwrap();
        let key = owner.api.post(&format!("/v1/credential-claims/{claim}/reveal"), &json!({})).await.unwrap();
        let client = json!({"id": key["key_id"], "secret": key["secret"]});
        let path = format!("/v1/data-in-channels/{id}");
        let endpoint = owner.api.get(&path).await.unwrap()["status"]["endpoint"].clone();
        let channel = Channel { id, path, endpoint, secrets: Vec::new() };
        let grants = format!("/v1/elements/{}/grants", channel.element());
        if owner.tenant != self.consumer.tenant {
            owner.api.post(&grants, &json!({"tenant": self.consumer.tenant})).await.unwrap();
        }
        let order = json!({
            "name": name, "channel_profile": "api", "performance_profile": "L",
            "data": [{"element": channel.element()}],
        });
        let api = self.consumer.order("out", &order, |_| {}, async |_, _| {}).await.unwrap();
        let reader = ChannelReader::new(api.url(), api.secret("channel_key"));
        Inlet { channel, client, reader, api }
    }

    /// Puts readings as the channel's own client, the way its service wants them.
    async fn put(&self, inlet: &Inlet, numbers: std::ops::Range<usize>) {
        let jobs: Vec<Value> = numbers.map(|n| self.job(&inlet.channel, &inlet.client, &reading(n), n)).collect();
        assert_eq!(self.account.client(&jobs).await, vec!["ok"; jobs.len()]);
    }

    /// One record into what a channel names, by whomever.
    fn job(&self, channel: &Channel, who: &Value, record: &Value, n: usize) -> Value {
        let (scheme, place) = channel.url().split_once("://").unwrap();
        let name = place.split_once('/').map_or(place, |(_, rest)| rest);
        let queue = format!("{}/{name}", self.account.url);
        let (service, call, with) = match scheme {
            // The same key for every tenth: each version counts.
            "s3" => {
                let key = format!("readings/of day {}.json", n % 10);
                ("s3", "put_object", json!({"Bucket": name, "Key": key, "Body": record.to_string()}))
            }
            "sqs" if name.ends_with(".fifo") => (
                "sqs",
                "send_message",
                json!({
                    "QueueUrl": queue, "MessageBody": record.to_string(),
                    "MessageGroupId": record["site"], "MessageDeduplicationId": record["id"],
                }),
            ),
            "sqs" => ("sqs", "send_message", json!({"QueueUrl": queue, "MessageBody": record.to_string()})),
            _ => (
                "kinesis",
                "put_record",
                json!({
                    "StreamName": name, "Data": record.to_string(), "PartitionKey": record["site"],
                }),
            ),
        };
        json!({"as": who, "service": service, "call": call, "with": with})
    }

    /// Taking from what a channel names.
    fn take(&self, channel: &Channel, who: &Value) -> Value {
        let (scheme, place) = channel.url().split_once("://").unwrap();
        let name = place.split_once('/').map_or(place, |(_, rest)| rest);
        let (service, call, with) = match scheme {
            "s3" => ("s3", "list_objects_v2", json!({"Bucket": name})),
            "sqs" => {
                let queue = format!("{}/{name}", self.account.url);
                ("sqs", "receive_message", json!({"QueueUrl": queue, "WaitTimeSeconds": 0}))
            }
            _ => (
                "kinesis",
                "get_shard_iterator",
                json!({
                    "StreamName": name, "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON",
                }),
            ),
        };
        json!({"as": who, "service": service, "call": call, "with": with})
    }

    /// Waits until the consumer has readings `0..count`, each once.
    async fn arrived(&self, inlet: &Inlet, count: usize) -> Vec<Value> {
        let expected: BTreeSet<String> = (0..count).map(|n| reading(n)["id"].as_str().unwrap().to_owned()).collect();
        let start = Instant::now();
        let records = loop {
            // The platform may be on its way up.
            let records = inlet.reader.api(inlet.api.stream()).await.unwrap_or_default();
            if records.len() >= count {
                break records;
            }
            let path = &inlet.channel.path;
            assert!(start.elapsed() < PATIENCE, "{path} has brought {} of {count} records", records.len());
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        let found: BTreeSet<String> = records.iter().map(|record| record["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!((records.len(), found), (count, expected));
        records
    }

    /// Runs the command that the channel's owner is shown.
    async fn run_snippet(&self, inlet: &Inlet) {
        let path = format!("{}/snippets", inlet.channel.path);
        let snippets = self.provider.api.get(&path).await.unwrap();
        let code = snippets["items"][0]["code"].as_str().unwrap().to_owned();
        let mut python = tokio::process::Command::new(std::env::var("HEADGATE_TEST_PYTHON").unwrap());
        python.args(["-c", &code]).env("AWS_ENDPOINT_URL", &self.account.url).env("AWS_EC2_METADATA_DISABLED", "true");
        for (name, part) in [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")] {
            python.env(name, inlet.client[part].as_str().unwrap());
        }
        let output = python.output().await.unwrap();
        assert!(output.status.success(), "{code}\n{}", String::from_utf8_lossy(&output.stderr));
    }

    async fn remove(&self, owner: &Organisation, inlets: &[&Inlet]) {
        for inlet in inlets {
            let path = &inlet.channel.path;
            owner.api.send(reqwest::Method::DELETE, path, None, &[("if-match", "*")]).await.unwrap().ok().unwrap();
        }
    }

    async fn nothing_is_left(&self) {
        eventually("the end of everything", async || {
            let left = self.account.left().await;
            OF_CHANNELS.iter().all(|kind| left.get(*kind) == self.before.get(*kind)).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn records_put_into_a_bucket_a_queue_and_a_stream_reach_their_consumer_once_over_kills() {
    let Some(mut world) = World::start(None).await else { return };
    let mut inlets = Vec::new();
    for profile in ["file", "queue", "stream"] {
        inlets.push(world.inlet(&world.provider, profile, profile).await);
    }
    for inlet in &inlets {
        world.put(inlet, 0..20).await;
    }
    // Killed while it fetches, then while records come in, then when all is there.
    world.platform.kill_and_restart().unwrap();
    for inlet in &inlets {
        world.put(inlet, 20..40).await;
    }
    world.platform.kill().unwrap();
    for inlet in &inlets {
        world.put(inlet, 40..60).await;
    }
    world.platform.start_again().unwrap();
    for inlet in &inlets {
        world.arrived(inlet, 60).await;
    }
    world.platform.kill_and_restart().unwrap();
    for inlet in &inlets {
        world.put(inlet, 60..61).await;
        world.arrived(inlet, 61).await;
        // As the owner is told to.
        world.run_snippet(inlet).await;
        eventually("the record of the snippet", async || {
            let path = format!("{}/statistics", inlet.channel.path);
            let statistics = world.provider.api.get(&path).await.unwrap();
            assert_eq!(statistics["dead_letters"], json!(0));
            (statistics["flows"][0]["records"] == json!(62)).then_some(())
        })
        .await;
    }
    world.remove(&world.provider, &inlets.iter().collect::<Vec<_>>()).await;
    world.nothing_is_left().await;
}

#[tokio::test]
async fn each_client_reaches_its_own_channel_only_and_nobody_posts_to_it() {
    let Some(world) = World::start(None).await else { return };
    for profile in ["file", "queue", "stream"] {
        let mine = world.inlet(&world.provider, profile, profile).await;
        let theirs = world.inlet(&world.consumer, profile, profile).await;
        let tries = [
            world.job(&mine.channel, &theirs.client, &reading(9), 9),
            world.job(&theirs.channel, &mine.client, &reading(9), 9),
            // Who puts cannot take, not even from its own.
            world.take(&mine.channel, &mine.client),
            world.take(&theirs.channel, &mine.client),
        ];
        assert_eq!(world.account.client(&tries).await, ["refused"; 4], "{profile}");
        world.put(&mine, 0..1).await;
        world.arrived(&mine, 1).await;
        let url = format!("{}/v1/in/{}/readings", world.platform.data, mine.channel.id);
        let post = reqwest::Client::new().post(&url).bearer_auth("hgk_nobody").body("{}").send().await.unwrap();
        assert_eq!(post.status(), 401);
        world.remove(&world.provider, &[&mine]).await;
        world.remove(&world.consumer, &[&theirs]).await;
        // Its key has ended with it.
        let put = world.job(&mine.channel, &mine.client, &reading(0), 0);
        eventually("the key's end", async || {
            let came_to = world.account.client(std::slice::from_ref(&put)).await;
            (came_to != ["ok"]).then_some(())
        })
        .await;
    }
    world.nothing_is_left().await;
}

#[tokio::test]
async fn an_ordered_queue_keeps_the_order_of_each_group_over_a_kill() {
    let text = std::fs::read_to_string(crate::tidy::root().join("templates/profiles.yaml")).unwrap();
    let (into, out) = text.split_once("\ndata_out:").unwrap();
    let ordered =
        into.replace("payload_bytes: 256KiB\n", "payload_bytes: 256KiB\n        parameters: { Ordered: \"true\" }\n");
    assert_ne!(into, ordered);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{ordered}\ndata_out:{out}")).unwrap();
    let Some(mut world) = World::start(file.path().to_str()).await else { return };
    let inlet = world.inlet(&world.provider, "queue", "ordered").await;
    assert!(inlet.channel.url().ends_with(".fifo"), "{}", inlet.channel.url());
    world.put(&inlet, 0..30).await;
    world.platform.kill_and_restart().unwrap();
    world.put(&inlet, 30..45).await;
    let records = world.arrived(&inlet, 45).await;
    for site in ["north", "south", "west"] {
        let of_group = records.iter().filter(|record| record["site"] == site);
        let counts: Vec<_> = of_group.map(|record| record["count"].as_i64().unwrap()).collect();
        assert!(counts.is_sorted(), "{site}: {counts:?}");
    }
    world.remove(&world.provider, &[&inlet]).await;
    world.nothing_is_left().await;
}

#[tokio::test]
async fn what_only_a_cloud_can_hold_is_not_offered_where_none_does() {
    let platform = Platform::start(Database::Sqlite).await.unwrap();
    let admin = platform.admin().await.unwrap();
    let provider = Organisation::create(&admin, &platform.control, "Provider").await.unwrap();
    for profile in ["file", "queue", "stream"] {
        let mut order = order_in("events");
        order["channel_profile"] = json!(profile);
        let refused = provider.api.post("/v1/data-in-channels", &order).await.unwrap_err().to_string();
        let told = format!("there is no channel profile \"{profile}\" for data-in; there are http");
        assert!(refused.contains(&told), "{refused}");
    }
    let offered = provider.api.get("/v1/channel-profiles").await.unwrap();
    let offered = offered["channel_profiles"].as_array().unwrap();
    let into: Vec<_> = offered.iter().filter(|profile| profile["direction"] == "in").map(|p| &p["key"]).collect();
    assert_eq!(into, ["http"]);
    assert!(offered.iter().any(|profile| profile["key"] == "queue"), "Headgate hands out queues by itself");
}
