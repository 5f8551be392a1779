use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use serde_json::json;

use super::*;

/// A stream of the test's own.
struct Stream(Client);

const NAME: &str = "records";
const URL: &str = "kinesis://us-east-1/records";

impl Stream {
    async fn new(world: &World, shards: i32) -> Self {
        let client = Client::new(&world.config);
        client.create_stream().stream_name(NAME).shard_count(shards).send().await.unwrap();
        Self(client)
    }

    async fn put(&self, records: impl IntoIterator<Item = (String, String)>) {
        let entry = |(key, data): (String, String)| {
            let entry = PutRecordsRequestEntry::builder().partition_key(key);
            entry.data(Blob::new(data)).build().unwrap()
        };
        let entries: Vec<_> = records.into_iter().map(entry).collect();
        for batch in entries.chunks(500) {
            let request = self.0.put_records().stream_name(NAME).set_records(Some(batch.to_vec()));
            assert_eq!(request.send().await.unwrap().failed_record_count.unwrap_or_default(), 0);
        }
    }

    /// Records of five keys, by their numbers.
    async fn put_numbers(&self, numbers: std::ops::Range<usize>) {
        self.put(numbers.map(|id| (format!("key {}", id % 5), line(id)))).await;
    }

    async fn resize(&self, shards: i32) {
        let request = self.0.update_shard_count().stream_name(NAME).target_shard_count(shards);
        request.scaling_type(aws_sdk_kinesis::types::ScalingType::UniformScaling).send().await.unwrap();
    }
}

/// The records of a key are in the order in which they were put.
fn in_order(ids: &[i64]) {
    for key in 0..5 {
        let of_key: Vec<_> = ids.iter().filter(|id| **id % 5 == key).collect();
        assert!(of_key.is_sorted(), "{of_key:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_read_in_order_whatever_is_lost_on_the_way() {
    let Some(world) = World::start().await else { return };
    let stream = Stream::new(&world, 3).await;
    let of = |action: &str, effect: &str, after: u32| json!({"service": "kinesis", "action": action, "effect": effect, "after": after, "times": 3});
    world.account.fault(of("ListShards", "throttle", 0)).await;
    world.account.fault(of("GetShardIterator", "lose_answer", 0)).await;
    for (index, effect) in ["throttle", "lose_answer", "lose_request"].into_iter().enumerate() {
        world.account.fault(of("GetRecords", effect, 3 + index as u32)).await;
    }
    for code in ["ExpiredIteratorException", "ProvisionedThroughputExceededException"] {
        let mut fault = of("GetRecords", "refuse", 10);
        fault["code"] = json!(code);
        world.account.fault(fault).await;
    }
    stream.put_numbers(0..1_000).await;
    let bench = world.simple(URL).await;
    let process = bench.process(|_| {}).await;
    until(&process, "the first", async || ids(&bench, &process).await.len() >= 1_000).await;
    stream.put_numbers(1_000..1_500).await;
    all_once(&bench, &process, 1_500).await;
    in_order(&ids(&bench, &process).await);
    process.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_taken_up_where_it_was_landed_however_often_the_process_ends() {
    let Some(world) = World::start().await else { return };
    let stream = Stream::new(&world, 2).await;
    let bench = world.simple(URL).await;
    for round in 0..5 {
        stream.put_numbers(round * 400..round * 400 + 400).await;
        // Ended before anything, in the midst, and behind everything: what has landed is never asked for again.
        let process = bench.process(|_| {}).await;
        process.ingest.reconcile().await.unwrap();
        tokio::time::sleep(Duration::from_millis(40 * round as u64)).await;
        process.end().await;
    }
    let process = bench.process(|_| {}).await;
    all_once(&bench, &process, 2_000).await;
    in_order(&ids(&bench, &process).await);
    process.end().await;
    // Nothing is landed again although the stream holds everything.
    let process = bench.process(|_| {}).await;
    process.ingest.reconcile().await.unwrap();
    let before = world.account.asked("kinesis:GetRecords").await;
    until(&process, "a look", async || world.account.asked("kinesis:GetRecords").await > before + 4).await;
    all_once(&bench, &process, 2_000).await;
    process.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_keep_their_order_when_the_stream_is_split_and_merged() {
    let Some(world) = World::start().await else { return };
    let stream = Stream::new(&world, 2).await;
    let bench = world.simple(URL).await;
    let mut process = bench.process(|_| {}).await;
    let (mut put, step) = (0, 300);
    for shards in [4, 2, 4, 3] {
        stream.put_numbers(put..put + step).await;
        put += step;
        // Some of it is read by now, and the rest out of shards that are closed.
        process.ingest.reconcile().await.unwrap();
        stream.resize(shards).await;
        stream.put_numbers(put..put + step).await;
        put += step;
        if shards == 2 {
            process.end().await;
            process = bench.process(|_| {}).await;
        }
    }
    all_once(&bench, &process, put).await;
    in_order(&ids(&bench, &process).await);
    process.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_names_its_feed_by_its_key_and_one_that_nobody_can_take_is_a_dead_letter() {
    let Some(world) = World::start().await else { return };
    let stream = Stream::new(&world, 1).await;
    let bench = world.bench(URL, &[], true, PLENTY).await;
    let process = bench.process(|_| {}).await;
    let records = [
        ("events/a", line(0)),
        ("entity/a", line(7)),
        ("events", format!("[{},\n{}]", line(1), line(2))),
        ("events/b", "{\"id\":\n3, \"site\": \"a\"}\n".to_owned()),
        ("events/b", "garbage".to_owned()),
        ("events/b", "{\"id\": \"open".to_owned()),
        ("elsewhere/b", line(9)),
        ("events/b", String::from(" \n")),
        ("events/b", line(4) + "\n"),
    ];
    stream.put(records.map(|(key, data)| (key.to_owned(), data))).await;
    all_once(&bench, &process, 5).await;
    assert_eq!(ids(&bench, &process).await, [0, 1, 2, 3, 4]);
    let mut codes: Vec<_> = bench.dead_letters(&process).await.into_iter().map(|(code, _)| code).collect();
    codes.sort();
    assert_eq!(codes, ["feed_not_found", "invalid_json", "truncated"]);
    process.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_waits_while_there_is_no_room_and_loses_nothing() {
    let Some(world) = World::start().await else { return };
    let stream = Stream::new(&world, 1).await;
    stream.put_numbers(0..50).await;
    let bench = world.simple(URL).await;
    let process = bench.process(|config| config.landing_channel_bytes = 1 << 20).await;
    process.ingest.reconcile().await.unwrap();
    until(&process, "its shards", async || world.account.asked("kinesis:ListShards").await > 1).await;
    assert_eq!(world.account.asked("kinesis:GetRecords").await, 0);
    process.end().await;
    let process = bench.process(|_| {}).await;
    all_once(&bench, &process, 50).await;
    process.end().await;
}
