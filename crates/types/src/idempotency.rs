//! Keys of requests that may come twice.

/// The most bytes of a key.
const MAX_BYTES: usize = 255;

/// What a key may be.
pub const WANTED: &str = "an idempotency key has 1 to 255 printable ASCII characters without quotes";

/// The key in an `Idempotency-Key` header: a string of structured fields (RFC 9651, section 3.3.3) as the draft of the
/// header wants it, or bare as most clients send it. Both are one key. None where it is neither.
#[must_use]
pub fn key(header: &str) -> Option<&str> {
    let text = header.trim();
    let key = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let fits = (1..=MAX_BYTES).contains(&key.len()) && key.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'"');
    fits.then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_same_bare_and_quoted_and_nothing_else_is_one() {
        let long = "k".repeat(MAX_BYTES);
        for (header, wanted) in [
            ("8e03978e-40d5-43dd-bc93-6894a57f9324", Some("8e03978e-40d5-43dd-bc93-6894a57f9324")),
            (" \"order 7\" ", Some("order 7")),
            ("order 7", Some("order 7")),
            (long.as_str(), Some(long.as_str())),
            ("", None),
            ("\"\"", None),
            ("\"", None),
            ("\"half", None),
            ("a\"b", None),
            ("schlüssel", None),
            ("a\tb", None),
            (format!("{long}k").as_str(), None),
        ] {
            assert_eq!(key(header), wanted, "{header:?}");
        }
    }
}
