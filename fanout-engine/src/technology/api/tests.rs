//! The store as a receiver sees it, filled by real plans.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use headgate_types::SystemClock;
use headgate_types::channel::Lane;
use headgate_types::checksum::Checksum;
use headgate_types::limits::Limits;
use headgate_types::schema::ElementKind;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::sink::ApiSink;
use super::store::Store;
use crate::shape::Encoded;
use crate::shape::testing::{Change, Element, sensors};
use crate::technology::{Delivery, FlowKey, Flush, OutputElement, Sink, SinkError, Slice};

struct Channel {
    element: Element,
    sink: ApiSink,
    router: Router,
}

fn limits(retention_bytes: u64, connections: u32) -> Limits {
    Limits {
        records_per_second: 0,
        bytes_per_second: 0,
        connections,
        retention_bytes,
        retention_seconds: 0,
        memory_bytes: 0,
        payload_bytes: 1 << 20,
    }
}

fn output(element: &Element, options: Value) -> OutputElement {
    let plan = element.compile(&element.scope()).unwrap();
    OutputElement {
        element: element.id,
        name: "sensors".into(),
        kind: element.kind,
        schema: plan.output_schema().clone(),
        model_version: 1,
        options: serde_json::from_value(options).unwrap(),
    }
}

async fn open_with(directory: &Path, element: &Element, output: OutputElement, limits: Limits) -> Channel {
    let clock = SystemClock::shared();
    let store = Arc::new(Store::open(directory.into(), &[output], limits.clone(), clock).await.unwrap());
    let router = super::serve::router(Arc::clone(&store), "mine", "http://host/v1/out/ch_1");
    Channel { element: element.clone(), sink: ApiSink::new(store), router: router.unwrap().into_router() }
}

async fn open(directory: &Path, element: &Element) -> Channel {
    let options = json!({"indexes": ["site"], "cors_origins": ["https://app.example.com"]});
    open_with(directory, element, output(element, options), limits(0, 8)).await
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.body)))
    }

    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

impl Channel {
    fn flow(&self, lane: Lane) -> FlowKey {
        FlowKey { element: self.element.id, lane }
    }

    fn encoded(&self, first: u64, changes: &[Change]) -> Arc<Encoded> {
        let plan = self.element.compile(&self.element.scope()).unwrap();
        Arc::new(plan.encode(&self.element.range(first, changes)).unwrap())
    }

    async fn deliver(&self, lane: Lane, after: u64, changes: &[Change]) -> Result<u64, SinkError> {
        let encoded = self.encoded(after + 1, changes);
        let rows = 0..encoded.len();
        let delivery = Delivery {
            flow: self.flow(lane),
            after,
            to: after + changes.len() as u64,
            parts: vec![Slice { encoded, rows }],
            repeated: false,
        };
        self.sink.write(&delivery).await.map(|written| written.through)
    }

    async fn request(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer { status: parts.status, headers: parts.headers, body: body.collect().await.unwrap().to_bytes().to_vec() }
    }

    async fn get(&self, path: &str) -> Answer {
        self.request(Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn ids(&self, path: &str) -> Vec<i64> {
        let answer = self.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", String::from_utf8_lossy(&answer.body));
        answer.json()["items"].as_array().unwrap().iter().map(|item| item["id"].as_i64().unwrap()).collect()
    }

    /// Every page of a list.
    async fn pages(&self, query: &str, size: usize) -> Vec<i64> {
        let (mut ids, mut token) = (Vec::new(), String::new());
        loop {
            let answer = self.get(&format!("/sensors?page_size={size}&{query}{token}")).await;
            let page = answer.json();
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= size);
            ids.extend(items.iter().map(|item| item["id"].as_i64().unwrap()));
            match page["next_page_token"].as_str() {
                Some(next) => {
                    assert!(answer.header("link").contains("rel=\"next\""));
                    token = format!("&page_token={next}");
                }
                None => return ids,
            }
        }
    }
}

fn row(id: i64) -> Value {
    let site = (id % 3 != 0).then(|| format!("site{}", id % 3));
    json!({"id": id, "site": site, "temp_f": id as f64 / 2.0, "count": 10 - id % 7, "ok": id % 2 == 0,
        "at": format!("2013-01-{:02}T05:00:00Z", id % 28 + 1), "day": "2013-01-01", "extra": {"n": id}})
}

fn inserts(ids: impl IntoIterator<Item = i64>) -> Vec<Change> {
    ids.into_iter().map(|id| ("insert", row(id), None)).collect()
}

#[tokio::test]
async fn an_answer_ends_where_the_size_of_the_channel_says_and_the_next_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let element = sensors(ElementKind::Events);
    let small = Limits { payload_bytes: 1_000, ..limits(0, 8) };
    let channel = open_with(directory.path(), &element, output(&element, json!({})), small).await;
    channel.deliver(Lane::Live, 0, &inserts(1..=50)).await.unwrap();
    let first = channel.get("/sensors").await;
    let rows = first.json()["items"].as_array().unwrap().len();
    assert!((2..50).contains(&rows) && first.body.len() < 1_500, "{rows} rows, {} bytes", first.body.len());
    let all = channel.pages("", 1_000).await;
    assert_eq!(all.len(), 50);
    assert_eq!(channel.pages("format=json", 1).await, all);
}

