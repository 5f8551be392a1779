use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketVersioningStatus, Event, NotificationConfiguration, QueueConfiguration, VersioningConfiguration,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use headgate_types::limits::Limits;
use serde_json::json;
use std::io::Write;

use super::*;

/// A bucket of the test's own, and the queue that announces its objects.
struct Bucket {
    client: Client,
    queues: aws_sdk_sqs::Client,
    url: String,
}

const NAME: &str = "bucket";
const NOTIFICATIONS: (&str, &str) = ("notifications", "sqs://us-east-1/123456789012/notifications");

impl Bucket {
    async fn new(world: &World, announced: bool) -> Self {
        let (client, queues) = (Client::new(&world.config), aws_sdk_sqs::Client::new(&world.config));
        client.create_bucket().bucket(NAME).send().await.unwrap();
        let kept = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        client.put_bucket_versioning().bucket(NAME).versioning_configuration(kept).send().await.unwrap();
        let queue = queues.create_queue().queue_name("notifications");
        let visibility = aws_sdk_sqs::types::QueueAttributeName::VisibilityTimeout;
        let url = queue.attributes(visibility, "1").send().await.unwrap().queue_url.unwrap();
        if announced {
            let to = QueueConfiguration::builder()
                .events(Event::S3ObjectCreated)
                .queue_arn("arn:aws:sqs:us-east-1:123456789012:notifications")
                .build()
                .unwrap();
            let to = NotificationConfiguration::builder().queue_configurations(to).build();
            let request = client.put_bucket_notification_configuration().bucket(NAME);
            request.notification_configuration(to).send().await.unwrap();
        }
        Self { client, queues, url }
    }

    async fn put(&self, key: &str, body: impl Into<Vec<u8>>) {
        let body = ByteStream::from(body.into());
        self.client.put_object().bucket(NAME).key(key).body(body).send().await.unwrap();
    }

    /// Versions in it, and delete markers.
    async fn holds(&self) -> (usize, usize) {
        let listed = self.client.list_object_versions().bucket(NAME).send().await.unwrap();
        (listed.versions.unwrap_or_default().len(), listed.delete_markers.unwrap_or_default().len())
    }

    async fn announcements(&self) -> usize {
        use aws_sdk_sqs::types::QueueAttributeName as Name;
        let wanted = [Name::ApproximateNumberOfMessages, Name::ApproximateNumberOfMessagesNotVisible];
        let request = self.queues.get_queue_attributes().queue_url(&self.url);
        let told = request.set_attribute_names(Some(wanted.to_vec())).send().await.unwrap().attributes.unwrap();
        wanted.iter().map(|name| told[name].parse::<usize>().unwrap()).sum()
    }
}

