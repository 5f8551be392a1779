//! Databases for tests: one of each kind, empty, of their own.
//!
//! `cargo xtask test` starts a private PostgreSQL and sets [`POSTGRES_URL`]; every test then runs on
//! both databases. Without it only SQLite is used, which is what a quick `cargo test -p` wants.

use sqlx::{AssertSqlSafe, Connection, Executor};
use uuid::Uuid;

use crate::db::{Db, Options};
use crate::error::DbError;
use crate::migrate::Part;

/// Names the maintenance database of the private PostgreSQL.
pub const POSTGRES_URL: &str = "HEADGATE_TEST_POSTGRES";

/// A database of a test's own; gone when dropped (the private server is removed as a whole).
#[derive(Debug)]
pub struct TestDb {
    /// `sqlite` or `postgres`, for messages.
    pub name: &'static str,
    /// How it was opened, to open it again.
    pub options: Options,
    /// The control part.
    pub control: Db,
    /// The data part.
    pub data: Db,
    _directory: Option<tempfile::TempDir>,
}

/// One database per kind that is at hand.
///
/// # Errors
/// When one cannot be made.
pub async fn databases() -> Result<Vec<TestDb>, DbError> {
    let directory = tempfile::tempdir().map_err(|error| DbError::Open(error.to_string()))?;
    let options = Options::Sqlite { directory: directory.path().to_owned() };
    let mut databases = vec![open("sqlite", options, Some(directory)).await?];
    if let Ok(url) = std::env::var(POSTGRES_URL) {
        databases.push(open("postgres", fresh_postgres(&url).await?, None).await?);
    }
    Ok(databases)
}

/// A new, empty database on the PostgreSQL at `maintenance_url`.
///
/// # Errors
/// When it cannot be created.
pub async fn fresh_postgres(maintenance_url: &str) -> Result<Options, DbError> {
    let name = format!("test_{}", Uuid::now_v7().simple());
    let mut connection = sqlx::PgConnection::connect(maintenance_url).await?;
    connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
    connection.close().await?;
    let mut url = url::Url::parse(maintenance_url).map_err(|error| DbError::Open(error.to_string()))?;
    url.set_path(&name);
    Ok(Options::Postgres { url: url.into(), connections: 4 })
}

async fn open(name: &'static str, options: Options, directory: Option<tempfile::TempDir>) -> Result<TestDb, DbError> {
    let control = Db::open(&options, Part::Control).await?;
    let data = Db::open(&options, Part::Data).await?;
    Ok(TestDb { name, options, control, data, _directory: directory })
}
