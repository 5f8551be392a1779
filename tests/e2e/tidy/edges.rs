//! Which crate may import which: the map of `ARCHITECTURE.md`.

use std::collections::BTreeSet;

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Crate, and what of ours it may import.
const ALLOWED: &[(&str, &[&str])] = &[
    ("headgate-types", &[]),
    ("headgate-database", &["types"]),
    ("headgate-access", &["types", "database"]),
    ("headgate-events", &["types", "database", "access"]),
    ("headgate-lake", &["types", "database"]),
    ("headgate-catalog", &["types", "database", "events"]),
    ("headgate-metering", &["types", "database", "events"]),
    ("headgate-provisioning", &["types", "database", "access", "catalog", "metering", "events"]),
    ("headgate-fanout-engine", &["types", "database", "access", "lake", "catalog", "metering", "events"]),
    ("headgate-control-api", &["types", "database", "access", "catalog", "metering", "provisioning", "events"]),
];

/// Libraries that only some crates may import, so that a second home for an idea does not grow.
const RESERVED: &[(&str, &[&str])] = &[
    ("axum", &["headgate", "headgate-control-api", "headgate-fanout-engine"]),
    ("datafusion", &["headgate-fanout-engine"]),
    ("deltalake", &["headgate-lake"]),
    ("jsonwebtoken", &["headgate-access"]),
];

#[test]
fn crates_import_only_what_the_architecture_allows() {
    let manifest = super::root().join("Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec().expect("cargo metadata works");
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let name = package.name.as_str();
        let imported: BTreeSet<&str> =
            package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal).map(|d| d.name.as_str()).collect();
        if let Some((_, allowed)) = ALLOWED.iter().find(|(ours, _)| *ours == name) {
            let ours = imported.iter().filter_map(|import| import.strip_prefix("headgate-"));
            wrong.extend(ours.filter(|import| !allowed.contains(import)).map(|import| format!("{name} → {import}")));
        } else {
            assert!(
                ["headgate", "xtask"].contains(&name),
                "{name} is not on the map: add it to ALLOWED and ARCHITECTURE.md"
            );
        }
        for (library, homes) in RESERVED {
            if imported.contains(library) && !homes.contains(&name) {
                wrong.push(format!("{name} → {library}"));
            }
        }
    }
    assert!(wrong.is_empty(), "these arrows are not on the map: {wrong:?}");
}
