//! `docs/requirements.md` and `docs/security.md` name a test for everything they claim.

use super::{root, sources};

/// What is wrong with the claims of a table whose last cell names tests in backticks, or is `open`
/// where that may be.
fn wrong_claims(document: &str, columns: usize, least_rows: usize, may_be_open: bool) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("docs").join(document)).expect("the document is there");
    let code: String = sources(&[".rs"]).into_iter().map(|(_, text)| text).collect();
    let mut wrong = Vec::new();
    // The first two lines of a table are its head.
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).skip(2).collect();
    assert!(rows.len() >= least_rows, "{document}: the table was read");
    for line in rows {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), columns, "{document}: {columns} cells a row: {line}");
        let (claim, shown) = (cells[columns - 2], cells[columns - 1]);
        if may_be_open && shown == "open" {
            continue;
        }
        let tests: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
        if tests.is_empty() {
            wrong.push(format!("{claim}: no test in backticks"));
        }
        let missing = tests.iter().filter(|test| !code.contains(&format!("fn {test}(")));
        wrong.extend(missing.map(|test| format!("{claim}: no test {test}")));
    }
    wrong
}

#[test]
fn every_claimed_requirement_names_a_test_that_exists() {
    let wrong = wrong_claims("requirements.md", 2, 150, true);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_claim_about_security_names_a_test_that_exists() {
    let wrong = wrong_claims("security.md", 3, 15, false);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
