//! What must hold of records as clients read them, given only what was sent and answered.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value, json};

use super::ledger::{Fate, Payload, Sent};

/// A record as a client got it, in the order it got it.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// `live`, `backfill`; empty where a client is not told.
    pub lane: String,
    /// The record with `_id` and `_op`.
    pub data: Value,
}

impl Record {
    fn text(&self, name: &str) -> &str {
        self.data[name].as_str().unwrap_or_default()
    }
}

/// The record without what the platform added.
fn plain(data: &Value) -> Value {
    let mut fields: Map<String, Value> = data.as_object().cloned().unwrap_or_default();
    fields.retain(|name, _| !name.starts_with('_'));
    Value::Object(fields)
}

/// Drops repetitions: the same `_id` again. One that says something else is a problem.
pub fn without_repeats(records: &[Record], what: &str, problems: &mut Vec<String>) -> Vec<Record> {
    let mut seen = HashMap::<String, Value>::new();
    let mut kept = Vec::with_capacity(records.len());
    for record in records {
        match seen.get(record.text("_id")) {
            None => {
                seen.insert(record.text("_id").to_owned(), record.data.clone());
                kept.push(record.clone());
            }
            Some(first) if *first == record.data => {}
            Some(first) => {
                problems.push(format!("{what}: one id, two records: {} and {first}", record.data));
            }
        }
    }
    kept
}

/// Every acknowledged event in scope exactly once, nothing refused, unknown payloads whole or not.
pub fn events(
    sent: &Sent,
    received: &[Record],
    in_scope: impl Fn(&Value) -> bool,
    what: &str,
    problems: &mut Vec<String>,
) {
    let mut found = HashMap::<&str, Vec<Value>>::new();
    for record in received {
        found.entry(record.text("id")).or_default().push(plain(&record.data));
    }
    for payload in &sent.events {
        let expected: Vec<_> = payload.rows.iter().filter(|row| !row.wrong && in_scope(&row.json)).collect();
        let mut there = 0;
        for row in &expected {
            match found.remove(row.id.as_str()) {
                None => {}
                Some(copies) => {
                    there += 1;
                    if copies.len() > 1 {
                        problems.push(format!("{what}: event {} is there {} times", row.id, copies.len()));
                    }
                    if copies[0] != row.json {
                        problems.push(format!("{what}: event {} became {}", row.json, copies[0]));
                    }
                }
            }
        }
        let right = match payload.fate {
            Fate::Acknowledged { .. } => there == expected.len(),
            Fate::Refused => there == 0,
            Fate::Unknown => there == 0 || there == expected.len(),
        };
        if !right {
            let (key, fate) = (&payload.key, &payload.fate);
            problems.push(format!("{what}: payload {key} ({fate:?}): {there} of {} rows", expected.len()));
        }
    }
    for id in found.keys().take(3) {
        problems.push(format!("{what}: event {id:?} was not sent, was refused, or is out of scope"));
    }
}

/// Events of one source in the order they were sent, lane by lane.
pub fn events_in_order(received: &[Record], what: &str, problems: &mut Vec<String>) {
    let mut last = HashMap::<(&str, &str), u64>::new();
    for record in received {
        let n = record.data["n"].as_u64().unwrap_or_default();
        let previous = last.insert((&record.lane, record.text("source")), n);
        if previous.is_some_and(|previous| previous >= n) {
            problems.push(format!("{what}: {} came after {previous:?} of its source", record.data["id"]));
        }
    }
}

/// The last state of every key that is in scope.
pub fn current(sent: &Sent, received: &[Record], what: &str, problems: &mut Vec<String>) {
    let mut expected = BTreeMap::<String, Value>::new();
    for (key, states) in sent.states() {
        if let Some(Some(state)) = states.last() {
            expected.insert(key, state.clone());
        }
    }
    let mut found = BTreeMap::<String, Value>::new();
    for record in received {
        if found.insert(record.text("id").to_owned(), plain(&record.data)).is_some() {
            problems.push(format!("{what}: key {} is there twice", record.text("id")));
        }
    }
    for key in expected.keys().chain(found.keys()).collect::<std::collections::BTreeSet<_>>() {
        if expected.get(key) != found.get(key) {
            problems.push(format!("{what}: {key} is {:?}, expected {:?}", found.get(key), expected.get(key)));
        }
    }
}

