//! `ARCHITECTURE.md` names files, and every crate on its map; what it names is there.

use std::collections::BTreeSet;
use std::path::Path;

use super::{root, sources};

/// What stands between backticks and looks like a path.
pub(super) fn paths(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|word| word.contains('/') && !word.starts_with('/') && !word.contains(' '))
}

/// The paths that the architecture names, with the sections they stand in.
fn named() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("it is there");
    let mut section = String::new();
    let mut named = Vec::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            title.clone_into(&mut section);
        }
        named.extend(paths(line).map(|path| (section.clone(), path.to_owned())));
    }
    named
}

/// A path is named from the root, or from the sources of the engine, which has most of the files.
pub(super) fn exists(path: &str) -> bool {
    let bases = [root(), root().join("fanout-engine/src")];
    bases.iter().any(|base| match path.split_once('*') {
        None => base.join(path).exists(),
        // One of each: `technology/*/serve.rs`.
        Some((before, after)) => {
            let folders = std::fs::read_dir(base.join(before)).into_iter().flatten().flatten();
            folders.into_iter().any(|folder| folder.path().join(after.trim_start_matches('/')).exists())
        }
    })
}

#[test]
fn every_file_that_the_walkthroughs_name_is_there() {
    let named = named();
    for walkthrough in ["An order", "A record", "A bill"] {
        assert!(named.iter().filter(|(section, _)| section == walkthrough).count() >= 5, "{walkthrough} names files");
    }
    let gone: Vec<_> = named.iter().filter(|(_, path)| !exists(path)).collect();
    assert!(gone.is_empty(), "these are not there: {gone:#?}");
}

#[test]
fn the_map_lists_every_crate() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("it is there");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")).filter_map(|rest| rest.split('`').next());
    let listed: BTreeSet<String> = rows.map(str::to_owned).collect();
    let crates: BTreeSet<String> = sources(&["Cargo.toml"])
        .into_iter()
        // The workspace itself, and the tasks people run on it.
        .filter(|(path, _)| !["Cargo.toml", "xtask/Cargo.toml"].contains(&path.as_str()))
        .map(|(path, _)| path.trim_end_matches("/Cargo.toml").to_owned())
        .collect();
    assert_eq!(listed, crates);
}

/// A folder of the engine holds a step of the way of a record: whoever follows one meets them all.
#[test]
fn the_walkthroughs_pass_through_every_folder_of_the_engine() {
    /// Beside the way.
    const ASIDE: &[(&str, &str)] = &[
        ("internal", "how the control plane asks; on the map of listeners"),
        ("statistics", "kept by a loop of its own, for the catalog"),
        ("units", "conversions that models name"),
    ];
    let named = named();
    let folder = root().join("fanout-engine/src");
    let folders = std::fs::read_dir(&folder).expect("the engine has sources").flatten();
    let folders = folders.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name());
    let mut missed = Vec::new();
    for name in folders.map(|name| name.to_string_lossy().into_owned()) {
        let met = named.iter().any(|(_, path)| {
            let path = Path::new(path);
            path.strip_prefix("fanout-engine/src").unwrap_or(path).starts_with(&name)
        });
        let aside = ASIDE.iter().any(|(folder, _)| *folder == name);
        if met == aside {
            missed.push(name);
        }
    }
    assert!(missed.is_empty(), "name these in a walkthrough, or in ASIDE with the reason: {missed:?}");
}
