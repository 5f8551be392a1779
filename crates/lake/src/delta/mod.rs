//! The cold part of the lake: per element a Delta table of changes and, for keyed elements, one of
//! the rows as they are (DATA-PLANE rules 11-14). Any Delta reader opens both.

mod actions;
mod compact;
mod current;
mod data_file;
mod encodings;
mod files;
#[cfg(test)]
mod outside;
mod quarantine;
mod read;
mod roll;
mod table;
#[cfg(test)]
mod tests;

use std::path::Path;

use headgate_types::{ElementId, SharedClock};

pub(crate) use self::data_file::{DataFile, offsets};
pub use self::encodings::parquet_properties;
pub(crate) use self::read::FileReader;
pub(crate) use self::table::{Commit, Table, TableState};
use crate::config::LakeConfig;
use crate::error::Result;

/// The tables of one element.
#[derive(Debug)]
pub(crate) struct Tables {
    /// Every record by offset.
    pub(crate) changes: Table,
    /// The live rows, in the order of their offsets; keyed elements only.
    pub(crate) current: Option<Table>,
    /// Held by whoever writes: one writer per element.
    pub(crate) writing: tokio::sync::Mutex<()>,
}

impl Tables {
    pub(crate) async fn open(
        directory: &Path,
        element: ElementId,
        keyed: bool,
        config: &LakeConfig,
        clock: &SharedClock,
    ) -> Result<Self> {
        let open = |name: &'static str| {
            let title = format!("{element}_{name}");
            let clock = SharedClock::clone(clock);
            async move { Table::open(&directory.join(name), title, config, clock).await }
        };
        let changes = open(CHANGES).await?;
        let current = if keyed { Some(open(CURRENT).await?) } else { None };
        Ok(Self { changes, current, writing: tokio::sync::Mutex::new(()) })
    }
}

/// Directory of the table of changes.
pub(crate) const CHANGES: &str = "changes";
/// Directory of the table of live rows.
pub(crate) const CURRENT: &str = "current";
