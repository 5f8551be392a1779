use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{MessageAttributeValue, QueueAttributeName, SendMessageBatchRequestEntry};
use headgate_types::Coded;
use headgate_types::channel::ConditionType;
use headgate_types::limits::Limits;
use serde_json::json;

use super::*;

/// A queue of the test's own.
struct Queue {
    client: Client,
    name: String,
    url: String,
}

impl Queue {
    /// With the seconds that a received message is invisible.
    async fn new(world: &World, name: &str, visibility: u32) -> Self {
        let client = Client::new(&world.config);
        let mut request = client
            .create_queue()
            .queue_name(name)
            .attributes(QueueAttributeName::VisibilityTimeout, visibility.to_string());
        if name.ends_with(".fifo") {
            request = request.attributes(QueueAttributeName::FifoQueue, "true");
        }
        let url = request.send().await.unwrap().queue_url.unwrap();
        Self { client, name: name.to_owned(), url }
    }

    fn binding(&self) -> String {
        format!("sqs://us-east-1/123456789012/{}", self.name)
    }

    async fn send(&self, bodies: impl IntoIterator<Item = String>) {
        let entry = |(index, body): (usize, String)| {
            SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(body).build().unwrap()
        };
        let entries: Vec<_> = bodies.into_iter().enumerate().map(entry).collect();
        for batch in entries.chunks(10) {
            let request = self.client.send_message_batch().queue_url(&self.url);
            let answer = request.set_entries(Some(batch.to_vec())).send().await.unwrap();
            assert!(answer.failed.is_empty());
        }
    }

    async fn send_with(&self, body: &str, attributes: &[(&str, &str)]) {
        let mut request = self.client.send_message().queue_url(&self.url).message_body(body);
        for (name, value) in attributes {
            let value = MessageAttributeValue::builder().data_type("String").string_value(*value).build().unwrap();
            request = request.message_attributes(*name, value);
        }
        request.send().await.unwrap();
    }

