//! RFC 8785 (JSON Canonicalization Scheme) straight from columns.
//!
//! Numbers follow ECMAScript. RFC 8785 knows doubles only, so integers beyond 2^53 have two
//! forms: the *canonical* one, rounded to the nearest double as the RFC asks, which is counted and
//! summed; and the *exact* one, which is sent, because a receiver must not lose digits.

use serde_json::Value;

/// The largest magnitude below which every integer is a double.
const EXACT_INTEGERS: u64 = 1 << 53;

/// Which form integers beyond 2^53 take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Integers {
    /// Every digit.
    Exact,
    /// The nearest double.
    Canonical,
}

/// Appends a string literal.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut start = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            0x08 => b"\\b",
            0x09 => b"\\t",
            0x0A => b"\\n",
            0x0C => b"\\f",
            0x0D => b"\\r",
            0..=0x1F => &[b'\\', b'u', b'0', b'0', HEX[(byte >> 4) as usize], HEX[(byte & 15) as usize]],
            _ => continue,
        };
        out.extend_from_slice(&bytes[start..at]);
        out.extend_from_slice(escape);
        start = at + 1;
    }
    out.extend_from_slice(&bytes[start..]);
    out.push(b'"');
}

/// Appends a number, or `null` for one that JSON does not have.
pub(super) fn write_float(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        out.extend_from_slice(ryu_js::Buffer::new().format_finite(value).as_bytes());
    } else {
        out.extend_from_slice(b"null");
    }
}

/// Appends an integer; `true` when its two forms differ.
pub(super) fn write_integer(out: &mut Vec<u8>, value: i64, form: Integers) -> bool {
    let beyond = value.unsigned_abs() > EXACT_INTEGERS;
    if beyond && form == Integers::Canonical {
        write_float(out, value as f64);
    } else {
        write_digits(out, value);
    }
    beyond
}

fn write_digits(out: &mut Vec<u8>, value: i64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends any JSON value in canonical form.
pub fn write_value(out: &mut Vec<u8>, value: &Value) {
    write_nested(out, value, Integers::Canonical);
}

/// Appends any JSON value with sorted members; `true` when its two forms differ.
pub(super) fn write_nested(out: &mut Vec<u8>, value: &Value, form: Integers) -> bool {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Value::String(text) => write_string(out, text),
        Value::Number(number) => return write_number(out, number, form),
        Value::Array(items) => {
            let mut beyond = false;
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                beyond |= write_nested(out, item, form);
            }
            out.push(b']');
            return beyond;
        }
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            let mut beyond = false;
            out.push(b'{');
            for (at, (name, item)) in sorted.into_iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_string(out, name);
                out.push(b':');
                beyond |= write_nested(out, item, form);
            }
            out.push(b'}');
            return beyond;
        }
    }
    false
}

fn write_number(out: &mut Vec<u8>, number: &serde_json::Number, form: Integers) -> bool {
    if let Some(value) = number.as_i64() {
        return write_integer(out, value, form);
    }
    if let (Some(value), Integers::Exact) = (number.as_u64(), form) {
        out.extend_from_slice(value.to_string().as_bytes());
        return true;
    }
    write_float(out, number.as_f64().unwrap_or(f64::NAN));
    number.is_u64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn canonical(value: &Value) -> String {
        let mut out = Vec::new();
        write_value(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn integers_beyond_the_doubles_have_an_exact_and_a_canonical_form() {
        let value = json!({"big": 9_007_199_254_740_993_i64, "least": i64::MIN, "most": u64::MAX});
        let mut exact = Vec::new();
        assert!(write_nested(&mut exact, &value, Integers::Exact));
        assert_eq!(serde_json::from_slice::<Value>(&exact).unwrap(), value);
        assert_eq!(canonical(&value), serde_json_canonicalizer::to_string(&value).unwrap());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_filter("JSON has no such number", |f| f.is_finite()).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::hash_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_that_of_rfc_8785(value in any_json()) {
            prop_assert_eq!(canonical(&value), serde_json_canonicalizer::to_string(&value).unwrap());
        }
    }
}