#[tokio::test]
async fn pages_tile_a_list_in_every_order_without_telling_offsets() {
    let directory = tempfile::tempdir().unwrap();
    for kind in [ElementKind::Events, ElementKind::Entity] {
        let channel = open(&directory.path().join(kind.as_str()), &sensors(kind)).await;
        channel.deliver(Lane::Live, 0, &inserts(1..=50)).await.unwrap();
        for (query, key) in [
            ("", None),
            ("order_by=id%20desc", None),
            ("order_by=site", Some("site")),
            ("order_by=site%20desc,count", Some("site")),
            ("order_by=ok,temp_f%20desc", Some("ok")),
            ("filter=count%20%3E%205&order_by=count", Some("count")),
        ] {
            let all = channel.pages(query, 1_000).await;
            let mut distinct = all.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(distinct.len(), if query.starts_with("filter") { 36 } else { 50 }, "{query}");
            assert_eq!(channel.pages(query, 7).await, all, "{query} {key:?}");
        }
        let token = channel.get("/sensors?page_size=1").await.json()["next_page_token"].as_str().unwrap().to_owned();
        let other = channel.get(&format!("/sensors?page_size=1&order_by=count&page_token={token}")).await;
        assert_eq!(
            (other.status, &other.json()["errors"][0]["pointer"]),
            (StatusCode::BAD_REQUEST, &json!("page_token"))
        );
    }
}

#[tokio::test]
async fn filters_fields_counts_and_formats_are_served() {
    let directory = tempfile::tempdir().unwrap();
    let channel = open(directory.path(), &sensors(ElementKind::Events)).await;
    channel.deliver(Lane::Live, 0, &inserts(1..=30)).await.unwrap();
    let matching = |filter: &str| {
        let path =
            format!("/sensors?filter={}", url::form_urlencoded::byte_serialize(filter.as_bytes()).collect::<String>());
        let channel = &channel;
        async move { channel.ids(&path).await.len() }
    };
    assert_eq!(matching("site = site1").await, 10);
    assert_eq!(matching("site = null").await, 10);
    assert_eq!(matching("NOT site = site1").await, 20);
    assert_eq!(matching("site:ITE1 AND ok = true").await, 5);
    assert_eq!(matching("temp_f >= 10 AND temp_f < 12.5").await, 5);
    assert_eq!(matching("at >= \"2013-01-10\" AND at < \"2013-01-11T00:00:00Z\"").await, 1);
    assert_eq!(matching("day = \"2013-01-01\" AND extra != null").await, 30);
    assert_eq!(matching("id = 3 OR id = 4").await, 2);

    let answer = channel.get("/sensors?fields=site,id&count=true&page_size=2").await;
    let page = answer.json();
    assert_eq!((&page["total_count"], answer.header("x-total-count")), (&json!(30), "30"));
    let names: Vec<_> = page["items"][0].as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["site", "id", "_id"]);

    let csv = channel.get("/sensors?format=csv&fields=id,site,at&page_size=3").await;
    let lines: Vec<_> = std::str::from_utf8(&csv.body).unwrap().lines().collect();
    assert_eq!(lines[0], "id,site,at,_id");
    assert!(lines[1].starts_with("1,site1,2013-01-02T05:00:00Z,") && lines[3].starts_with("3,,"));
    assert!(csv.header("content-type").starts_with("text/csv") && csv.headers.contains_key("x-next-page-token"));
    let request = Request::get("/sensors").header("accept", "application/x-ndjson").body(Body::empty()).unwrap();
    assert_eq!(channel.request(request).await.body.split(|byte| *byte == b'\n').count(), 31);

    let id = page["items"][0]["_id"].as_str().unwrap();
    let record = channel.get(&format!("/sensors/{id}")).await;
    assert_eq!((&record.json()["id"], &record.json()["extra"]), (&json!(1), &json!({"n": 1})));
    for (path, status) in [
        ("/nosuch", 404),
        ("/sensors/nosuch", 404),
        ("/sensors/00000000000000000000000000000000", 404),
        ("/sensors?filter=nosuch%20%3D%201", 400),
        ("/sensors?filter=count%20%3D%20x", 400),
        ("/sensors?filter=extra%20%3D%20x", 400),
        ("/sensors?filter=(", 400),
        ("/sensors?order_by=nosuch", 400),
        ("/sensors?order_by=id,id", 400),
        ("/sensors?fields=nosuch", 400),
        ("/sensors?format=xml", 400),
        ("/sensors?page_token=x", 400),
        ("/sensors?page_size=x", 400),
        ("/sensors?limit=5", 400),
    ] {
        let answer = channel.get(path).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
        assert_eq!(answer.json()["status"], status, "{path}");
    }
}

