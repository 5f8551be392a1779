//! Sets of records, compared by content: what the test computes from the input against what a
//! client received. Nothing here asks the product.

use std::collections::BTreeMap;

use headgate_types::checksum::Checksum;
use serde_json::{Map, Value};

/// Records as their RFC 8785 JSON without `_id` and `_op`, with how often each occurs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Records(BTreeMap<String, usize>);

impl Records {
    /// The records of an iterator of JSON objects.
    pub fn of<'a>(records: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut set = Self::default();
        for record in records {
            set.add(record.as_object().expect("a record is an object"));
        }
        set
    }

    /// The same with `_op`: what happened to each record counts too.
    pub fn of_changes<'a>(records: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut set = Self::default();
        for record in records {
            let mut plain = record.as_object().expect("a record is an object").clone();
            plain.remove("_id");
            *set.0.entry(canonical(&Value::Object(plain))).or_default() += 1;
        }
        set
    }

    /// Adds one record.
    pub fn add(&mut self, record: &Map<String, Value>) {
        let mut plain = record.clone();
        plain.retain(|name, _| !name.starts_with('_'));
        *self.0.entry(canonical(&Value::Object(plain))).or_default() += 1;
    }

    /// The same with numbers rounded to nine digits: a conversion may be computed in another order,
    /// and one that ends on a whole number is written without a point (RFC 8785).
    pub fn rounded(&self) -> Self {
        let mut set = Self::default();
        for (record, count) in &self.0 {
            let mut record: Map<String, Value> = serde_json::from_str(record).expect("it was written as JSON");
            for value in record.values_mut().filter(|value| value.is_number()) {
                let float = value.as_f64().unwrap_or_default();
                *value = Value::String(format!("{float:.9e}"));
            }
            *set.0.entry(canonical(&Value::Object(record))).or_default() += count;
        }
        set
    }

    /// How many there are, repeats counted.
    pub fn len(&self) -> usize {
        self.0.values().sum()
    }

    /// Fails naming the first records that differ.
    pub fn assert_equals(&self, received: &Self, what: &str) {
        let missing: Vec<_> =
            self.0.iter().filter(|(record, count)| received.0.get(*record) != Some(count)).take(3).collect();
        let surplus: Vec<_> =
            received.0.iter().filter(|(record, count)| self.0.get(*record) != Some(count)).take(3).collect();
        assert!(
            missing.is_empty() && surplus.is_empty(),
            "{what}: expected {} records, received {};\nexpected and missing or of other count: {missing:#?}\nreceived and not expected: {surplus:#?}",
            self.len(),
            received.len(),
        );
    }
}

/// The delivery checksum over records as received, `_id` and `_op` included.
pub fn checksum<'a>(records: impl IntoIterator<Item = &'a Value>) -> String {
    let mut sum = Checksum::EMPTY;
    for record in records {
        sum.add(canonical(record).as_bytes());
    }
    sum.to_string()
}

fn canonical(value: &Value) -> String {
    serde_json_canonicalizer::to_string(value).expect("a JSON value has a canonical form")
}

/// A number as JSON has it, for expected values.
pub fn number(value: f64) -> Value {
    serde_json::Number::from_f64(value).map_or(Value::Null, Value::Number)
}