/// Every change of every key as seen from a scope, complete and in order. A channel that was
/// ordered later begins with the state it found.
pub fn changes(
    sent: &Sent,
    received: &[Record],
    in_scope: impl Fn(&Value) -> bool,
    what: &str,
    problems: &mut Vec<String>,
) {
    let mut found = BTreeMap::<&str, Vec<(&str, Value)>>::new();
    let of_lane = |live: bool| received.iter().filter(move |record| (record.lane == "live") == live);
    for record in of_lane(false).chain(of_lane(true)) {
        found.entry(record.text("id")).or_default().push((record.text("_op"), plain(&record.data)));
    }
    let states = sent.states();
    for (key, states) in &states {
        let seen = found.remove(key.as_str()).unwrap_or_default();
        let all = expected_changes(key, states, 0, &in_scope);
        // Of those that would have as many changes; to write all of them down is too much for a long history.
        let fits = starts(states, seen.len(), &in_scope)
            .any(|start| start == 0 && all == seen || expected_changes(key, states, start, &in_scope) == seen);
        if !fits {
            problems.push(format!("{what}: the changes of {key} are {}\n  of all {}", brief(&seen), brief(&all)));
        }
    }
    for key in found.keys() {
        problems.push(format!("{what}: key {key:?} was never sent"));
    }
}

/// After how many changes a channel's history may end for it to be told of `count`.
fn starts(states: &[Option<Value>], count: usize, in_scope: impl Fn(&Value) -> bool) -> impl Iterator<Item = usize> {
    let scoped: Vec<bool> = states.iter().map(|state| state.as_ref().is_some_and(&in_scope)).collect();
    let is_in = move |index: usize| index > 0 && scoped[index - 1];
    let mut behind = 0;
    let mut found = Vec::new();
    for start in (0..=states.len()).rev() {
        if start < states.len() {
            behind += usize::from(is_in(start) || is_in(start + 1));
        }
        if behind + usize::from(is_in(start)) == count {
            found.push(start);
        }
    }
    found.into_iter()
}

/// What a channel is told of a key when its history ends after `start` changes.
fn expected_changes<'a>(
    key: &str,
    states: &[Option<Value>],
    start: usize,
    in_scope: impl Fn(&Value) -> bool,
) -> Vec<(&'a str, Value)> {
    let scoped = |index: usize| -> Option<Value> {
        let state = index.checked_sub(1).and_then(|index| states[index].clone());
        state.filter(|state| in_scope(state))
    };
    let mut changes: Vec<(&str, Value)> = scoped(start).map(|state| ("upsert", state)).into_iter().collect();
    for index in start + 1..=states.len() {
        match (scoped(index - 1), scoped(index)) {
            (_, Some(state)) => changes.push(("upsert", state)),
            (Some(_), None) => changes.push(("delete", json!({"id": key}))),
            (None, None) => {}
        }
    }
    changes
}

/// Changes by their revision; `-` is a delete.
fn brief(changes: &[(&str, Value)]) -> String {
    let words: Vec<String> =
        changes.iter().map(|(op, data)| if *op == "delete" { "-".into() } else { data["rev"].to_string() }).collect();
    words.join(" ")
}

