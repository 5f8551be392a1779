//! Conditional requests (RFC 9110 §13).

/// Whether an `If-None-Match` names the tag (§13.1.2, weak comparison).
pub fn is_known(known: &str, etag: &str) -> bool {
    known.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_known_in_a_list_weak_or_by_a_star() {
        for known in ["\"a\"", "\"b\", \"a\"", "W/\"a\"", "*"] {
            assert!(is_known(known, "\"a\""), "{known}");
        }
        for other in ["\"b\"", "a", "", "W/\"b\""] {
            assert!(!is_known(other, "\"a\""), "{other}");
        }
    }
}
