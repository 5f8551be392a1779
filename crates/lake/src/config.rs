//! Where the lake is and how much it may hold.

use std::path::PathBuf;
use std::time::Duration;

const LANDING_BYTES: u64 = 16 << 30;

/// What one tenant alone may fill of a landing zone.
const fn tenant_part(landing_bytes: u64) -> u64 {
    landing_bytes / 4
}

/// Settings of [`crate::Lake::open`]. Sizes are bytes.
#[derive(Debug, Clone)]
pub struct LakeConfig {
    /// The directory of everything: `landing/`, `log/`, `tables/`. Made when absent.
    pub directory: PathBuf,
    /// What all landing zones together may hold before payloads are refused.
    pub landing_bytes: u64,
    /// What one channel's landing zone may hold before payloads are refused.
    pub landing_channel_bytes: u64,
    /// What the landing zones of one tenant's channels together may hold before payloads are refused: a part of
    /// `landing_bytes`, so that one tenant's backlog leaves the others room.
    pub landing_tenant_bytes: u64,
    /// How long a source's idempotency key is remembered: longer than a queue of SQS keeps a message, which is at most
    /// fourteen days.
    pub idempotency_retention: Duration,
    /// What the log may hold before commits are refused. The writer rolls long before.
    pub log_bytes: u64,
    /// What of the disk stays free: payloads are refused below it, commits below half of it. `None`: 512 MiB, or a
    /// fiftieth of a small disk.
    pub reserve_bytes: Option<u64>,
    /// The most a commit group of either store carries: one sync, one SQLite transaction.
    pub group_bytes: usize,
    /// How much of the newest commits stays in memory for readers that keep up.
    pub recent_bytes: usize,
    /// Log bytes of one element from which its tail is rolled into Delta.
    pub roll_bytes: u64,
    /// Age from which a tail of `roll_bytes` or more would be rolled; a smaller tail waits
    /// proportionally longer, at most `roll_age_max`.
    pub roll_age: Duration,
    /// Age from which any tail is rolled.
    pub roll_age_max: Duration,
    /// Delta commits per second over all tables: each costs three syncs, and a disk has about 250.
    pub commits_per_second: u32,
    /// Size compaction aims at for one Parquet file.
    pub file_bytes: u64,
    /// Adjacent files of one size class from which they are merged.
    pub compact_files: usize,
    /// Delta commits between two checkpoints.
    pub checkpoint_every: u64,
    /// How long replaced Delta log entries are kept.
    pub log_retention: Duration,
    /// How long replaced data files are kept; must exceed the longest scan.
    pub vacuum_age: Duration,
    /// Part of the `current` table's records that must have changed before it is written anew.
    pub current_rewrite_ratio: f64,
}

impl LakeConfig {
    /// The defaults for one machine, under `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            landing_bytes: LANDING_BYTES,
            landing_channel_bytes: tenant_part(LANDING_BYTES),
            landing_tenant_bytes: tenant_part(LANDING_BYTES),
            idempotency_retention: Duration::from_secs(15 * 86_400),
            log_bytes: 8 << 30,
            reserve_bytes: None,
            group_bytes: 8 << 20,
            recent_bytes: 64 << 20,
            roll_bytes: 8 << 20,
            roll_age: Duration::from_secs(30),
            roll_age_max: Duration::from_secs(3_600),
            commits_per_second: 20,
            file_bytes: 64 << 20,
            compact_files: 8,
            checkpoint_every: 100,
            log_retention: Duration::from_secs(3 * 86_400),
            vacuum_age: Duration::from_secs(86_400),
            current_rewrite_ratio: 0.1,
        }
    }

    /// The same with a landing zone of so many bytes, which each tenant and channel may fill a part of.
    #[must_use]
    pub fn with_landing(self, bytes: u64) -> Self {
        let part = tenant_part(bytes);
        Self { landing_bytes: bytes, landing_tenant_bytes: part, landing_channel_bytes: part, ..self }
    }
}
