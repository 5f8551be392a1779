use std::collections::BTreeSet;
use std::path::{Path as File, PathBuf};

use super::*;

fn root() -> PathBuf {
    File::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).parent().unwrap().to_owned()
}

#[test]
fn every_problem_code_has_its_page_in_the_docs() {
    let directory = root().join("docs/errors");
    if std::env::var_os("HEADGATE_BLESS").is_some() {
        std::fs::create_dir_all(&directory).unwrap();
        for entry in std::fs::read_dir(&directory).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
        for (name, text) in files() {
            std::fs::write(directory.join(name), text).unwrap();
        }
    }
    for (name, text) in files() {
        let found = std::fs::read_to_string(directory.join(&name)).unwrap_or_default();
        assert!(found == text, "docs/errors/{name} is not what templates/errors.yaml says; run with HEADGATE_BLESS=1");
    }
    let known = files().len();
    assert_eq!(std::fs::read_dir(directory).unwrap().count(), known, "docs/errors holds a page of no code");
}

#[test]
fn pages_are_sorted_and_unique() {
    assert!(PAGES.len() > 20, "the pages were read");
    assert!(PAGES.windows(2).all(|pair| pair[0].code < pair[1].code));
}

/// Codes reach callers in three ways: `fn code` of an error enum, `::new(ErrorKind::X, "code", …)`, and as the member
/// `code` of a fault.
#[test]
fn no_crate_answers_with_a_code_that_has_no_page() {
    let mut codes = BTreeSet::new();
    for crate_directory in ["catalog", "control-api", "crates", "fanout-engine", "metering"] {
        sources(&root().join(crate_directory), &mut |text| collect(text, &mut codes));
    }
    assert!(codes.len() > 20, "the scan found next to nothing: {codes:?}");
    let missing: Vec<_> = codes.iter().filter(|code| find(code).is_none()).collect();
    assert!(missing.is_empty(), "add these codes to templates/errors.yaml: {missing:?}");
}

fn sources(directory: &File, visit: &mut impl FnMut(&str)) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "testing" && name != "target" {
            sources(&path, visit);
        } else if name.ends_with(".rs") && name != "tests.rs" && name != "testing.rs" {
            let text = std::fs::read_to_string(&path).unwrap();
            visit(text.split("#[cfg(test)]\nmod tests {").next().unwrap());
        }
    }
}

fn collect(text: &str, codes: &mut BTreeSet<String>) {
    for body in text.split("fn code(&self) -> &'static str").skip(1) {
        // The function ends where the next one of the trait or the impl begins.
        let body = body.split("\n    }\n").next().unwrap_or(body);
        // Answers of arms, not their patterns: a word after `=>`, or the only one of the body.
        let answers = body.split("=>").skip(1).chain([body.trim_start_matches([' ', '{', '\n'])]);
        let words = answers.filter_map(|answer| answer.trim_start().strip_prefix('"')?.split('"').next());
        codes.extend(words.filter(|word| is_code(word)).map(str::to_owned));
    }
    for body in text.split("EngineFault::Refused {").skip(1) {
        let word = body.trim_start().strip_prefix("code: \"").and_then(|rest| rest.split('"').next());
        codes.extend(word.filter(|word| is_code(word)).map(str::to_owned));
    }
    for rest in text.split("::new(").skip(1) {
        let rest = rest.trim_start();
        let Some(rest) = rest.strip_prefix("ErrorKind::").or_else(|| rest.strip_prefix("Kind::")) else { continue };
        let Some((_, rest)) = rest.split_once(',') else { continue };
        let word = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
        codes.extend(word.filter(|word| is_code(word)).map(str::to_owned));
    }
}

fn is_code(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}
