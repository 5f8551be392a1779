//! Limits for tests that are about something else.

use headgate_types::limits::Limits;

/// More than any test needs.
pub const PLENTY: Limits = Limits {
    records_per_second: 1_000_000,
    bytes_per_second: 1_000_000_000,
    connections: 10,
    retention_bytes: 1 << 30,
    retention_seconds: 0,
    memory_bytes: 1 << 30,
    payload_bytes: 1 << 20,
};
