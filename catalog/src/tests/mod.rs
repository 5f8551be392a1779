//! The promises of the catalog, on both databases.
