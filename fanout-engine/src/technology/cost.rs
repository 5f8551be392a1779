//! What a record costs on its way into a cloud: CPU of the client and requests, against a server that only answers.
//!
//! ```sh
//! cargo nextest run --workspace --release -E 'test(what_a_record_costs)' --run-ignored all --no-capture
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use headgate_types::channel::{Binding, CloudBinding, CloudClient, Lane};
use headgate_types::schema::ElementKind;
use indexmap::IndexMap;
use serde_json::{Value, json};

use super::testing::{of_rows, open_channel};
use super::{FlowKey, Flush, by_key};
use crate::cloud::Cloud;
use crate::shape::testing::sensors;

const RECORDS: u64 = 20_000;
const ROUNDS: u64 = 3;

/// Answers every request with what its client has to hear, and counts.
async fn answer(asked: Arc<AtomicU64>, request: Request) -> Response {
    asked.fetch_add(1, Ordering::Relaxed);
    let target = request.headers().get("x-amz-target").map(|target| target.to_str().unwrap_or_default().to_owned());
    let (method, query) = (request.method().clone(), request.uri().query().unwrap_or_default().to_owned());
    let body = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap_or_default();
    let respond = |status: StatusCode, kind: &str, body: String| {
        let response = Response::builder().status(status).header("content-type", kind).header("etag", "\"0\"");
        response.body(Body::from(body)).unwrap()
    };
    let count = |member: &[u8]| body.windows(member.len()).filter(|found| *found == member).count();
    let xml = |text: &str| respond(StatusCode::OK, "application/xml", text.to_owned());
    match target.as_deref().and_then(|target| target.rsplit('.').next()) {
        Some("GetQueueUrl") => {
            respond(StatusCode::OK, "application/x-amz-json-1.0", json!({"QueueUrl": "http://q/1/q"}).to_string())
        }
        Some("SendMessageBatch") => {
            let taken = |id: usize| json!({"Id": id.to_string(), "MessageId": "m", "MD5OfMessageBody": "0"});
            let taken: Vec<Value> = (0..count(b"\"MessageBody\"")).map(taken).collect();
            respond(
                StatusCode::OK,
                "application/x-amz-json-1.0",
                json!({"Successful": taken, "Failed": []}).to_string(),
            )
        }
        Some("DescribeStreamSummary") => {
            let summary = json!({"StreamName": "s", "StreamARN": "a", "StreamStatus": "ACTIVE", "RetentionPeriodHours": 24,
                "StreamCreationTimestamp": 0, "EnhancedMonitoring": [], "OpenShardCount": 1});
            respond(
                StatusCode::OK,
                "application/x-amz-json-1.1",
                json!({"StreamDescriptionSummary": summary}).to_string(),
            )
        }
        Some("PutRecords") => {
            let taken = json!({"SequenceNumber": "1", "ShardId": "s"});
            let taken = vec![taken; count(b"\"PartitionKey\"")];
            respond(
                StatusCode::OK,
                "application/x-amz-json-1.1",
                json!({"Records": taken, "FailedRecordCount": 0}).to_string(),
            )
        }
        _ if form(&body).contains("Action=AssumeRole") => {
            xml("<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>a</AccessKeyId><SecretAccessKey>s\
             </SecretAccessKey><SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>\
             <AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/r/s</Arn><AssumedRoleId>i:s</AssumedRoleId></AssumedRoleUser></AssumeRoleResult>\
             </AssumeRoleResponse>")
        }
        _ if method == Method::GET && query.contains("uploads") => xml("<ListMultipartUploadsResult/>"),
        _ if method == Method::GET => {
            respond(StatusCode::NOT_FOUND, "application/xml", "<Error><Code>NoSuchKey</Code></Error>".to_owned())
        }
        _ if method == Method::POST && query.contains("uploads") => {
            xml("<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
        }
        _ if method == Method::POST => xml("<CompleteMultipartUploadResult/>"),
        _ => respond(StatusCode::OK, "text/plain", String::new()),
    }
}

fn form(body: &Bytes) -> String {
    String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned()
}

/// CPU that this thread has used so far, in seconds.
fn cpu() -> f64 {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    statistics.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1e9
}

#[test]
#[ignore = "a measurement"]
fn what_a_record_costs_on_its_way_into_a_cloud() {
    let asked = Arc::new(AtomicU64::new(0));
    let (url, address) = std::sync::mpsc::channel();
    let counted = Arc::clone(&asked);
    // The server has a thread of its own, so that the client's CPU is its thread's.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            url.send(format!("http://{}", listener.local_addr().unwrap())).unwrap();
            let router = Router::new().fallback(move |request| answer(Arc::clone(&counted), request));
            axum::serve(listener, router).await.unwrap();
        });
    });
    let url = address.recv().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        println!("{RECORDS} records of a range, {ROUNDS} ranges; client CPU of one thread (Parquet encodes on another)");
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::from_static("us-east-1"))
            .endpoint_url(&url)
            .credentials_provider(Credentials::new("a", "s", None, None, "test"));
        let cloud = Cloud::of(config.load().await);
        for (profile, place) in [("file", "s3://b"), ("stream", "kinesis://r/s"), ("queue", "sqs://r/1/q"), ("queue", "sqs://r/1/q.fifo")] {
            let element = sensors(ElementKind::Entity);
            let binding = CloudBinding {
                region: "us-east-1".to_owned(),
                role: "arn:aws:iam::123456789012:role/r".to_owned(),
                external_id: "external".to_owned(),
                further: IndexMap::new(),
                client: CloudClient::User { name: "c".to_owned() },
            };
            let binding = Binding { cloud: Some(binding), ..Binding::plain(place) };
            let channel = open_channel(&element, binding, IndexMap::new(), cloud.clone());
            asked.store(0, Ordering::Relaxed);
            let sink = by_key(profile).unwrap().open(channel).await.unwrap().sink;
            let opening = asked.swap(0, Ordering::Relaxed);
            let ranges: Vec<_> = (0..ROUNDS)
                .map(|round| {
                    let row = |n| json!({"id": n, "site": "north", "temp_f": n as f64 / 7.0, "count": n, "ok": true});
                    let rows = (round * RECORDS + 1..=(round + 1) * RECORDS).map(row).collect();
                    of_rows(&element, Lane::Live, round * RECORDS, rows)
                })
                .collect();
            let bytes: u64 = ranges.iter().map(super::Delivery::bytes).sum();
            let (begun, before) = (Instant::now(), cpu());
            for range in &ranges {
                sink.write(range).await.unwrap();
                sink.flush(FlowKey { element: element.id, lane: Lane::Live }, Flush::Now).await.unwrap();
            }
            let (used, records) = (cpu() - before, (ROUNDS * RECORDS) as f64);
            let requests = asked.load(Ordering::Relaxed) as f64;
            println!(
                "{place:<18} {:>7.2} µs CPU a record  {:>8.5} requests a record  {opening} at its opening  {:>9.0} records/s  {} bytes a record",
                used * 1e6 / records,
                requests / records,
                records / begun.elapsed().as_secs_f64(),
                bytes / (ROUNDS * RECORDS),
            );
        }
    });
}
