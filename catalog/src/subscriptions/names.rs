//! The names a receiver sees: a table, a file prefix, a path segment. Short, safe as an SQL
//! identifier, unique within the channel, and never changed once given.

use std::collections::HashSet;

use headgate_types::ElementId;
use headgate_types::selection::Scope;

const MAX: usize = 48;

/// The last segment of an element's path as an identifier.
pub(super) fn plain(path: &str) -> String {
    let last = path.rsplit('/').next().unwrap_or_default();
    let mut name: String =
        last.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).take(MAX).collect();
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        name.insert_str(0, "e_");
    }
    name
}

/// Gives each scope a name of its own: the one it was given before where it was, else the plain one,
/// else the plain one with digits of the element's id.
pub(super) fn settle(mut scopes: Vec<Scope>, given: &[(ElementId, String)]) -> Vec<Scope> {
    let before = |element: ElementId| given.iter().find(|(known, _)| *known == element).map(|(_, name)| name);
    let mut taken: HashSet<String> = scopes.iter().filter_map(|scope| before(scope.element)).cloned().collect();
    for scope in &mut scopes {
        if let Some(name) = before(scope.element) {
            scope.name.clone_from(name);
            continue;
        }
        // The tail of a UUIDv7 is its random part.
        let digits = scope.element.uuid().simple().to_string();
        let mut length = 6;
        let plain = scope.name.clone();
        while !taken.insert(scope.name.clone()) {
            scope.name = format!("{plain}_{}", &digits[digits.len() - length..]);
            length = (length + 2).min(digits.len());
        }
    }
    scopes
}

#[cfg(test)]
mod tests {
    use headgate_types::model::OutputModel;
    use headgate_types::selection::Policy;

    use super::*;

    fn scope(name: &str) -> Scope {
        Scope {
            element: ElementId::new(),
            name: plain(name),
            filter: None,
            columns: Vec::new(),
            policy: Policy::default(),
            model: OutputModel::default(),
            model_version: 1,
        }
    }

    #[test]
    fn receivers_see_distinct_names_that_stay() {
        assert_eq!(plain("weather/Obs-2026.v1"), "obs_2026_v1");
        assert_eq!(plain("a/2026"), "e_2026");
        let first = settle(vec![scope("a/x"), scope("b/x")], &[]);
        assert_eq!(first[0].name, "x");
        assert!(first[1].name.starts_with("x_"), "{}", first[1].name);

        // The first one leaves and a third one comes: the second keeps its name.
        let given = [(first[1].element, first[1].name.clone())];
        let second = settle(vec![scope("c/x"), first[1].clone()], &given);
        assert_eq!(second[0].name, "x");
        assert_eq!(second[1].name, first[1].name);
    }
}
