//! File sizes, names and words.

use super::{root, sources};

/// The longest source file, tests aside.
const MAX_LINES: usize = 600;
/// The longest `lib.rs`.
const MAX_LIB_LINES: usize = 60;
/// Names that say nothing.
const BANNED_NAMES: &[&str] = &["manager", "helper", "helpers", "util", "utils", "common", "misc", "processor", "info"];

#[test]
fn source_files_stay_short_and_have_names_that_say_something() {
    let mut wrong = Vec::new();
    for (path, text) in sources(&[".rs"]) {
        let lines = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().lines().count();
        let limit = if path.ends_with("/lib.rs") { MAX_LIB_LINES } else { MAX_LINES };
        if lines > limit {
            wrong.push(format!("{path}: {lines} lines, at most {limit}"));
        }
        let stem = path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
        if stem.split('_').any(|word| BANNED_NAMES.contains(&word)) {
            wrong.push(format!("{path}: the name says nothing"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_is_left_unfinished() {
    // Put together here, or this file would find itself.
    let marks = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["not ", "implemented"].concat()];
    let mut wrong = Vec::new();
    for (path, text) in sources(&[".rs", ".sql", ".yaml", ".py"]) {
        for (number, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                wrong.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_technology_folder_is_registered() {
    let registry: Vec<String> =
        headgate_fanout_engine::technology::REGISTRY.iter().map(|technology| technology.descriptor().key).collect();
    let folder = super::root().join("fanout-engine/src/technology");
    let mut folders: Vec<String> = std::fs::read_dir(folder)
        .expect("the technologies have a folder")
        .filter_map(|entry| entry.ok().filter(|entry| entry.path().is_dir()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    folders.sort();
    let mut registered = registry.clone();
    registered.sort();
    assert_eq!(folders, registered, "one folder, one line in REGISTRY");
}

/// The OpenAPI document knows schemas by their bare names: the second of a name would silently
/// take the place of the first.
#[test]
fn schemas_of_the_api_have_names_of_their_own() {
    let mut seen: Vec<(String, String)> = Vec::new();
    let mut wrong = Vec::new();
    for (path, text) in sources(&[".rs"]) {
        let items = text.split("#[derive(").skip(1).filter(|item| {
            item.split(")]").next().is_some_and(|derived| derived.split(", ").any(|name| name == "ToSchema"))
        });
        for item in items {
            let declared = item.lines().find_map(|line| {
                let line = line.trim_start().trim_start_matches("pub(crate) ").trim_start_matches("pub ");
                line.strip_prefix("struct ").or_else(|| line.strip_prefix("enum "))
            });
            let name: String = declared
                .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
                .unwrap_or_default();
            // Declared by a macro, under names that it is given.
            if name.is_empty() {
                continue;
            }
            match seen.iter().find(|(other, _)| *other == name) {
                Some((_, other)) => wrong.push(format!("{name}: {path} and {other}")),
                None => seen.push((name, path.clone())),
            }
        }
    }
    assert!(seen.len() > 100, "the schemas were found: {}", seen.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_top_level_has_the_shape_asked_for() {
    let folders =
        ["control-api", "fanout-engine", "catalog", "metering", "templates", "openapi", "migrations", "tests"];
    let missing: Vec<_> = folders.into_iter().filter(|folder| !root().join(folder).is_dir()).collect();
    assert!(missing.is_empty() && root().join("Cargo.toml").is_file(), "{missing:?}");
}
