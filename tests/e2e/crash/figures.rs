//! What rounds amounted to.

use std::collections::BTreeMap;
use std::fmt;

/// Counts of one round, or of many.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Rounds that found nothing wrong.
    pub rounds: u64,
    /// Headgate killed.
    pub kills: u64,
    /// Headgate's power cut.
    pub power_cuts: u64,
    /// PostgreSQL killed.
    pub database_kills: u64,
    /// Payloads that heard 202.
    pub acknowledged: u64,
    /// Payloads that were refused or did not reach anybody.
    pub refused: u64,
    /// Payloads whose sender never heard.
    pub unknown: u64,
    /// Payloads sent again under their key.
    pub resent: u64,
    /// Rows of acknowledged payloads.
    pub rows: u64,
    /// Records read from channels and compared.
    pub read: u64,
    /// Orders accepted.
    pub orders: u64,
    /// Orders that ended FAILED, each with its explanation.
    pub failed_orders: u64,
    /// Syncs, by kind of file; counted where the power is cut.
    pub syncs: BTreeMap<String, u64>,
    /// Seeds of rounds that failed.
    pub failed: Vec<u64>,
}

impl Figures {
    /// Adds another's counts.
    pub fn add(&mut self, other: &Self) {
        self.rounds += other.rounds;
        self.kills += other.kills;
        self.power_cuts += other.power_cuts;
        self.database_kills += other.database_kills;
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.resent += other.resent;
        self.rows += other.rows;
        self.read += other.read;
        self.orders += other.orders;
        self.failed_orders += other.failed_orders;
        self.failed.extend(&other.failed);
        for (class, count) in &other.syncs {
            *self.syncs.entry(class.clone()).or_default() += count;
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "rounds={} failed={} kills={} power_cuts={} database_kills={} acknowledged={} refused={} unknown={} resent={} rows={} \
             read={} orders={} failed_orders={}",
            self.rounds,
            self.failed.len(),
            self.kills,
            self.power_cuts,
            self.database_kills,
            self.acknowledged,
            self.refused,
            self.unknown,
            self.resent,
            self.rows,
            self.read,
            self.orders,
            self.failed_orders
        )
    }
}
