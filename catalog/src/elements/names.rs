//! What names and documents of the catalog may look like. Refused early: a name ends up in URLs,
//! file names and SQL.

use std::collections::BTreeMap;

use headgate_types::FieldError;
use headgate_types::schema::ElementKind;

use super::{ElementSpec, Metadata};

const MAX_PATH: usize = 200;
const MAX_SEGMENT: usize = 64;
const MAX_TEXT: usize = 2_000;
const MAX_TAGS: usize = 32;
const MAX_FACETS: usize = 32;
const MAX_NODES: usize = 16;

/// Why `text` cannot be one segment of a path, if it cannot.
#[must_use]
pub fn segment_error(text: &str) -> Option<String> {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    let rest = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if text.len() > MAX_SEGMENT {
        Some(format!("a segment has at most {MAX_SEGMENT} characters"))
    } else if first && rest {
        None
    } else {
        Some("a segment starts with a letter or digit and holds letters, digits, _, - and . only".to_owned())
    }
}

/// Why `text` cannot be a path like `weather/observations`, if it cannot.
#[must_use]
pub fn path_error(pointer: &str, text: &str) -> Option<FieldError> {
    if text.len() > MAX_PATH {
        let detail = format!("a path has at most {MAX_PATH} characters");
        return Some(FieldError::new(pointer, "too_long", detail));
    }
    text.split('/').find_map(segment_error).map(|detail| FieldError::new(pointer, "invalid_name", detail))
}

/// Why `text` cannot be a name for people, if it cannot.
#[must_use]
pub fn label_error(pointer: &str, text: &str) -> Option<FieldError> {
    text_error(pointer, text, MAX_PATH)
}

fn text_error(pointer: &str, text: &str, limit: usize) -> Option<FieldError> {
    if text.trim().is_empty() {
        return Some(FieldError::new(pointer, "required", "this must not be empty"));
    }
    if text.chars().count() > limit {
        return Some(FieldError::new(pointer, "too_long", format!("this has at most {limit} characters")));
    }
    // PostgreSQL cannot store U+0000, and the others only confuse who reads them.
    let control = text.chars().any(|c| c.is_control() && c != '\n' && c != '\t');
    control.then(|| FieldError::new(pointer, "control_character", "control characters are not allowed"))
}

fn key_error(pointer: &str, text: &str) -> Option<FieldError> {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_lowercase());
    let rest = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-'));
    let ok = first && rest && text.len() <= MAX_SEGMENT;
    let detail = "this starts with a lower-case letter and holds lower-case letters, digits, _ and - only";
    (!ok).then(|| FieldError::new(pointer, "invalid_name", detail))
}

pub(super) fn spec_errors(spec: &ElementSpec) -> Vec<FieldError> {
    let mut errors: Vec<_> = path_error("/name", &spec.name).into_iter().collect();
    if spec.kind == ElementKind::View {
        errors.push(FieldError::new("/kind", "invalid_kind", "a view is derived, not sent: use events or entity"));
    }
    errors.extend(metadata_errors(&spec.metadata).into_iter().map(|error| error.under("/metadata")));
    errors.extend(spec.schema.errors(spec.kind).into_iter().map(|error| error.under("/schema")));
    errors.extend(facet_errors(&spec.facets));
    errors.extend(node_count_error(spec.nodes.len()));
    errors
}

pub(super) fn metadata_errors(metadata: &Metadata) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (pointer, text) in [
        ("/context", &metadata.context),
        ("/source", &metadata.source),
        ("/format", &metadata.format),
        ("/what", &metadata.what),
        ("/identified_by", &metadata.identified_by),
    ] {
        errors.extend(text_error(pointer, text, MAX_TEXT));
    }
    if let Some(description) = &metadata.description {
        errors.extend(text_error("/description", description, 5 * MAX_TEXT));
    }
    if metadata.tags.len() > MAX_TAGS {
        errors.push(FieldError::new("/tags", "too_many", format!("there are at most {MAX_TAGS} tags")));
    }
    for (index, tag) in metadata.tags.iter().enumerate() {
        errors.extend(text_error(&format!("/tags/{index}"), tag, MAX_SEGMENT));
    }
    if let Some(key) = &metadata.price_key {
        errors.extend(key_error("/price_key", key));
    }
    errors
}

pub(super) fn facet_errors(facets: &BTreeMap<String, String>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if facets.len() > MAX_FACETS {
        errors.push(FieldError::new("/facets", "too_many", format!("there are at most {MAX_FACETS} facets")));
    }
    for (facet, value) in facets {
        let pointer = format!("/facets/{}", facet.replace('~', "~0").replace('/', "~1"));
        errors.extend(key_error(&pointer, facet));
        errors.extend(text_error(&pointer, value, MAX_PATH));
    }
    errors
}

pub(super) fn node_count_error(count: usize) -> Option<FieldError> {
    let detail = format!("an element sits at no more than {MAX_NODES} nodes");
    (count > MAX_NODES).then(|| FieldError::new("/nodes", "too_many", detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_mean_something_else_are_refused_early() {
        assert_eq!(path_error("/name", "weather/obs-2026_v1.0"), None);
        for wrong in ["", "/a", "a/", "a//b", "../etc", "a b", "ä", "a\u{0}", "_x", &"a".repeat(65)] {
            assert!(path_error("/name", wrong).is_some(), "{wrong:?}");
        }
    }

    #[test]
    fn missing_metadata_is_named_by_its_place() {
        let metadata = Metadata { context: "c".into(), what: "\u{0}".into(), ..Metadata::default() };
        let errors = metadata_errors(&metadata);
        let places: Vec<_> = errors.iter().map(|e| (e.pointer.as_str(), e.code.as_str())).collect();
        assert_eq!(
            places,
            [
                ("/source", "required"),
                ("/format", "required"),
                ("/what", "control_character"),
                ("/identified_by", "required")
            ]
        );
    }
}
