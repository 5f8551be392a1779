//! Each table has one owner: nobody else's code names it in a statement.

use std::collections::BTreeMap;

use super::sources;

/// The crate folder that owns the tables of a migration, by the migration's name.
const OWNERS: &[(&str, &str)] = &[
    ("access", "crates/access/"),
    ("identities", "crates/access/"),
    ("events", "crates/events/"),
    ("catalog", "catalog/"),
    ("terms", "catalog/"),
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
    let code: Vec<(String, String)> = sources(&[".rs"]).into_iter().filter(|(path, _)| !is_test(path)).collect();
    // A module with SQLite files of its own declares their tables where it opens them.
    let own: Vec<(&str, &str)> =
        code.iter().flat_map(|(path, text)| declared(text).map(move |table| (folder(path), table))).collect();
    assert!(own.len() > 10, "the tables of own files were found: {own:?}");
    let mut wrong = Vec::new();
    for (path, text) in &code {
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for table in named(line) {
                let of_own_file = own.contains(&(folder(path), table));
                if let Some(owner) = owners.get(table).filter(|_| !of_own_file)
                    && !path.starts_with(*owner)
                {
                    wrong.push(format!("{path}:{}: {table} belongs to {owner}", number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Tests look at what others wrote.
fn is_test(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The tables that Rust code creates.
fn declared(text: &str) -> impl Iterator<Item = &str> {
    let declarations = text.split("CREATE TABLE IF NOT EXISTS ").skip(1);
    declarations.filter_map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next())
}

/// The tables that a line of SQL reads or writes.
fn named(line: &str) -> impl Iterator<Item = &str> {
    let words: Vec<&str> = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let pairs: Vec<(&str, &str)> = words.windows(2).map(|pair| (pair[0], pair[1])).collect();
    let reads = |word: &str| ["FROM", "JOIN", "INTO", "UPDATE"].contains(&word);
    pairs.into_iter().filter(move |(word, _)| reads(word)).map(|(_, table)| table)
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
