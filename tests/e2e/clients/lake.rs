//! The lake's tables below the data directory, opened unchanged by other engines.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rand::RngCore;
use serde_json::{Value, json};

use super::python;
use crate::harness::{Stage, eventually};

/// As many records as one tail of the log must hold to be rolled at once: 8 MiB that do not compress.
const RECORDS: usize = 8_000;

const SCRIPT: &str = r#"
import json, pathlib, sys
import duckdb, duckdb_extension_delta, polars
from deltalake import DeltaTable
con = duckdb.connect()
con.execute("SET enable_progress_bar = false")
extension = next(pathlib.Path(duckdb_extension_delta.__file__).parent.rglob("*.duckdb_extension"))
con.execute(f"LOAD '{extension}'")
out = {}
for name in ("changes", "current"):
    path = str(pathlib.Path(sys.argv[1]) / name)
    frame = polars.read_delta(path)
    out[name] = {
        "polars": [len(frame), frame["count"].sum(), frame["id"].n_unique()],
        "duckdb": con.execute(f'SELECT count(*), sum("count")::BIGINT, count(DISTINCT id) FROM delta_scan(\'{path}\')').fetchone(),
        "rust": sum(DeltaTable(path).get_add_actions(flatten=True).column("num_records").to_pylist()),
        "columns": [name for name in frame.columns if not name.startswith("_")],
    }
print(json.dumps(out))
"#;

#[tokio::test]
async fn the_tables_of_a_running_platform_are_opened_by_delta_rs_polars_and_duckdb() {
    let stage = Stage::start("entity").await;
    let mut random = rand::thread_rng();
    let sent: Vec<Value> = (0..RECORDS)
        .map(|number| {
            let mut noise = [0_u8; 1_600];
            random.fill_bytes(&mut noise);
            json!({"id": format!("r{number}"), "count": number, "note": BASE64_STANDARD.encode(noise)})
        })
        .collect();
    stage.send(&sent).await;
    let tables = stage.platform.directory().join("data/lake/tables").join(stage.feed.element());
    eventually("both tables", async || {
        ["changes", "current"].iter().all(|name| holds_files(&tables.join(name))).then_some(())
    })
    .await;
    let Some(read) = python(SCRIPT, &[&tables]) else { return };
    for name in ["changes", "current"] {
        let table = &read[name];
        // What is not rolled yet is still in the log: the tables hold the records up to some offset.
        let rows = table["polars"][0].as_u64().unwrap();
        assert!(rows > 0 && rows <= RECORDS as u64, "{name}: {rows}");
        let expected = json!([rows, rows * (rows - 1) / 2, rows]);
        assert_eq!(table["polars"], expected, "{name}");
        assert_eq!(table["duckdb"], expected, "{name}");
        assert_eq!(table["rust"], json!(rows), "{name}");
        assert_eq!(table["columns"], json!(["id", "site", "value", "count", "at", "note"]), "{name}");
    }
}

/// Whether some commit of a table adds a file.
fn holds_files(table: &Path) -> bool {
    let commits = std::fs::read_dir(table.join("_delta_log")).into_iter().flatten().flatten();
    commits
        .map(|commit| std::fs::read_to_string(commit.path()).unwrap_or_default())
        .any(|text| text.contains("\"add\""))
}
