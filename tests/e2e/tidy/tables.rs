//! Each table has one owner: nobody else's code names it in a statement.

use std::collections::BTreeMap;

use super::sources;

/// The crate folder that owns the tables of a migration, by the migration's name.
const OWNERS: &[(&str, &str)] = &[
    ("access", "crates/access/"),
    ("events", "crates/events/"),
    ("catalog", "catalog/"),
    ("provisioning", "crates/provisioning/"),
    ("control_api", "control-api/"),
    ("metering", "metering/"),
    ("engine", "fanout-engine/"),
    ("delivery", "fanout-engine/"),
];

#[test]
fn statements_name_only_tables_of_their_own_crate() {
    let mut owners: BTreeMap<String, &str> = BTreeMap::new();
    for (path, text) in sources(&[".sql"]) {
        if !path.starts_with("migrations/sqlite/") {
            continue;
        }
        let name = path.rsplit('/').next().unwrap_or_default().trim_end_matches(".sql");
        let name = name.trim_start_matches(|c: char| c.is_ascii_digit() || c == '_');
        for line in text.lines() {
            let words: Vec<&str> =
                line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|w| !w.is_empty()).collect();
            if let ["CREATE", "TABLE", rest @ ..] = words.as_slice() {
                let table =
                    rest.iter().find(|word| !["IF", "NOT", "EXISTS"].contains(word)).expect("a table has a name");
                let owner = OWNERS.iter().find(|(migration, _)| *migration == name);
                let (_, owner) = owner.unwrap_or_else(|| panic!("{path} has no owner: add it to OWNERS"));
                owners.insert((*table).to_owned(), owner);
            }
        }
    }
    let mut wrong = Vec::new();
    for (path, text) in sources(&[".rs"]) {
        // Tests look at what others wrote; the lake and the channels' own stores are files of their
        // own with tables of their own; the database crate's text shows an example.
        let elsewhere = ["tests/", "crates/lake/", "fanout-engine/src/technology/", "crates/database/src/lib.rs"];
        if path.contains("/tests/") || elsewhere.iter().any(|place| path.starts_with(place)) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
            for pair in words.windows(2) {
                let names_table = ["FROM", "JOIN", "INTO", "UPDATE"].contains(&pair[0]);
                if let Some(owner) = owners.get(pair[1]).filter(|_| names_table)
                    && !path.starts_with(*owner)
                {
                    wrong.push(format!("{path}:{}: {} belongs to {owner}", number + 1, pair[1]));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn both_databases_have_the_same_tables_and_columns() {
    let columns = |database: &str| {
        let mut columns = Vec::new();
        for (path, text) in sources(&[".sql"]) {
            let Some(file) = path.strip_prefix(&format!("migrations/{database}/")) else { continue };
            let mut table = None;
            for line in text.lines().map(str::trim) {
                let first = line.split(|c: char| c.is_whitespace() || c == '(').next().unwrap_or_default();
                if let Some(rest) = line.strip_prefix("CREATE TABLE ") {
                    table = rest.split(|c: char| c.is_whitespace() || c == '(').next().map(str::to_owned);
                } else if line.starts_with(')') {
                    table = None;
                } else if let Some(table) = &table
                    && first.starts_with(|c: char| c.is_ascii_lowercase())
                {
                    columns.push(format!("{file}: {table}.{first}"));
                }
            }
        }
        columns
    };
    let (sqlite, postgres) = (columns("sqlite"), columns("postgres"));
    assert!(sqlite.len() > 20, "the migrations were read: {sqlite:?}");
    assert_eq!(sqlite, postgres);
}
