//! The tables as others see them: delta-rs, Polars and DuckDB open both unchanged.
//! Runs where `HEADGATE_TEST_PYTHON` names a Python with these packages.

use std::process::Command;

use headgate_types::SystemClock;
use headgate_types::schema::{DataType, ElementKind, Field};

use crate::fixtures::{append_events, changes, commit, layout};
use crate::{Lake, LakeConfig};

const SCRIPT: &str = r#"
import json, sys
from deltalake import DeltaTable
import polars, duckdb, duckdb_extension_delta, pathlib

changes, current = sys.argv[1:3]
out = {}
table = DeltaTable(changes)
out["delta_rows"] = table.to_pyarrow_table().num_rows if hasattr(table, "to_pyarrow_table") else None
out["version"] = table.version()
frame = polars.read_delta(changes).sort("_offset")
out["offsets"] = frame["_offset"].to_list() == list(range(1, len(frame) + 1))
out["polars_rows"] = len(frame)
out["columns"] = frame.columns
out["filtered"] = len(polars.scan_delta(changes).filter(polars.col("_offset") > 95).collect())
con = duckdb.connect()
con.execute("SET enable_progress_bar = false")
extension = next(pathlib.Path(duckdb_extension_delta.__file__).parent.rglob("*.duckdb_extension"))
con.execute(f"LOAD '{extension}'")
out["duckdb_rows"] = con.execute(f"SELECT count(*) FROM delta_scan('{changes}')").fetchone()[0]
out["duckdb_filtered"] = con.execute(f"SELECT count(*) FROM delta_scan('{changes}') WHERE name >= 'n98'").fetchone()[0]
if current != "-":
    rows = polars.read_delta(current).sort("_offset")
    out["live"] = rows.select(["id", "name", "_offset"]).rows()
    out["duckdb_live"] = con.execute(f"SELECT count(*) FROM delta_scan('{current}')").fetchone()[0]
print(json.dumps(out))
"#;

fn run(python: &str, changes: &std::path::Path, current: Option<&std::path::Path>) -> serde_json::Value {
    let current = current.map_or("-".to_owned(), |path| path.display().to_string());
    let output = Command::new(python).args(["-c", SCRIPT]).arg(changes).arg(current).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_are_opened_by_delta_rs_polars_and_duckdb() {
    let Ok(python) = std::env::var("HEADGATE_TEST_PYTHON") else {
        eprintln!("skipped: HEADGATE_TEST_PYTHON is not set");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let mut config = LakeConfig::new(directory.path());
    config.checkpoint_every = 3;
    config.compact_files = 4;
    let lake = Lake::open(config, SystemClock::shared()).await.unwrap();

    // Rolled ten times with merges and checkpoints in between, and a column added on the way.
    let mut events = layout(ElementKind::Events);
    lake.register(events.clone()).await.unwrap();
    for round in 0..10 {
        if round == 5 {
            events.schema_id = headgate_types::SchemaId::new();
            events.schema.fields.extend([
                Field::new("at", DataType::Timestamp),
                Field::new("day", DataType::Date),
                Field::new("flag", DataType::Bool),
            ]);
            lake.register(events.clone()).await.unwrap();
            let narrow = crate::fixtures::layout(ElementKind::Events);
            let head = lake.log().head(events.element);
            let batch = crate::fixtures::events(&narrow, head as i64 + 1..=head as i64 + 10);
            let batch = crate::adapt(&batch, &events.log_schema()).unwrap();
            lake.log().append(commit(&events, head, batch)).await.unwrap();
        } else {
            let narrow = crate::ElementLayout { schema: layout(ElementKind::Events).schema, ..events.clone() };
            let head = lake.log().head(events.element);
            if round < 5 {
                append_events(&lake, &narrow, 10).await;
            } else {
                let batch = crate::fixtures::events(&narrow, head as i64 + 1..=head as i64 + 10);
                let batch = crate::adapt(&batch, &events.log_schema()).unwrap();
                lake.log().append(commit(&events, head, batch)).await.unwrap();
            }
        }
        lake.roll(events.element).await.unwrap();
    }
    let seen = run(&python, &lake.changes_directory(events.element), None);
    for key in ["delta_rows", "polars_rows", "duckdb_rows"] {
        assert_eq!(seen[key], 100, "{key}: {seen}");
    }
    assert_eq!(seen["offsets"], true, "{seen}");
    assert_eq!((&seen["filtered"], &seen["duckdb_filtered"]), (&5.into(), &2.into()), "{seen}");

    let entity = layout(ElementKind::Entity);
    lake.register(entity.clone()).await.unwrap();
    let first = changes(&entity, &[("insert", 1, "a", None), ("insert", 2, "b", None), ("insert", 3, "c", None)]);
    lake.log().append(commit(&entity, 0, first)).await.unwrap();
    lake.publish_tables(entity.element).await.unwrap();
    let second = changes(&entity, &[("update", 1, "a2", Some("a")), ("delete", 2, "", Some("b"))]);
    lake.log().append(commit(&entity, 3, second)).await.unwrap();
    lake.publish_tables(entity.element).await.unwrap();
    let seen = run(&python, &lake.changes_directory(entity.element), Some(&lake.current_directory(entity.element)));
    assert_eq!(seen["polars_rows"], 5, "{seen}");
    assert_eq!(seen["live"], serde_json::json!([[3, "c", 3], [1, "a2", 4]]), "{seen}");
    assert_eq!(seen["duckdb_live"], 2, "{seen}");
}
