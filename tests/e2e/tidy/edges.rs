//! Which crate may import which: the map of `ARCHITECTURE.md`.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

/// Crate, and what of ours it may import.
const ALLOWED: &[(&str, &[&str])] = &[
    ("headgate-types", &[]),
    ("headgate-database", &["types"]),
    ("headgate-access", &["types", "database"]),
    ("headgate-aws", &[]),
    ("headgate-cognito", &["access", "aws"]),
    ("headgate-events", &["types", "database", "access"]),
    ("headgate-lake", &["types", "database"]),
    ("headgate-catalog", &["types", "database", "events"]),
    ("headgate-metering", &["types", "database", "events"]),
    ("headgate-provisioning", &["types", "database", "access", "aws", "catalog", "metering", "events"]),
    ("headgate-fanout-engine", &["types", "database", "access", "aws", "lake", "catalog", "metering", "events"]),
    ("headgate-control-api", &["types", "database", "access", "catalog", "metering", "provisioning", "events"]),
];

/// Libraries that only some crates may import, so that a second home for an idea does not grow.
const RESERVED: &[(&str, &[&str])] = &[
    ("axum", &["headgate", "headgate-control-api", "headgate-fanout-engine"]),
    ("datafusion", &["headgate-fanout-engine"]),
    ("deltalake", &["headgate-lake"]),
    ("jsonwebtoken", &["headgate-access"]),
    ("aws-config", &["headgate-aws"]),
    ("aws-credential-types", &["headgate-aws"]),
    ("aws-smithy-runtime-api", &["headgate-aws"]),
    ("aws-smithy-types", &["headgate-aws"]),
    ("aws-sdk-cloudformation", &["headgate-provisioning"]),
    ("aws-sdk-iam", &["headgate-provisioning"]),
    ("aws-sdk-cognitoidentityprovider", &["headgate-cognito"]),
];

#[test]
fn crates_import_only_what_the_architecture_allows() {
    let mut wrong = Vec::new();
    for package in packages() {
        let name = package["name"].as_str().expect("a package has a name");
        let imported: BTreeSet<&str> = package["dependencies"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|dependency| dependency["kind"].is_null())
            .filter_map(|dependency| dependency["name"].as_str())
            .collect();
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

/// Each of them is used by a crate that is part of the binary, not only named.
#[test]
fn the_product_is_built_on_what_was_asked_for() {
    let asked = ["axum", "tokio", "tower", "sqlx", "serde", "utoipa", "jsonwebtoken", "aws-sdk-cloudformation"];
    for library in asked.into_iter().chain(["aws-sdk-iam", "aws-sdk-cognitoidentityprovider"]) {
        let word = format!("{}::", library.replace('-', "_"));
        let uses = |(path, text): &(String, String)| !path.contains("test") && text.contains(&word);
        assert!(super::sources(&[".rs"]).iter().any(uses), "nothing is made with {library}");
        let imports = |package: &Value| {
            let dependencies = package["dependencies"].as_array().into_iter().flatten();
            dependencies.into_iter().any(|one| one["kind"].is_null() && one["name"] == library)
        };
        assert!(packages().iter().any(imports), "{library} is imported by no crate");
    }
}

/// The workspace's packages. Asked of cargo itself, because the crate that wraps it switches on
/// features of others, and `cargo run` and the tests would no longer share what they build.
fn packages() -> Vec<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(super::root())
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    metadata["packages"].as_array().expect("it lists packages").clone()
}