/// Every wrong row of an acknowledged payload is a dead letter exactly once, and nothing else is.
pub fn dead_letters(payloads: &[&Payload], letters: &[Value], what: &str, problems: &mut Vec<String>) {
    let mut found = HashMap::<String, usize>::new();
    for letter in letters {
        let raw: Value = serde_json::from_str(letter["raw"].as_str().unwrap_or_default()).unwrap_or_default();
        *found.entry(raw["id"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    for payload in payloads {
        for row in payload.rows.iter().filter(|row| row.wrong) {
            let count = found.remove(&row.id).unwrap_or(0);
            let right = match payload.fate {
                Fate::Acknowledged { .. } => count == 1,
                Fate::Refused => count == 0,
                Fate::Unknown => count <= 1,
            };
            if !right {
                problems.push(format!("{what}: {} ({:?}) is {count} dead letters", row.id, payload.fate));
            }
        }
    }
    if !found.is_empty() {
        problems.push(format!("{what}: dead letters of what was not wrong: {found:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crash::ledger::Row;

    fn payload(key: &str, fate: Fate, rows: &[(&str, Value)]) -> Payload {
        let rows = rows.iter().map(|(id, json)| Row { id: (*id).into(), json: json.clone(), wrong: false }).collect();
        Payload { channel: 0, feed: String::new(), key: key.into(), rows, fate }
    }

    fn acknowledged() -> Fate {
        Fate::Acknowledged { receipt: String::new() }
    }

    fn found(check: impl FnOnce(&mut Vec<String>)) -> usize {
        let mut problems = Vec::new();
        check(&mut problems);
        problems.len()
    }

    fn record(data: Value) -> Record {
        Record { lane: "live".into(), data }
    }

    #[test]
    fn the_checker_sees_lost_doubled_changed_torn_and_unsent_events() {
        let (a, b) = (json!({"id": "a", "n": 1}), json!({"id": "b", "n": 2}));
        let both = [("a", a.clone()), ("b", b.clone())];
        let check = |fate: Fate, received: &[&Value]| {
            let sent = Sent { events: vec![payload("p", fate, &both)], ..Sent::default() };
            let received: Vec<Record> = received.iter().map(|data| record((*data).clone())).collect();
            found(|problems| events(&sent, &received, |_| true, "", problems))
        };
        assert_eq!(check(acknowledged(), &[&a, &b]), 0);
        assert_eq!(check(acknowledged(), &[&a]), 1, "lost");
        assert_eq!(check(acknowledged(), &[&a, &b, &b]), 1, "doubled");
        assert_eq!(check(acknowledged(), &[&a, &json!({"id": "b", "n": 3})]), 1, "changed");
        assert_eq!(check(Fate::Unknown, &[&a]), 1, "torn");
        assert_eq!(check(Fate::Unknown, &[]) + check(Fate::Unknown, &[&a, &b]), 0);
        assert_eq!(check(Fate::Refused, &[&a, &b]), 1, "refused and there");
        assert_eq!(check(acknowledged(), &[&a, &b, &json!({"id": "c"})]), 1, "never sent");
    }

    #[test]
    fn the_checker_sees_changes_that_are_missing_swapped_or_repeated() {
        let state = |rev: u64, zone: &str| json!({"id": "k", "rev": rev, "zone": zone});
        let sends = [state(1, "x"), state(2, "y"), state(3, "x"), json!({"id": "k", "_op": "delete"})];
        let payloads: Vec<Payload> =
            sends.iter().map(|json| payload("p", acknowledged(), &[("k", json.clone())])).collect();
        let sent = Sent { things: payloads, ..Sent::default() };
        let change = |op: &str, mut data: Value| {
            data["_op"] = json!(op);
            record(data)
        };
        let all = [
            change("upsert", state(1, "x")),
            change("delete", json!({"id": "k"})),
            change("upsert", state(3, "x")),
            change("delete", json!({"id": "k"})),
        ];
        let check = |received: &[Record]| {
            found(|problems| changes(&sent, received, |state| state["zone"] == "x", "", problems))
        };
        assert_eq!(check(&all), 0);
        assert_eq!(check(&all[2..]), 0, "ordered later");
        assert_eq!(check(&[]), 0, "ordered after the last");
        assert_eq!(check(&all[..3]), 1, "the end is missing");
        assert_eq!(check(&[all[0].clone(), all[2].clone(), all[3].clone()]), 1, "the middle is missing");
        assert_eq!(check(&[all[2].clone(), all[1].clone(), all[0].clone(), all[3].clone()]), 1, "swapped");
        let sent_current = found(|problems| current(&sent, &[], "", problems));
        assert_eq!(sent_current, 0);
        assert_eq!(found(|problems| current(&sent, &[record(state(3, "x"))], "", problems)), 1, "deleted and there");
    }
}
