//! Pools of connections to one part of the platform's state.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use headgate_types::TenantId;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Connection, Executor};

use crate::error::DbError;
use crate::migrate::Part;
use crate::tx::{Dialect, Tx};

const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
/// SQLite's log is written back into the file after so many transactions that may write.
const WRITE_BACK_EVERY: u64 = 256;

/// Where a part lives.
#[derive(Debug, Clone)]
pub enum Options {
    /// `<directory>/<part>.db`.
    Sqlite {
        /// The directory, which must exist.
        directory: PathBuf,
    },
    /// A schema of a PostgreSQL database.
    Postgres {
        /// `postgres://user:password@host/database`. The user owns the schemas or is a member of
        /// both roles; every pooled connection takes one of the roles and never works as owner.
        url: String,
        /// Connections per role.
        connections: u32,
    },
}

/// Who a PostgreSQL transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `headgate_app`: sees one tenant's rows.
    App,
    /// `headgate_engine`: lists work across tenants, changes one tenant's rows.
    Engine,
}

impl Role {
    const fn as_str(self) -> &'static str {
        match self {
            Self::App => "headgate_app",
            Self::Engine => "headgate_engine",
        }
    }
}

/// One part of the platform's state, on either database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Db(Pools);

#[derive(Debug, Clone)]
enum Pools {
    // One writer: SQLite takes one at a time anyway, and waiting in the pool is fair and without
    // SQLITE_BUSY. Readers never wait for it.
    Sqlite { writer: SqlitePool, readers: SqlitePool },
    Postgres { app: PgPool, engine: PgPool },
}

impl Db {
    /// Opens a part and brings its tables up to date.
    ///
    /// # Errors
    /// When the database cannot be opened or a migration fails.
    pub async fn open(options: &Options, part: Part) -> Result<Self, DbError> {
        Self::migrate(options, part).await?;
        match options {
            Options::Sqlite { directory } => {
                let file = directory.join(format!("{}.db", part.as_str()));
                let writer = sqlite_writer().connect_with(sqlite_options(&file)).await?;
                // Readers set no journal mode: that is a write, and the writer has set it.
                let reader = SqliteConnectOptions::new().filename(&file).read_only(true).busy_timeout(ACQUIRE_TIMEOUT);
                let readers = sqlite_pool(8).connect_with(reader).await?;
                Ok(Self(Pools::Sqlite { writer, readers }))
            }
            Options::Postgres { url, connections } => {
                let app = postgres_pool(url, part, Role::App, *connections).await?;
                let engine = postgres_pool(url, part, Role::Engine, *connections).await?;
                Ok(Self(Pools::Postgres { app, engine }))
            }
        }
    }

    /// Brings the tables of a part up to date.
    ///
    /// # Errors
    /// When the database cannot be opened or a migration fails; a failed migration leaves nothing.
    pub async fn migrate(options: &Options, part: Part) -> Result<(), DbError> {
        match options {
            Options::Sqlite { directory } => {
                let connect = sqlite_options(&directory.join(format!("{}.db", part.as_str())));
                let pool = sqlite_writer().connect_with(connect).await?;
                part.sqlite().run(&pool).await?;
                close_writer(&pool).await;
            }
            Options::Postgres { url, .. } => {
                let mut connection = sqlx::PgConnection::connect_with(&postgres_options(url)?).await?;
                prepare_postgres(&mut connection, part).await?;
                part.postgres().run_direct(None, &mut connection, false).await?;
                connection.execute(AssertSqlSafe(grants(part))).await?;
                connection.close().await?;
            }
        }
        Ok(())
    }

    /// Which database this is.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        match self.0 {
            Pools::Sqlite { .. } => Dialect::Sqlite,
            Pools::Postgres { .. } => Dialect::Postgres,
        }
    }

    /// A transaction that may write, and on PostgreSQL sees `tenant`'s rows only.
    ///
    /// # Errors
    /// When no connection is free in time.
    pub async fn tenant(&self, tenant: TenantId) -> Result<Tx, DbError> {
        let mut tx = self.begin(Role::App).await?;
        tx.act_for(tenant).await?;
        Ok(tx)
    }

    /// A transaction that may write, for the platform's own work: it lists across tenants, and
    /// calls [`Tx::act_for`] before it changes a tenant's rows.
    ///
    /// # Errors
    /// When no connection is free in time.
    pub async fn platform(&self) -> Result<Tx, DbError> {
        self.begin(Role::Engine).await
    }

    /// A read-only snapshot of `tenant`'s rows; never waits for a writer.
    ///
    /// # Errors
    /// When no connection is free in time.
    pub async fn read_tenant(&self, tenant: TenantId) -> Result<Tx, DbError> {
        let mut tx = self.begin_read(Role::App).await?;
        tx.act_for(tenant).await?;
        Ok(tx)
    }

    /// A read-only snapshot across tenants, for the platform's own work.
    ///
    /// # Errors
    /// When no connection is free in time.
    pub async fn read_platform(&self) -> Result<Tx, DbError> {
        self.begin_read(Role::Engine).await
    }

    async fn begin(&self, role: Role) -> Result<Tx, DbError> {
        match &self.0 {
            // IMMEDIATE: a transaction that reads first and writes later would otherwise fail
            // half-way when another wrote in between.
            Pools::Sqlite { writer, .. } => Ok(Tx::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?)),
            Pools::Postgres { app, engine } => Ok(Tx::Postgres(pick(role, app, engine).begin().await?)),
        }
    }

    async fn begin_read(&self, role: Role) -> Result<Tx, DbError> {
        match &self.0 {
            Pools::Sqlite { readers, .. } => Ok(Tx::Sqlite(readers.begin().await?)),
            Pools::Postgres { app, engine } => {
                let begin = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY";
                Ok(Tx::Postgres(pick(role, app, engine).begin_with(begin).await?))
            }
        }
    }

    /// Closes the pools, waiting for open transactions.
    pub async fn close(&self) {
        match &self.0 {
            Pools::Sqlite { writer, readers } => {
                readers.close().await;
                close_writer(writer).await;
            }
            Pools::Postgres { app, engine } => {
                app.close().await;
                engine.close().await;
            }
        }
    }
}

