//! One database handle over SQLite and PostgreSQL: pools, transactions, migrations.
//!
//! Owns how a statement reaches either database; never what the tables mean. Each statement is
//! written once, in the subset both speak: `$1` parameters, `ON CONFLICT`, `RETURNING`, CTEs,
//! window functions.
//!
//! ```text
//! let mut tx = db.tenant(tenant).await?;
//! let row: Option<ChannelRow> = tx.fetch_optional(
//!     "SELECT id, state FROM channels WHERE tenant_id = $1 AND id = $2",
//!     args![tenant, channel],
//! ).await?;
//! tx.commit().await?;
//! ```

mod arguments;
mod db;
mod error;
mod filter;
mod migrate;
mod rows;
mod signal;
pub mod testing;
#[cfg(test)]
mod tests;
mod tx;
mod unsynced;

pub use arguments::{Argument, Arguments};
pub use db::{Db, Options, Role};
pub use error::DbError;
pub use filter::{FilterColumn, FilterType, filter_condition};
pub use migrate::Part;
pub use rows::in_shapes;
pub use signal::Signal;
pub use sqlx::FromRow;
pub use sqlx::types::Json;
pub use tx::{Dialect, Row, Tx};
pub use unsynced::{report_failed_sync, sync_failed};
