//! The promises of metering, on both databases.
