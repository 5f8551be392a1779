//! The migrations of the two parts, for either database.

use sqlx::migrate::Migrator;

/// The two parts of the platform's state: the control plane must not wait for the data plane's
/// writes, and a delivery's cursor and its usage must share a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Tenants, catalog, orders, events.
    Control,
    /// Cursors, dead letters, receipts, usage.
    Data,
}

impl Part {
    /// Both parts.
    pub const ALL: [Self; 2] = [Self::Control, Self::Data];

    /// The name of the SQLite file and of the PostgreSQL schema.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Data => "data",
        }
    }

    pub(crate) fn sqlite(self) -> Migrator {
        match self {
            Self::Control => sqlx::migrate!("../../migrations/sqlite/control"),
            Self::Data => sqlx::migrate!("../../migrations/sqlite/data"),
        }
    }

    pub(crate) fn postgres(self) -> Migrator {
        match self {
            Self::Control => sqlx::migrate!("../../migrations/postgres/control"),
            Self::Data => sqlx::migrate!("../../migrations/postgres/data"),
        }
    }
}
