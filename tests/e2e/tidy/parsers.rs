//! Whatever reads text or bytes from outside is fuzzed: a new parser without a target fails here.

use super::sources;

/// Words that functions which read begin with.
const READS: &[&str] = &["parse", "decode", "decoder", "from_str", "read", "infer", "open", "unseal", "range", "start"];

/// What reads and needs no target of its own, with the reason.
const EXEMPT: &[(&str, &str)] = &[
    ("catalog/src/elements/mod.rs from_str", "a match over words"),
    ("control-api/src/http/body.rs parse", "serde, over the types that schemathesis sends"),
    ("control-api/src/v1/usage/month.rs read", "chrono, over text of one length"),
    ("crates/access/src/credentials/mod.rs from_str", "a match over words"),
    ("crates/access/src/scopes.rs from_str", "a match over words"),
    ("crates/events/src/event.rs from_str", "a match over words"),
    ("crates/lake/src/committer.rs start", "a name for a thread"),
    ("crates/lake/src/sqlite.rs open_writer", "tables that the code declares"),
    ("crates/provisioning/src/profiles/mod.rs parse", "the document's, checked"),
    ("crates/types/src/id.rs from_str", "made by a macro; all go through the one parser"),
    ("crates/types/src/channel.rs from_str", "a match over words"),
    ("crates/types/src/schema.rs from_str", "a match over words"),
    ("metering/src/usage/meter.rs from_str", "a match over words"),
    ("metering/src/usage/store.rs read_dims", "serde, over what this module wrote"),
    ("crates/access/src/seal.rs open", "what lists call, which has a target"),
];

/// `path function`, of every function that takes text or bytes and whose name says that it reads.
fn parsers() -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in sources(&[".rs"]) {
        let aside = ["tests/", "/tests", "testing", "fuzzed", "bench", "demo", "power", "xtask/", "properties"];
        if aside.iter().any(|part| path.contains(part)) || path.starts_with("crates/headgate/") {
            continue;
        }
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        for declared in code.split("fn ").skip(1) {
            let Some((head, rest)) = declared.split_once('(') else { continue };
            let name = head.split('<').next().unwrap_or_default();
            let first = name.split('_').next().unwrap_or_default();
            let taken = rest.split(')').next().unwrap_or_default();
            let takes = taken.contains("&str") || taken.contains("&[u8]") || taken.contains("text: Option<&str>");
            let named = READS.contains(&first) || READS.contains(&name);
            if named && takes && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                found.push(format!("{path} {name}"));
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

#[test]
fn every_parser_is_fuzzed() {
    let parsers = parsers();
    assert!(parsers.len() > 15, "the parsers were found: {parsers:#?}");
    let code: String = sources(&[".rs"])
        .into_iter()
        .filter(|(path, _)| !path.ends_with("tidy/parsers.rs"))
        .map(|(_, text)| text)
        .collect();
    let forgotten: Vec<_> = parsers
        .iter()
        .filter(|parser| !EXEMPT.iter().any(|(exempt, _)| exempt == parser))
        // A target is named after what it calls, and may say more behind it.
        .filter(|parser| !code.contains(&format!("\"{parser}\"")) && !code.contains(&format!("\"{parser},")))
        .collect();
    assert!(forgotten.is_empty(), "give these a target, or a line in EXEMPT: {forgotten:#?}");
    let stale: Vec<_> = EXEMPT.iter().filter(|(exempt, _)| !parsers.iter().any(|parser| parser == exempt)).collect();
    assert!(stale.is_empty(), "these are no parsers any more: {stale:?}");
}