fn lines(range: std::ops::Range<usize>) -> String {
    range.map(|id| line(id) + "\n").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_is_a_payload_of_its_own_and_goes_when_it_has_landed() {
    let Some(world) = World::start().await else { return };
    let bucket = Bucket::new(&world, true).await;
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(lines(4..6).as_bytes()).unwrap();
    // Replaced before anybody has read it.
    bucket.put("day/red flower+1.json", line(0)).await;
    bucket.put("day/red flower+1.json", line(1)).await;
    bucket.put("table.csv", "id,site\n2,a\n3,b\n").await;
    bucket.put("part-0.ndjson.gz", packed.finish().unwrap()).await;
    bucket.put("_SUCCESS", "").await;
    let said = bucket.client.put_object().bucket(NAME).key("without-an-end").content_type("application/x-ndjson");
    said.body(ByteStream::from(lines(6..8).into_bytes())).send().await.unwrap();
    for (action, effect) in
        [("GET", "throttle"), ("GET", "lose_answer"), ("DELETE", "lose_answer"), ("DELETE", "throttle")]
    {
        world.account.fault(json!({"service": "s3", "action": action, "effect": effect, "times": 4})).await;
    }
    let bench = world.bench("s3://bucket", &[NOTIFICATIONS], false, PLENTY).await;
    let process = bench.process(|_| {}).await;
    all_once(&bench, &process, 8).await;
    until(&process, "an empty bucket", async || bucket.holds().await == (0, 0)).await;
    until(&process, "the announcements' end", async || bucket.announcements().await == 0).await;
    all_once(&bench, &process, 8).await;
    assert_eq!(bench.dead_letters(&process).await, []);
    process.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_ends_between_landing_an_object_and_removing_it_doubles_nothing() {
    let Some(world) = World::start().await else { return };
    let bucket = Bucket::new(&world, true).await;
    let bench = world.bench("s3://bucket", &[NOTIFICATIONS], false, PLENTY).await;
    for part in 0..4 {
        bucket.put(&format!("{part}.ndjson"), lines(part * 10..part * 10 + 10)).await;
    }
    // First the objects stay, then what announces them.
    for (service, action) in [("s3", "DELETE"), ("sqs", "DeleteMessageBatch")] {
        world.account.fault(json!({"service": service, "action": action, "effect": "lose_request"})).await;
        let process = bench.process(|_| {}).await;
        all_once(&bench, &process, 40).await;
        let asked = format!("{service}:{action}");
        let before = world.account.asked(&asked).await;
        until(&process, "a try", async || world.account.asked(&asked).await > before).await;
        process.end().await;
        world.account.no_faults().await;
    }
    let process = bench.process(|_| {}).await;
    let gone = async || bucket.holds().await == (0, 0) && bucket.announcements().await == 0;
    until(&process, "an empty bucket", gone).await;
    all_once(&bench, &process, 40).await;
    process.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_nobody_announced_is_found_and_one_that_is_gone_is_let_go() {
    let Some(world) = World::start().await else { return };
    let bucket = Bucket::new(&world, false).await;
    bucket.put("events/0.json", line(0)).await;
    bucket.put("events/0.json", line(1)).await;
    // What S3 says first of all, what nobody says, and an object that was removed before it was read.
    let gone = json!({"Records": [{"eventName": "ObjectCreated:Put",
        "s3": {"object": {"key": "events/gone.json", "size": 9, "versionId": "11111111-1111-1111-1111-111111111111"}}}]});
    for body in [json!({"Event": "s3:TestEvent"}), json!("what?"), gone] {
        bucket.queues.send_message().queue_url(&bucket.url).message_body(body.to_string()).send().await.unwrap();
    }
    let mut bench = world.bench("s3://bucket", &[NOTIFICATIONS], true, PLENTY).await;
    bench.pace.list = Duration::from_millis(50);
    let process = bench.process(|_| {}).await;
    all_once(&bench, &process, 2).await;
    let done = async || bucket.holds().await == (0, 0) && bucket.announcements().await == 0;
    until(&process, "an empty bucket", done).await;
    assert_eq!(bench.dead_letters(&process).await, []);
    process.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_not_taken_is_a_dead_letter_once_and_only_hidden() {
    let Some(world) = World::start().await else { return };
    let bucket = Bucket::new(&world, true).await;
    let limits = Limits { payload_bytes: 1_000, ..PLENTY };
    let mut bench = world.bench("s3://bucket", &[NOTIFICATIONS], true, limits).await;
    // Whoever lists sees them again and again.
    bench.pace.list = Duration::from_millis(50);
    bucket.put("events/large.ndjson", lines(0..1_000)).await;
    bucket.put("elsewhere/1.json", line(1)).await;
    bucket.put("2.json", line(2)).await;
    bucket.put("events/3.parquet", "PAR1").await;
    bucket.put("events/4.json", "no JSON").await;
    bucket.put("events/0.json", line(0)).await;
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    bomb.write_all(format!("{{\"site\":\"{}\"}}", "a".repeat(9_000)).as_bytes()).unwrap();
    bucket.put("events/bomb.ndjson.gz", bomb.finish().unwrap()).await;
    let process = bench.process(|_| {}).await;
    all_once(&bench, &process, 1).await;
    until(&process, "hidden objects", async || bucket.holds().await.0 == 4).await;
    let listed = world.account.asked("s3:GET").await;
    until(&process, "another look", async || world.account.asked("s3:GET").await > listed + 20).await;
    assert_eq!(
        bench.refusals(&process).await,
        [
            "feed_not_found 0",
            "feed_not_found 0",
            "invalid_json 0",
            "payload_too_large 0",
            "payload_too_large 0",
            "unsupported_content_type 0",
        ]
    );
    let visible = bucket.client.list_objects_v2().bucket(NAME).send().await.unwrap();
    assert_eq!(visible.contents.unwrap_or_default(), []);
    process.end().await;
}
