//! The file channel: manifest, resumable downloads, CSV and Parquet in the readers people use.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{get, python, text};
use crate::harness::Stage;
use crate::harness::stage::reading;
use crate::harness::world::Channel;

const SCRIPT: &str = r#"
import json, sys
import duckdb, polars, pyarrow.parquet, pyarrow as pa
csv_file, parquet_file = sys.argv[1:3]
parquet = polars.read_parquet(parquet_file).sort("id")
table = pyarrow.parquet.read_table(parquet_file)
csv = polars.read_csv(csv_file, try_parse_dates=True).sort("id")
query = "SELECT count(*), sum(value), count(note) FROM "
print(json.dumps({
    "rows": json.loads(parquet.select("id", "site", "value", "count", "note").write_json()),
    "types": {name: str(table.schema.field(name).type) for name in ("value", "count", "at")},
    "arrow_rows": table.num_rows,
    "csv_rows": json.loads(csv.select("id", "site", "value", "count", "note").write_json()),
    "duckdb": [duckdb.sql(query + f"'{file}'").fetchone() for file in (csv_file, parquet_file)],
}))
"#;

#[tokio::test]
async fn file_channels_are_downloaded_in_parts_and_read_by_polars_pyarrow_and_duckdb() {
    let stage = Stage::start("events").await;
    let sent: Vec<Value> = (0..200).map(reading).collect();
    stage.send(&sent).await;
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for format in ["csv", "parquet"] {
        let channel = stage.channel("file", json!({"format": format, "roll_seconds": 1})).await;
        stage.settled(&channel, sent.len()).await;
        files.push(downloaded(&channel, format, folder.path()).await);
    }

    let Some(read) = python(SCRIPT, &[&files[0], &files[1]]) else { return };
    let expected: Vec<Value> = sent
        .iter()
        .map(|row| json!({"id": row["id"], "site": row["site"], "value": row["value"], "count": row["count"], "note": row["note"]}))
        .collect();
    assert_eq!(read["rows"], json!(expected), "Parquet in Polars");
    assert_eq!(read["csv_rows"], json!(expected), "CSV in Polars");
    assert_eq!(read["arrow_rows"], 200);
    assert_eq!(read["types"], json!({"value": "double", "count": "int64", "at": "timestamp[us, tz=UTC]"}));
    let value: f64 = (0..200).map(|n| f64::from(n) * 0.25).sum();
    let notes = expected.iter().filter(|row| !row["note"].is_null()).count();
    assert_eq!(read["duckdb"], json!([[200, value, notes], [200, value, notes]]), "CSV and Parquet in DuckDB");
}

/// Downloads the one file of a channel in three parts, as a client does whose connection breaks.
async fn downloaded(channel: &Channel, format: &str, folder: &Path) -> PathBuf {
    let (_, headers, manifest) = text(channel, "/", &[]).await;
    assert_eq!(headers["cache-control"], "no-store");
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let [file] = manifest["items"].as_array().unwrap().as_slice() else { panic!("one file: {manifest:#}") };
    assert_eq!((&file["format"], &file["records"], &file["table"]), (&json!(format), &json!(200), &json!("readings")));
    let size = file["bytes"].as_u64().unwrap();
    let path = format!("/files/{}", file["name"].as_str().unwrap());
    assert_eq!(file["url"], format!("{}{path}", channel.url()));

    let whole = get(channel, &path, &[]).await;
    let tag = whole.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(whole.headers()["accept-ranges"], "bytes");
    let whole = whole.bytes().await.unwrap();
    let mut parts = Vec::new();
    for range in [
        format!("bytes=0-{}", size / 3),
        format!("bytes={}-{}", size / 3 + 1, size / 2),
        format!("bytes={}-", size / 2 + 1),
    ] {
        let part = get(channel, &path, &[("range", &range), ("if-range", &tag)]).await;
        assert_eq!(part.status(), 206, "{range}");
        parts.extend_from_slice(&part.bytes().await.unwrap());
    }
    assert_eq!(parts, whole, "the parts make the whole");
    assert_eq!(hex::encode(Sha256::digest(&parts)), file["sha256"].as_str().unwrap(), "as the manifest says");
    let (status, headers, problem) = text(channel, &path, &[("range", &format!("bytes={size}-"))]).await;
    assert_eq!(
        (status.as_u16(), headers["content-range"].to_str().unwrap()),
        (416, format!("bytes */{size}").as_str())
    );
    assert_eq!(serde_json::from_str::<Value>(&problem).unwrap()["code"], "range_not_satisfiable");
    assert_eq!(text(channel, &path, &[("if-none-match", &tag)]).await.0, 304);
    // Another version would be sent whole, not as a part of something else.
    assert_eq!(text_status(channel, &path, &[("range", "bytes=0-1"), ("if-range", "\"other\"")]).await, 200);
    assert_eq!(text(channel, "/files/..%2F..%2Fmaster.key", &[]).await.0, 404);

    let target = folder.join(format!("readings.{format}"));
    std::fs::write(&target, parts).unwrap();
    target
}

async fn text_status(channel: &Channel, path: &str, headers: &[(&str, &str)]) -> u16 {
    get(channel, path, headers).await.status().as_u16()
}