#[tokio::test]
async fn what_did_not_change_is_not_sent_again() {
    let directory = tempfile::tempdir().unwrap();
    let channel = open(directory.path(), &sensors(ElementKind::Entity)).await;
    channel.deliver(Lane::Live, 0, &inserts(1..=3)).await.unwrap();
    for path in ["/sensors?page_size=2", "/sensors/1"] {
        let etag = channel.get(path).await.header("etag").to_owned();
        let again = || Request::get(path).header("if-none-match", &etag).body(Body::empty()).unwrap();
        let answer = channel.request(again()).await;
        assert_eq!((answer.status, answer.body.len()), (StatusCode::NOT_MODIFIED, 0));
        let after = if path.contains('?') { 3 } else { 4 };
        let mut changed = row(1);
        changed["count"] = json!(after * 100);
        channel.deliver(Lane::Live, after, &[("update", changed, Some(row(1)))]).await.unwrap();
        assert_eq!(channel.request(again()).await.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn the_latest_state_wins_whatever_the_lanes_do() {
    let directory = tempfile::tempdir().unwrap();
    let channel = open(directory.path(), &sensors(ElementKind::Entity)).await;
    // Live begins behind 10 and deletes 2 and changes 3 before the history arrives.
    let mut third = row(3);
    third["site"] = json!("new");
    let live = [("delete", json!({"id": 2}), Some(row(2))), ("update", third, Some(row(3)))];
    channel.deliver(Lane::Live, 10, &live).await.unwrap();
    assert_eq!(channel.sink.flush(channel.flow(Lane::Live), Flush::Age).await.unwrap().through, 12);
    assert_eq!(channel.deliver(Lane::Backfill, 0, &inserts(1..=10)).await.unwrap(), 10);
    assert_eq!(channel.ids("/sensors").await, [1, 3, 4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(channel.get("/sensors/3").await.json()["site"], "new");
    assert_eq!(channel.get("/sensors/2").await.status, StatusCode::NOT_FOUND);
    // The history is complete, so the trace of the delete may go; the store shows the same.
    channel.sink.flush(channel.flow(Lane::Live), Flush::Age).await.unwrap();
    assert_eq!(channel.ids("/sensors").await.len(), 9);
    // The record comes back.
    channel.deliver(Lane::Live, 12, &inserts([2])).await.unwrap();
    assert_eq!(channel.ids("/sensors?filter=id%20%3D%202").await, [2]);
}

#[tokio::test]
async fn each_record_is_there_once_however_often_it_is_sent() {
    let directory = tempfile::tempdir().unwrap();
    let element = sensors(ElementKind::Events);
    let channel = open(directory.path(), &element).await;
    channel.deliver(Lane::Live, 0, &inserts(1..=10)).await.unwrap();
    assert_eq!(channel.deliver(Lane::Live, 0, &inserts(1..=10)).await.unwrap(), 10);
    assert_eq!(channel.deliver(Lane::Live, 0, &inserts(1..=15)).await.unwrap(), 15);
    assert_eq!(channel.deliver(Lane::Replay, 0, &inserts(1..=15)).await.unwrap(), 15);
    assert_eq!(channel.deliver(Lane::Replay, 3, &inserts(4..=8)).await.unwrap(), 8);
    assert_eq!(channel.deliver(Lane::Replay, 10, &inserts(11..=15)).await.unwrap(), 15);
    // A hole is refused, and nothing moves.
    assert!(channel.deliver(Lane::Live, 20, &inserts(21..=22)).await.is_err());
    assert_eq!(channel.sink.cursor(channel.flow(Lane::Live)).await.unwrap().unwrap().offset, 15);
    // A range without records in scope moves the cursor all the same.
    let nothing = Delivery { flow: channel.flow(Lane::Live), after: 15, to: 40, parts: Vec::new(), repeated: false };
    assert_eq!(channel.sink.write(&nothing).await.unwrap().through, 40);
    channel.sink.close().await;
    assert!(channel.deliver(Lane::Live, 40, &inserts([41])).await.is_err());

    let reopened = open(directory.path(), &element).await;
    assert_eq!(reopened.sink.cursor(reopened.flow(Lane::Live)).await.unwrap().unwrap().offset, 40);
    assert_eq!(reopened.pages("", 4).await, (1..=15).collect::<Vec<_>>());
    // What a client reads sums up to what was delivered.
    let expected = reopened.encoded(1, &inserts(1..=15)).total_checksum();
    let mut sum = Checksum::EMPTY;
    for item in reopened.get("/sensors?page_size=1000").await.json()["items"].as_array().unwrap() {
        sum.add(&serde_json_canonicalizer::to_vec(item).unwrap());
    }
    assert_eq!(sum, expected);
}

#[tokio::test]
async fn a_table_of_another_shape_starts_again() {
    let directory = tempfile::tempdir().unwrap();
    let element = sensors(ElementKind::Events);
    let channel = open(directory.path(), &element).await;
    channel.deliver(Lane::Live, 0, &inserts(1..=5)).await.unwrap();
    channel.sink.close().await;
    let next = OutputElement { model_version: 2, ..output(&element, json!({})) };
    let channel = open_with(directory.path(), &element, next, limits(0, 8)).await;
    assert_eq!(channel.sink.cursor(channel.flow(Lane::Live)).await.unwrap().unwrap().offset, 0);
    assert!(channel.ids("/sensors").await.is_empty());
}

#[tokio::test]
async fn a_full_store_waits_and_keeps_what_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let element = sensors(ElementKind::Events);
    let channel = open_with(directory.path(), &element, output(&element, json!({})), limits(400_000, 8)).await;
    let mut after = 0;
    let error = loop {
        match channel.deliver(Lane::Live, after, &inserts(after as i64 + 1..=after as i64 + 500)).await {
            Ok(through) => after = through,
            Err(error) => break error,
        }
        assert!(after < 20_000, "the store never filled");
    };
    assert!(matches!(&error, SinkError::Retry { reason, .. } if reason.contains("full")), "{error}");
    let count = channel.get("/sensors?count=true&page_size=1").await.json()["total_count"].as_u64();
    assert_eq!(count, Some(after));
    assert!(channel.sink.stored_bytes().await > 0);
}

#[tokio::test]
async fn the_channel_describes_itself_and_lets_the_named_origins_in() {
    let directory = tempfile::tempdir().unwrap();
    let channel = open(directory.path(), &sensors(ElementKind::Entity)).await;
    let index = channel.get("/").await.json();
    assert_eq!(index["items"][0]["url"], "http://host/v1/out/ch_1/sensors");
    let document = channel.get("/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["paths"]["/sensors"]["get"]["parameters"].as_array().unwrap().len() >= 6);
    assert_eq!(document["components"]["schemas"]["sensors"]["properties"]["temp_f"]["x-unit"], "[degF]");
    let from = |origin: &str| Request::get("/sensors").header("origin", origin).body(Body::empty()).unwrap();
    let allowed = channel.request(from("https://app.example.com")).await;
    assert_eq!(allowed.header("access-control-allow-origin"), "https://app.example.com");
    let other = channel.request(from("https://evil.example.com")).await;
    assert!(!other.headers.contains_key("access-control-allow-origin"));
}
