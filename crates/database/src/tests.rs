//! The promises of this crate, on both databases.

use chrono::{DateTime, Utc};
use headgate_types::{ChannelId, Coded, ErrorKind, TenantId};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::testing::databases;
use crate::{DbError, Json, args};

#[derive(Debug, PartialEq, sqlx::FromRow)]
struct Everything {
    id: Uuid,
    name: Option<String>,
    count: i64,
    ratio: f64,
    live: bool,
    at: DateTime<Utc>,
    document: Json<Value>,
    bytes: Vec<u8>,
}

#[tokio::test]
async fn every_type_round_trips_on_both_databases() {
    for db in databases().await.unwrap() {
        let mut tx = db.control.platform().await.unwrap();
        // Temporary: the roles own no table and may not create one elsewhere.
        let ddl = "CREATE TEMPORARY TABLE everything (id UUID PRIMARY KEY, name TEXT, count BIGINT NOT NULL,
                   ratio DOUBLE PRECISION NOT NULL, live BOOLEAN NOT NULL, at TIMESTAMPTZ NOT NULL,
                   document JSON NOT NULL, bytes BLOB NOT NULL)";
        let ddl = if db.name == "postgres" { ddl.replace("BLOB", "BYTEA") } else { ddl.to_owned() };
        tx.execute_script(ddl).await.unwrap();
        let row = Everything {
            id: ChannelId::new().uuid(),
            name: None,
            count: -7,
            ratio: 0.1,
            live: true,
            at: "2026-01-02T03:04:05.678901Z".parse().unwrap(),
            document: Json(json!({"a": [1, "x", null]})),
            bytes: vec![0, 255],
        };
        let insert = "INSERT INTO everything VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        let arguments = || {
            args![row.id, row.name.clone(), row.count, row.ratio, row.live, row.at, &row.document.0, row.bytes.clone()]
        };
        assert_eq!(tx.execute(insert, arguments()).await.unwrap(), 1);
        let read: Everything = tx.fetch_one("SELECT * FROM everything WHERE at = $1", args![row.at]).await.unwrap();
        assert_eq!(read, row, "{}", db.name);
        assert!(matches!(tx.execute(insert, arguments()).await, Err(DbError::Duplicate)), "{}", db.name);
    }
}

#[tokio::test]
async fn the_roles_on_postgres_are_not_the_owner() {
    for db in databases().await.unwrap().into_iter().filter(|db| db.name == "postgres") {
        for (mut tx, role) in [
            (db.control.tenant(TenantId::new()).await.unwrap(), "headgate_app"),
            (db.data.platform().await.unwrap(), "headgate_engine"),
        ] {
            let (user, superuser, bypass): (String, bool, bool) = tx
                .fetch_one(
                    "SELECT current_user::text, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user",
                    args![],
                )
                .await
                .unwrap();
            assert_eq!((user.as_str(), superuser, bypass), (role, false, false));
        }
    }
}

#[tokio::test]
async fn a_transaction_that_found_no_room_leaves_the_next_one_its_way() {
    for db in databases().await.unwrap().into_iter().filter(|db| db.name == "sqlite") {
        for _ in 0..3 {
            let mut tx = db.control.platform().await.unwrap();
            let (pages,): (i64,) = tx.fetch_one("SELECT page_count FROM pragma_page_count", args![]).await.unwrap();
            tx.execute_script(format!("PRAGMA max_page_count = {pages}")).await.unwrap();
            let filled = tx
                .execute_script(
                    "CREATE TABLE wide (bytes BLOB); INSERT INTO wide VALUES (zeroblob(9000000))".to_owned(),
                )
                .await;
            let error = filled.unwrap_err();
            assert!(matches!(error, DbError::Full), "{error}");
            assert_eq!((error.kind(), error.retry_after()), (ErrorKind::InsufficientStorage, Some(10)));
            drop(tx);
            // Reading is as ever, and so is writing.
            db.control.read_platform().await.unwrap();
            db.control.platform().await.unwrap().commit().await.unwrap();
        }
    }
}
