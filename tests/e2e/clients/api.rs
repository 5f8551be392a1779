//! The api channel: conditional requests, representations, queries, its own OpenAPI.

use serde_json::{Value, json};

use super::text;
use crate::harness::Stage;
use crate::harness::stage::reading;

#[tokio::test]
async fn an_api_channel_answers_conditions_formats_filters_and_describes_itself() {
    let stage = Stage::start("entity").await;
    let sent: Vec<Value> = (0..60).map(reading).collect();
    stage.send(&sent).await;
    let channel = stage.channel("api", json!({"indexes": ["site"]})).await;
    stage.settled(&channel, 60).await;
    let page = async |path: &str| -> Value {
        let (status, _, body) = text(&channel, path, &[]).await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    };
    let ids = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    };

    // Filter, sort, fields, count, pages.
    let query =
        "/readings?filter=site = \"south\" AND value > 2&order_by=value desc&fields=id,value&count=true&page_size=7";
    let first = page(query).await;
    let mut expected: Vec<&Value> =
        sent.iter().filter(|row| row["site"] == "south" && row["value"].as_f64() > Some(2.0)).collect();
    expected.reverse();
    let expected: Vec<String> = expected.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(first["total_count"], expected.len());
    let members: Vec<&String> = first["items"][0].as_object().unwrap().keys().collect();
    assert_eq!(members, ["id", "value", "_id"]);
    let mut found = ids(&first);
    let mut token = first["next_page_token"].as_str().map(str::to_owned);
    while let Some(next) = token {
        let more = page(&format!("{query}&page_token={next}")).await;
        found.extend(ids(&more));
        token = more["next_page_token"].as_str().map(str::to_owned);
    }
    assert_eq!(found, expected);

    // CSV, as a program that knows only CSV reads it.
    let (_, headers, csv) = text(&channel, "/readings?order_by=id&page_size=1000", &[("accept", "text/csv")]).await;
    assert!(headers["content-type"].to_str().unwrap().starts_with("text/csv"));
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let at = |name: &str, header: &csv::StringRecord| header.iter().position(|found| found == name).unwrap();
    let header = reader.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let notes: Vec<&str> = rows.iter().map(|row| &row[at("note", &header)]).collect();
    let wanted: Vec<&str> = sent.iter().map(|row| row["note"].as_str().unwrap_or_default()).collect();
    assert_eq!(notes, wanted, "quotes, commas and lines survive");

    // Conditions: the tag stays while nothing changes and moves with the data.
    let (_, headers, _) = text(&channel, "/readings?page_size=5", &[]).await;
    let tag = headers["etag"].to_str().unwrap().to_owned();
    let (status, _, body) = text(&channel, "/readings?page_size=5", &[("if-none-match", &tag)]).await;
    assert_eq!((status.as_u16(), body.as_str()), (304, ""));
    let (_, headers, _) = text(&channel, "/readings/r000007", &[]).await;
    let own = headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(text(&channel, "/readings/r000007", &[("if-none-match", &own)]).await.0, 304);
    let mut changed = sent[7].clone();
    changed["value"] = json!(-1.0);
    stage.send(&[changed]).await;
    stage.settled(&channel, 61).await;
    assert_eq!(text(&channel, "/readings?page_size=5", &[("if-none-match", &tag)]).await.0, 200);
    let (status, _, body) = text(&channel, "/readings/r000007", &[("if-none-match", &own)]).await;
    assert_eq!((status.as_u16(), serde_json::from_str::<Value>(&body).unwrap()["value"].as_f64()), (200, Some(-1.0)));

    // Its own document names what it serves; every path in it answers.
    let document = page("/openapi.json").await;
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["servers"][0]["url"], channel.url());
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    assert_eq!(paths, ["/readings", "/readings/{key}"]);
    for path in paths {
        page(&path.replace("{key}", "r000001")).await;
    }
    let fields = document["components"]["schemas"]["readings"]["properties"].as_object().unwrap();
    for name in ["id", "site", "value", "count", "at", "note"] {
        assert!(fields.contains_key(name), "{name}");
    }
    let index = page("/").await;
    assert_eq!((&index["items"][0]["name"], &index["items"][0]["kind"]), (&json!("readings"), &json!("entity")));
}
