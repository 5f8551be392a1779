//! Comments cite the rules of the data plane by number; `docs/DATA-PLANE.md` has them.

use std::collections::BTreeSet;

use super::{root, sources, walkthroughs};

const PAGE: &str = "docs/DATA-PLANE.md";

fn page() -> String {
    std::fs::read_to_string(root().join(PAGE)).expect("it is there")
}

/// The numbers at the beginnings of the page's items.
fn written() -> BTreeSet<u32> {
    let text = page();
    let items = text.lines().filter(|line| line.contains("**"));
    items.filter_map(|line| line.split_once(". ")?.0.parse().ok()).collect()
}

/// The numbers behind "rule" and "rules" in a text: one, a list or a range, over the ends of lines.
fn cited(text: &str) -> Vec<u32> {
    let words = text.split_whitespace().filter(|word| !matches!(*word, "//" | "///" | "//!" | "--"));
    let mut numbers = Vec::new();
    let mut citing = false;
    for word in words {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        if matches!(bare, "rule" | "rules") {
            citing = true;
        } else if citing && bare.starts_with(|c: char| c.is_ascii_digit()) {
            let (first, last) = bare.split_once(['-', '–']).unwrap_or((bare, bare));
            if let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse::<u32>()) {
                numbers.extend(first..=last);
            }
            citing = !word.ends_with(['.', ';', ':', ')']);
        } else {
            citing = citing && bare == "and";
        }
    }
    numbers
}

#[test]
fn every_rule_that_is_cited_is_written_down() {
    let text = "//! (DATA-PLANE rules 3,\n//! 5, 8): 6 by rule 11-13, the rules 20 and 7. Or 4 rules; rule";
    assert_eq!(cited(text), [3, 5, 8, 11, 12, 13, 20, 7]);
    let written = written();
    let mut found = 0;
    for (path, text) in sources(&[".rs", ".sql", ".md"]) {
        if path == PAGE || path == "tests/e2e/tidy/rules.rs" {
            continue;
        }
        for rule in cited(&text) {
            assert!(written.contains(&rule), "{path} cites rule {rule}, which {PAGE} does not have");
            found += 1;
        }
    }
    assert!(found > 50, "found {found} citations only");
}

#[test]
fn every_file_that_the_rules_name_is_there() {
    let text = page();
    let named: Vec<&str> = walkthroughs::paths(&text).collect();
    assert!(named.len() > 30, "the rules name {} files only", named.len());
    let gone: Vec<_> = named.into_iter().filter(|path| !walkthroughs::exists(path)).collect();
    assert!(gone.is_empty(), "these are not there: {gone:#?}");
}
