//! Payloads that are broken, huge or sent by a stranger.

use std::io::Write;

use serde_json::{Value, json};

use super::{assert_problem, problem, state};
use crate::harness::stage::{order_in, reading};
use crate::harness::world::{Channel, send_to};
use crate::harness::{Stage, eventually};

/// More memory than this for one payload is too much, whatever is in it.
const MEMORY: u64 = 160 << 20;

/// What became of a payload: records that entered, then dead letters as code, field path, ordinal.
type Outcome<'a> = (u64, &'a [(&'a str, Option<&'a str>, u64)]);

/// What it is called, its content type and encoding, the payload, and what becomes of it.
type Payload<'a> = (&'a str, &'a str, Option<&'a str>, Vec<u8>, Outcome<'a>);

/// What it is called, where it goes, key, content type and encoding, and the refusal's status and code.
type Send<'a> = (&'a str, String, Option<&'a str>, Option<&'a str>, Option<&'a str>, u16, &'a str);

#[tokio::test]
async fn broken_payloads_become_dead_letters_with_reason_and_place_and_the_rest_goes_on() {
    let stage = Stage::start("events").await;
    let out = stage.channel("api", json!({})).await;
    stage.send(&[reading(0)]).await;
    stage.settled(&out, 1).await;
    let before = state(&stage, &out).await;

    let good = r#"{"id":"good"}"#;
    let wrong_types = format!(
        "{}\n{good}\n",
        [
            r#"{"id":"a","value":"x"}"#,
            r#"{"site":"no id"}"#,
            r#"{"id":"a","count":1.5}"#,
            r#"{"id":"a","id":"b"}"#,
            r#"{"id":"a","at":"yesterday"}"#,
            r#"{"id":7}"#,
            r#"{"id":"a","at":"0000-01-01T00:00:00+00:01"}"#,
            "[1]",
            "{\"id\":\"\u{1}\"}",
            "nonsense",
        ]
        .join("\n")
    );
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let payloads: [Payload<'_>; 8] = [
        ("truncated JSON", "application/json", None, br#"[{"id":"a"},{"id":"#.to_vec(), (0, &[("truncated", None, 0)])),
        ("nested JSON", "application/json", None, nested.into(), (0, &[("invalid_json", None, 0)])),
        (
            "wrong types",
            "application/x-ndjson",
            None,
            wrong_types.into(),
            (
                1,
                &[
                    ("wrong_type", Some("value"), 1),
                    ("required", Some("id"), 2),
                    ("not_an_integer", Some("count"), 3),
                    ("duplicate_key", Some("id"), 4),
                    ("not_a_timestamp", Some("at"), 5),
                    ("wrong_type", Some("id"), 6),
                    ("out_of_range", Some("at"), 7),
                    ("not_an_object", None, 8),
                    ("invalid_json", None, 9),
                    ("invalid_json", None, 10),
                ],
            ),
        ),
        (
            "ragged CSV",
            "text/csv",
            None,
            b"id,value\ngood,1\nshort\nlong,2,3\ngood,2\nopen,\"3\n".to_vec(),
            (2, &[("ragged_row", None, 2), ("ragged_row", None, 3), ("truncated", None, 5)]),
        ),
        ("gzip that is none", "application/json", Some("gzip"), good.into(), (0, &[("invalid_encoding", None, 0)])),
        (
            "gzip cut short",
            "application/json",
            Some("gzip"),
            cut(gzip(good.as_bytes())),
            (0, &[("invalid_encoding", None, 0)]),
        ),
        ("gzip bomb", "application/x-ndjson", Some("gzip"), bomb(gzip), (0, &[("payload_too_large", None, 0)])),
        ("zstd bomb", "application/x-ndjson", Some("zstd"), bomb(zstd), (0, &[("payload_too_large", None, 0)])),
    ];
    let peak = stage.platform.peak_memory();
    let (mut rows, mut letters) = (1, 0);
    for (what, kind, encoding, bytes, (entered, refused)) in payloads {
        let receipt = landed(&stage.feed, kind, encoding, bytes.into()).await;
        assert_eq!(
            (&receipt["records"], &receipt["refused"]),
            (&json!(entered), &json!(refused.len())),
            "{what}: {receipt}"
        );
        let found = dead_letters(&stage, &receipt).await;
        let found: Vec<(&str, Option<&str>, u64)> = found
            .iter()
            .map(|letter| {
                (letter["code"].as_str().unwrap(), letter["field_path"].as_str(), letter["ordinal"].as_u64().unwrap())
            })
            .collect();
        assert_eq!(found, refused, "{what}");
        rows += entered as usize;
        letters += refused.len();
        stage.settled(&out, rows).await;
    }

    // A line of 100 MB between two good ones, sent as it is made.
    for (kind, first, start, end) in [
        ("application/x-ndjson", "{\"id\":\"good\"}\n", "{\"id\":\"", "\"}\n{\"id\":\"good\"}\n"),
        ("text/csv", "id,value\ngood,1\n", "", ",2\ngood,3\n"),
    ] {
        let filling = std::iter::repeat_n(vec![b'x'; 1 << 20], 100);
        let parts = std::iter::once(format!("{first}{start}").into_bytes())
            .chain(filling)
            .chain(std::iter::once(end.as_bytes().to_vec()));
        let body = reqwest::Body::wrap_stream(futures::stream::iter(parts.map(Ok::<_, std::io::Error>)));
        let receipt = landed(&stage.feed, kind, None, body).await;
        assert_eq!((&receipt["records"], &receipt["refused"]), (&json!(2), &json!(1)), "{kind}: {receipt}");
        let letter = &dead_letters(&stage, &receipt).await[0];
        assert_eq!((&letter["code"], &letter["ordinal"]), (&json!("record_too_large"), &json!(2)), "{kind}");
        assert!(letter["raw"].as_str().unwrap().len() <= 64 << 10, "an excerpt is kept");
        rows += 2;
        letters += 1;
    }
    let used = stage.platform.peak_memory() - peak;
    assert!(used < MEMORY, "{} MiB more memory than before the large payloads", used >> 20);

    stage.settled(&out, rows).await;
    let mut expected = before;
    expected["rows"] = json!(rows);
    expected["dead_letters"] = json!(letters);
    assert_eq!(state(&stage, &out).await, expected);
}

#[tokio::test]
async fn millions_of_refused_records_in_a_few_bytes_take_neither_memory_nor_other_channels_turn() {
    let stage = Stage::start("events").await;
    let mut second = order_in("events");
    second["feeds"][0]["new_element"]["name"] = json!("others");
    let other = stage.provider.order("in", &second, |_| {}, async |_, _| {}).await.unwrap();
    let peak = stage.platform.peak_memory();
    // As much as a payload of the size may be once unpacked: eight million lines.
    let bomb = gzip(&b"x\n".repeat(8 << 20));
    assert!(bomb.len() < 64 << 10, "{}", bomb.len());
    let feed = format!("{}/readings", stage.feed.url());
    let (http, key) = (reqwest::Client::new(), stage.feed.secret("channel_key"));
    let request = http.post(feed).header("content-type", "application/x-ndjson").header("content-encoding", "gzip");
    let answer: Value = request.bearer_auth(key).body(bomb).send().await.unwrap().json().await.unwrap();
    let receipt = answer["receipt"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    // The burst of the size; from there on it is the size's rate, for more than an hour.
    let receipt = eventually("the first ten seconds' worth is decided", async || {
        let url = format!("{}/receipts/{receipt}", stage.feed.url());
        let receipt: Value = http.get(url).bearer_auth(key).send().await.unwrap().json().await.unwrap();
        (receipt["refused"].as_u64() >= Some(20_000)).then_some(receipt)
    })
    .await;
    assert_eq!(receipt["state"], "landed", "{receipt}");
    assert!(receipt["refused"].as_u64() < Some(400_000), "the rate holds for refused records too: {receipt}");
    let kind = "application/x-ndjson";
    let next = send_to(&other, "readings", kind, "{\"id\":\"a\"}\n").await.unwrap();
    assert_eq!((&next["state"], &next["records"]), (&json!("conformed"), &json!(1)), "{next}");
    let used = stage.platform.peak_memory() - peak;
    assert!(used < MEMORY, "{} MiB more memory than before", used >> 20);
}

#[tokio::test]
async fn requests_of_strangers_and_of_wrong_form_are_refused_at_the_door() {
    let stage = Stage::start("events").await;
    let out = stage.channel("api", json!({})).await;
    stage.send(&[reading(0)]).await;
    stage.settled(&out, 1).await;
    let mut second = order_in("events");
    second["feeds"][0]["new_element"]["name"] = json!("others");
    let other = stage.provider.order("in", &second, |_| {}, async |_, _| {}).await.unwrap();
    let before = state(&stage, &out).await;

    let feed = format!("{}/readings", stage.feed.url());
    let key = stage.feed.secret("channel_key").to_owned();
    let changed = format!("{}x", &key[..key.len() - 1]);
    let json_type = Some("application/json");
    let http = reqwest::Client::new();
    let sends: [Send<'_>; 11] = [
        ("unknown feed", format!("{}/nosuch", stage.feed.url()), Some(&key), json_type, None, 404, "feed_not_found"),
        ("XML", feed.clone(), Some(&key), Some("application/xml"), None, 415, "unsupported_content_type"),
        ("no content type", feed.clone(), Some(&key), None, None, 415, "unsupported_content_type"),
        ("brotli", feed.clone(), Some(&key), json_type, Some("br"), 415, "unsupported_content_encoding"),
        ("no key", feed.clone(), None, json_type, None, 401, "unauthenticated"),
        ("a changed key", feed.clone(), Some(&changed), json_type, None, 401, "invalid_channel_key"),
        ("no key at all", feed.clone(), Some("hgk_"), json_type, None, 401, "invalid_channel_key"),
        ("a wrong token", feed.clone(), Some("e30.e30.e30"), json_type, None, 401, "invalid_token"),
        (
            "another channel's key",
            feed.clone(),
            Some(other.secret("channel_key")),
            json_type,
            None,
            401,
            "invalid_channel_key",
        ),
        (
            "the key of a data-out channel",
            feed.clone(),
            Some(out.secret("channel_key")),
            json_type,
            None,
            401,
            "invalid_channel_key",
        ),
        (
            "no channel",
            feed.replace(&stage.feed.id, "ch_nosuch"),
            Some(&key),
            json_type,
            None,
            401,
            "invalid_channel_key",
        ),
    ];
    for (what, url, key, kind, encoding, status, code) in sends {
        let mut request = http.post(url).body(r#"{"id":"a"}"#);
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        for (name, value) in [("content-type", kind), ("content-encoding", encoding)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let refused = problem(what, request.send().await.unwrap()).await;
        assert_problem(what, &refused, status, code, &[]);
    }

    let get = async |path: &str, key: &str| {
        problem(path, http.get(format!("{}{path}", out.url())).bearer_auth(key).send().await.unwrap()).await
    };
    let own = out.secret("channel_key");
    for (path, place) in [
        ("/readings?filter=value >", "filter"),
        ("/readings?filter=value = 1; DROP TABLE readings", "filter"),
        ("/readings?filter=id = \"a\") OR (1 = 1", "filter"),
        ("/readings?filter=value IN (SELECT 1)", "filter"),
        ("/readings?filter=nosuch = 1", "filter"),
        ("/readings?filter=value = \"text\"", "filter"),
        ("/readings?order_by=nosuch", "order_by"),
        ("/readings?order_by=id; DROP TABLE readings", "order_by"),
        ("/readings?fields=nosuch", "fields"),
        ("/readings?page_token=nonsense", "page_token"),
        ("/readings?format=xml", "format"),
    ] {
        assert_problem(path, &get(path, own).await, 400, "invalid_query", &[place]);
    }
    assert_problem("a size", &get("/readings?page_size=-1", own).await, 400, "invalid_query", &[]);
    assert_problem("a parameter", &get("/readings?limit=1", own).await, 400, "invalid_query", &[]);
    assert_problem("a table", &get("/sqlite_master", own).await, 404, "table_not_found", &[]);
    assert_problem("a record", &get("/readings/nosuch", own).await, 404, "record_not_found", &[]);
    assert_problem("a key of the way in", &get("/readings", &key).await, 401, "invalid_channel_key", &[]);
    assert_eq!(state(&stage, &out).await, before);
}

/// Sends a payload, waits until it is decided, and returns its receipt.
async fn landed(channel: &Channel, kind: &str, encoding: Option<&str>, body: reqwest::Body) -> Value {
    let Some(encoding) = encoding else { return send_to(channel, "readings", kind, body).await.unwrap() };
    let http = reqwest::Client::new();
    let key = channel.secret("channel_key");
    let request = http.post(format!("{}/readings", channel.url())).bearer_auth(key);
    let request = request.header("content-type", kind).header("content-encoding", encoding).body(body);
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    let receipt = answer["receipt"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    eventually("the payload is decided", async || {
        let url = format!("{}/receipts/{receipt}", channel.url());
        let receipt: Value = http.get(url).bearer_auth(key).send().await.unwrap().json().await.unwrap();
        (receipt["state"] == "conformed").then_some(receipt)
    })
    .await
}

/// The dead letters of a payload, by their place in it.
async fn dead_letters(stage: &Stage, receipt: &Value) -> Vec<Value> {
    let path = format!("{}/dead-letters?page_size=1000", stage.feed.path);
    let page = stage.provider.api.get(&path).await.unwrap();
    let mut letters = page["items"].as_array().unwrap().clone();
    letters.retain(|letter| letter["receipt"] == receipt["id"]);
    letters.sort_by_key(|letter| letter["ordinal"].as_u64());
    for letter in &letters {
        assert!(letter["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{letter:#}");
        assert_eq!(letter["feed"], "readings");
    }
    letters
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

/// A gibibyte of zeros: both encodings allow frames one after another.
fn bomb(pack: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    pack(&vec![0; 1 << 20]).repeat(1 << 10)
}

fn cut(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() - 9);
    bytes
}
