//! The house rules that a machine can check. Each failure names the file and what to do.

mod claims;
mod edges;
mod files;
mod parsers;
mod rules;
mod selected;
mod tables;
mod walkthroughs;

use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap())
        .join("../..")
        .canonicalize()
        .expect("the repository is there")
}

/// Every file below the repository's root with one of these endings, as (path from the root, text).
/// Build output and hidden folders are left out.
fn sources(endings: &[&str]) -> Vec<(String, String)> {
    let root = root();
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the repository can be read") {
            let path = entry.expect("an entry of the repository can be read").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            if path.is_dir() {
                if !name.starts_with('.') && name != "target" && name != "node_modules" {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                let text = std::fs::read_to_string(&path).expect("a source file is UTF-8");
                let path = path.strip_prefix(&root).expect("it is below the root");
                files.push((path.to_string_lossy().into_owned(), text));
            }
        }
    }
    assert!(!files.is_empty(), "nothing ends in {endings:?} below {}", root.display());
    files.sort();
    files
}