    /// Messages in it, visible or not.
    async fn holds(&self) -> usize {
        let wanted = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let request = self.client.get_queue_attributes().queue_url(&self.url);
        let told = request.set_attribute_names(Some(wanted.to_vec())).send().await.unwrap().attributes.unwrap();
        wanted.iter().map(|name| told[name].parse::<usize>().unwrap()).sum()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_lands_once_whatever_is_lost_on_the_way() {
    let Some(world) = World::start().await else { return };
    let queue = Queue::new(&world, "lossy", 1).await;
    for (action, effect, times) in [
        ("ReceiveMessage", "lose_answer", 2),
        ("ReceiveMessage", "throttle", 5),
        ("DeleteMessageBatch", "lose_answer", 4),
        ("DeleteMessageBatch", "lose_request", 4),
        ("DeleteMessageBatch", "throttle", 4),
        ("GetQueueUrl", "lose_request", 4),
    ] {
        world.account.fault(json!({"service": "sqs", "action": action, "effect": effect, "times": times})).await;
    }
    world.account.fault(json!({"service": "sts", "action": "AssumeRole", "effect": "throttle", "times": 4})).await;
    let bench = world.simple(&queue.binding()).await;
    let process = bench.process(|_| {}).await;
    queue.send((0..60).map(line)).await;
    all_once(&bench, &process, 60).await;
    until(&process, "the queue's end", async || queue.holds().await == 0).await;
    assert_eq!(ids(&bench, &process).await.len(), 60, "what came again was known");
    process.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_ends_between_landing_and_removing_doubles_nothing() {
    let Some(world) = World::start().await else { return };
    let queue = Queue::new(&world, "crashed", 1).await;
    let bench = world.simple(&queue.binding()).await;
    queue.send((0..20).map(line)).await;
    // Landed, and nobody is told: each process ends before its removals arrive.
    world.account.fault(json!({"service": "sqs", "action": "DeleteMessageBatch", "effect": "lose_request"})).await;
    for _ in 0..2 {
        let process = bench.process(|_| {}).await;
        all_once(&bench, &process, 20).await;
        let before = world.account.asked("sqs:DeleteMessageBatch").await;
        until(&process, "a try", async || world.account.asked("sqs:DeleteMessageBatch").await > before).await;
        // A message that becomes visible while they are counted is in neither number.
        until(&process, "all of them still there", async || queue.holds().await == 20).await;
        process.end().await;
    }
    world.account.no_faults().await;
    let process = bench.process(|_| {}).await;
    until(&process, "the queue's end", async || queue.holds().await == 0).await;
    all_once(&bench, &process, 20).await;
    process.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_nobody_can_take_is_a_dead_letter_and_keeps_nobody_waiting() {
    let Some(world) = World::start().await else { return };
    let queue = Queue::new(&world, "mixed", 30).await;
    let limits = Limits { payload_bytes: 1_000, ..PLENTY };
    let bench = world.bench(&queue.binding(), &[], true, limits).await;
    let process = bench.process(|_| {}).await;
    queue.send_with(&line(0), &[("feed", "events")]).await;
    queue.send_with(&line(9), &[]).await;
    queue.send_with(&line(9), &[("feed", "elsewhere")]).await;
    queue.send_with("no JSON", &[("feed", "events")]).await;
    queue.send_with("<a/>", &[("feed", "events"), ("Content-Type", "text/xml")]).await;
    queue.send_with(&format!("{{\"site\":{:?}}}", "x".repeat(2_000)), &[("feed", "events")]).await;
    queue.send_with("id,site\n1,b\n2,c\n", &[("feed", "events"), ("content_type", "text/csv")]).await;
    all_once(&bench, &process, 3).await;
    until(&process, "the queue's end", async || queue.holds().await == 0).await;
    assert_eq!(
        bench.refusals(&process).await,
        ["feed_not_found 0", "feed_not_found 0", "invalid_json 0", "payload_too_large 0", "unsupported_content_type 0",]
    );
    process.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_room_stays_in_the_queue_and_is_not_even_received() {
    let Some(world) = World::start().await else { return };
    let queue = Queue::new(&world, "patient", 30).await;
    let bench = world.simple(&queue.binding()).await;
    queue.send((0..10).map(line)).await;
    let process = bench.process(|config| config.landing_channel_bytes = 1 << 20).await;
    process.ingest.reconcile().await.unwrap();
    until(&process, "the queue", async || world.account.asked("sqs:GetQueueAttributes").await > 0).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(world.account.asked("sqs:ReceiveMessage").await, 0);
    process.end().await;
    let process = bench.process(|_| {}).await;
    all_once(&bench, &process, 10).await;
    process.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_keep_their_order_whatever_is_lost() {
    let Some(world) = World::start().await else { return };
    let queue = Queue::new(&world, "ordered.fifo", 1).await;
    // Several receivers.
    let limits = Limits { connections: 32, ..PLENTY };
    let bench = world.bench(&queue.binding(), &[], false, limits).await;
    for id in 0..30_usize {
        let request = queue.client.send_message().queue_url(&queue.url).message_body(line(id));
        let group = format!("g{}", id % 3);
        request.message_group_id(group).message_deduplication_id(id.to_string()).send().await.unwrap();
    }
    for effect in ["lose_answer", "lose_request"] {
        let fault = json!({"service": "sqs", "action": "DeleteMessageBatch", "effect": effect, "times": 3});
        world.account.fault(fault).await;
    }
    let process = bench.process(|_| {}).await;
    all_once(&bench, &process, 30).await;
    let logged = ids(&bench, &process).await;
    for group in 0..3 {
        let of_group: Vec<_> = logged.iter().filter(|id| **id % 3 == group).collect();
        assert!(of_group.is_sorted(), "{of_group:?}");
    }
    process.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_received_too_often_is_fetched_from_where_it_went() {
    let Some(world) = World::start().await else { return };
    let dead = Queue::new(&world, "dead", 30).await;
    let queue = Queue::new(&world, "redriven", 0).await;
    let policy = json!({"deadLetterTargetArn": "arn:aws:sqs:us-east-1:123456789012:dead", "maxReceiveCount": 1});
    let request = queue.client.set_queue_attributes().queue_url(&queue.url);
    request.attributes(QueueAttributeName::RedrivePolicy, policy.to_string()).send().await.unwrap();
    queue.send((0..3).map(line)).await;
    // Somebody takes them and dies, again and again.
    for _ in 0..4 {
        let request = queue.client.receive_message().queue_url(&queue.url).max_number_of_messages(10);
        request.send().await.unwrap();
    }
    assert_eq!((queue.holds().await, dead.holds().await), (0, 3));
    let further = [("dead_letters", dead.binding())];
    let further = further.each_ref().map(|(name, url)| (*name, url.as_str()));
    let bench = world.bench(&queue.binding(), &further, false, PLENTY).await;
    let process = bench.process(|_| {}).await;
    all_once(&bench, &process, 3).await;
    until(&process, "the dead letters' end", async || dead.holds().await == 0).await;
    process.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_cannot_be_reached_says_so_to_its_owner_and_not_who_the_platform_is() {
    let Some(world) = World::start().await else { return };
    let queue = Queue::new(&world, "closed", 30).await;
    let refused = |action: &str| {
        json!({"service": "sqs", "action": action, "effect": "refuse", "code": "AccessDenied",
            "message": "arn:aws:sts::123456789012:assumed-role/headgate is not authorized"})
    };
    let bench = world.simple(&queue.binding()).await;
    let process = bench.process(|_| {}).await;
    let say = async |condition, wanted: &str, words: &str| {
        until(&process, wanted, async || {
            let (reason, message) = bench.condition(condition).await;
            assert!(!message.contains("arn:"), "{message}");
            reason == wanted && message.contains(words)
        })
        .await;
    };
    world.account.fault(refused("GetQueueUrl")).await;
    say(ConditionType::Serving, "CannotOpen", "finding the queue: the cloud does not let the platform").await;
    world.account.no_faults().await;
    say(ConditionType::Serving, "Open", "").await;
    world.account.fault(refused("ReceiveMessage")).await;
    say(ConditionType::Syncing, "Unreachable", "receiving from the queue").await;
    world.account.no_faults().await;
    say(ConditionType::Syncing, "Taking", "").await;
    // What is fetched is not posted.
    let posted = process.ingest.accept(bench.incoming("events", "{}")).await.unwrap_err();
    assert_eq!(posted.code(), "channel_not_posted_to");
    process.end().await;
}
