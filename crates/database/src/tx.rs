//! A transaction on either database, and the few places where the two differ.

use headgate_types::TenantId;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Executor, Postgres, Sqlite};

use crate::arguments::{Argument, Arguments};
use crate::error::DbError;

/// A row type that both databases can fill; `#[derive(sqlx::FromRow)]` gives it.
pub trait Row: for<'r> sqlx::FromRow<'r, SqliteRow> + for<'r> sqlx::FromRow<'r, PgRow> + Send + Unpin {}

impl<T> Row for T where T: for<'r> sqlx::FromRow<'r, SqliteRow> + for<'r> sqlx::FromRow<'r, PgRow> + Send + Unpin {}

/// Which database a transaction is on, for the statements that cannot be written once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

/// An open transaction. Dropped without [`Tx::commit`] it leaves no trace.
///
/// The outermost caller opens it and passes `&mut Tx` down; a function that takes one never
/// commits.
#[derive(Debug)]
pub enum Tx {
    /// On SQLite.
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    /// On PostgreSQL.
    Postgres(sqlx::Transaction<'static, Postgres>),
}

macro_rules! run {
    ($tx:expr, $query:ident, $sql:expr, $arguments:expr, |$executable:ident, $connection:ident| $body:expr) => {
        match $tx {
            Tx::Sqlite(tx) => {
                let $connection = &mut **tx;
                let $executable = sqlx::$query($sql, sqlite($arguments)?);
                $body
            }
            Tx::Postgres(tx) => {
                let $connection = &mut **tx;
                let $executable = sqlx::$query($sql, postgres($arguments)?);
                $body
            }
        }
    };
}

impl Tx {
    /// Which database this is.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Sets the tenant that row-level security lets through from here to the end of the
    /// transaction. On SQLite there is no such floor and every statement names the tenant itself.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn act_for(&mut self, tenant: TenantId) -> Result<(), DbError> {
        if let Self::Postgres(tx) = self {
            sqlx::query("SELECT set_config('headgate.tenant_id', $1, true)")
                .bind(tenant.uuid().to_string())
                .execute(&mut **tx)
                .await?;
        }
        Ok(())
    }

    /// Runs a statement; returns the number of rows it changed.
    ///
    /// # Errors
    /// When the database refuses it.
    pub async fn execute(&mut self, sql: &'static str, arguments: Arguments) -> Result<u64, DbError> {
        self.execute_built(sql.to_owned(), arguments).await
    }

    /// Runs a statement that was put together from constant parts; values are still bound.
    ///
    /// # Errors
    /// When the database refuses it.
    pub async fn execute_built(&mut self, sql: String, arguments: Arguments) -> Result<u64, DbError> {
        run!(self, query_with, AssertSqlSafe(sql), arguments, |query, connection| Ok(query
            .execute(connection)
            .await?
            .rows_affected()))
    }

    /// All rows of a query.
    ///
    /// # Errors
    /// When the database refuses it, or a row does not fit `T`.
    pub async fn fetch_all<T: Row>(&mut self, sql: &'static str, arguments: Arguments) -> Result<Vec<T>, DbError> {
        self.fetch_all_built(sql.to_owned(), arguments).await
    }

    /// All rows of a query that was put together from constant parts; values are still bound.
    ///
    /// # Errors
    /// When the database refuses it, or a row does not fit `T`.
    pub async fn fetch_all_built<T: Row>(&mut self, sql: String, arguments: Arguments) -> Result<Vec<T>, DbError> {
        run!(self, query_as_with, AssertSqlSafe(sql), arguments, |query, connection| Ok(query
            .fetch_all(connection)
            .await?))
    }

    /// The only row of a query, if there is one.
    ///
    /// # Errors
    /// When the database refuses it, or the row does not fit `T`.
    pub async fn fetch_optional<T: Row>(
        &mut self,
        sql: &'static str,
        arguments: Arguments,
    ) -> Result<Option<T>, DbError> {
        run!(self, query_as_with, AssertSqlSafe(sql.to_owned()), arguments, |query, connection| Ok(query
            .fetch_optional(connection)
            .await?))
    }

    /// The only row of a query that always has one, as an aggregate does.
    ///
    /// # Errors
    /// When the database refuses it, or there is no row.
    pub async fn fetch_one<T: Row>(&mut self, sql: &'static str, arguments: Arguments) -> Result<T, DbError> {
        run!(self, query_as_with, AssertSqlSafe(sql.to_owned()), arguments, |query, connection| Ok(query
            .fetch_one(connection)
            .await?))
    }

    /// Several statements at once, separated by semicolons, without parameters.
    ///
    /// # Errors
    /// When the database refuses one; those before it have run inside this transaction.
    pub async fn execute_script(&mut self, sql: String) -> Result<(), DbError> {
        match self {
            Self::Sqlite(tx) => (&mut **tx).execute(AssertSqlSafe(sql)).await.map(drop)?,
            Self::Postgres(tx) => (&mut **tx).execute(AssertSqlSafe(sql)).await.map(drop)?,
        }
        Ok(())
    }

    /// The end of a query that claims rows for this transaction while others skip them. SQLite has
    /// one writer at a time, so there is nobody to skip.
    #[must_use]
    pub const fn for_update_skip_locked(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "",
            Self::Postgres(_) => " FOR UPDATE SKIP LOCKED",
        }
    }

    /// Makes everything done so far durable and visible.
    ///
    /// # Errors
    /// When the database fails. Nothing of the transaction remains then, unless it is [`DbError::Unreachable`]:
    /// the commit may have been made, and only its answer was lost.
    pub async fn commit(self) -> Result<(), DbError> {
        match self {
            Self::Sqlite(tx) => tx.commit().await?,
            Self::Postgres(tx) => tx.commit().await?,
        }
        Ok(())
    }
}

macro_rules! binder {
    ($name:ident, $arguments:ty) => {
        fn $name(arguments: Arguments) -> Result<$arguments, DbError> {
            use sqlx::Arguments as _;
            let mut bound = <$arguments>::default();
            for argument in arguments {
                let added = match argument {
                    Argument::Text(value) => bound.add(value),
                    Argument::Int(value) => bound.add(value),
                    Argument::Float(value) => bound.add(value),
                    Argument::Bool(value) => bound.add(value),
                    Argument::Uuid(value) => bound.add(value),
                    Argument::Time(value) => bound.add(value),
                    Argument::Json(value) => bound.add(value.map(sqlx::types::Json)),
                    Argument::Bytes(value) => bound.add(value),
                };
                added.map_err(|error| DbError::Other(sqlx::Error::Encode(error)))?;
            }
            Ok(bound)
        }
    };
}

binder!(sqlite, SqliteArguments);
binder!(postgres, PgArguments);