const fn pick<'a>(role: Role, app: &'a PgPool, engine: &'a PgPool) -> &'a PgPool {
    match role {
        Role::App => app,
        Role::Engine => engine,
    }
}

fn sqlite_options(file: &std::path::Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .auto_vacuum(SqliteAutoVacuum::Incremental)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(ACQUIRE_TIMEOUT)
        // SQLite would do it within some commit and keep to itself what fails there: see `write_back`.
        .pragma("wal_autocheckpoint", "0")
}

fn sqlite_pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_release(|connection, _| Box::pin(is_usable(connection)))
}

/// The pool of the one writer, which writes its log back now and then.
fn sqlite_writer() -> SqlitePoolOptions {
    let used = AtomicU64::new(0);
    sqlite_pool(1).after_release(move |connection, _| {
        let is_due = (used.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(WRITE_BACK_EVERY);
        Box::pin(async move {
            let is_usable = is_usable(connection).await?;
            if is_usable && is_due {
                write_back(connection).await;
            }
            Ok(is_usable)
        })
    })
}

/// Whether a connection that was given back can be used again.
async fn is_usable(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    // Behind a roll-back that may still be on its way.
    connection.ping().await?;
    // SQLite ends a transaction by itself when the disk is full; sqlx, whose roll-back then fails, believes
    // for ever that it is open. With a pool of one nobody could write any more.
    Ok(!connection.is_in_transaction())
}

/// Writes the log back into the file. A reader in the way or a full disk only puts it off. A failed sync ends the
/// process: a later try would take for durable what is not, and the log that has it would be overwritten.
async fn write_back(connection: &mut SqliteConnection) {
    if let Err(error) = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").await.map_err(DbError::from) {
        tracing::debug!(%error, "a database's log could not be written back yet");
    }
}

/// The last connection would write the log back by itself, and say nothing of what fails.
async fn close_writer(writer: &SqlitePool) {
    if let Ok(mut connection) = writer.acquire().await {
        write_back(&mut connection).await;
    }
    writer.close().await;
}

fn postgres_options(url: &str) -> Result<PgConnectOptions, DbError> {
    // The text of a URL may hold a password, so the error does not repeat it.
    PgConnectOptions::from_str(url)
        .map_err(|_| DbError::Open("the database URL is not a valid postgres:// URL".to_owned()))
}

async fn postgres_pool(url: &str, part: Part, role: Role, connections: u32) -> Result<PgPool, DbError> {
    let connect = postgres_options(url)?.application_name("headgate").options([("search_path", part.as_str())]);
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                connection.execute(AssertSqlSafe(format!("SET ROLE {}", role.as_str()))).await?;
                Ok(())
            })
        })
        .connect_with(connect)
        .await?;
    Ok(pool)
}

/// Creates what a migration stands on: the two roles and the part's schema.
async fn prepare_postgres(connection: &mut sqlx::PgConnection, part: Part) -> Result<(), DbError> {
    // Two processes may come up at once on an empty database.
    connection.execute("SELECT pg_advisory_lock(7164001)").await?;
    for role in [Role::App, Role::Engine] {
        let name = role.as_str();
        connection
            .execute(AssertSqlSafe(format!(
                "DO $$ BEGIN
                   IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{name}') THEN
                     CREATE ROLE {name} NOLOGIN NOSUPERUSER NOBYPASSRLS;
                   END IF;
                 EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
                 END $$;
                 GRANT {name} TO CURRENT_USER;"
            )))
            .await?;
    }
    let schema = part.as_str();
    connection.execute(AssertSqlSafe(format!("CREATE SCHEMA IF NOT EXISTS {schema}"))).await?;
    connection.execute(AssertSqlSafe(format!("SET search_path TO {schema}"))).await?;
    connection.execute("SELECT pg_advisory_unlock(7164001)").await?;
    Ok(())
}

/// What the two roles may do with the tables of a part. Rows are limited by the policies that the
/// migrations create; nobody but the owner may change the tables themselves.
fn grants(part: Part) -> String {
    let schema = part.as_str();
    let mut sql = String::new();
    for role in [Role::App, Role::Engine] {
        let role = role.as_str();
        sql.push_str(&format!(
            "GRANT USAGE ON SCHEMA {schema} TO {role};
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role};
             GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role};"
        ));
    }
    sql
}
