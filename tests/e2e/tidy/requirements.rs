//! `docs/requirements.md` names a test for every function that it claims.

use super::{root, sources};

#[test]
fn every_claimed_requirement_names_a_test_that_exists() {
    let text = std::fs::read_to_string(root().join("docs/requirements.md")).expect("docs/requirements.md is there");
    let code: String = sources(&[".rs"]).into_iter().map(|(_, text)| text).collect();
    let mut rows = 0;
    let mut wrong = Vec::new();
    for line in
        text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| id") && !line.starts_with("| --"))
    {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [id, shown] = cells.as_slice() else { panic!("two cells a row: {line}") };
        rows += 1;
        if *shown == "open" {
            continue;
        }
        let tests: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
        if tests.is_empty() {
            wrong.push(format!("{id}: neither open nor a test in backticks"));
        }
        wrong.extend(
            tests
                .iter()
                .filter(|test| !code.contains(&format!("fn {test}(")))
                .map(|test| format!("{id}: no test {test}")),
        );
    }
    assert!(rows > 150, "the table was read");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
