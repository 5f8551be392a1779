//! Comparison with a reviewed file; `UPDATE_SNAPSHOTS=1 cargo test` writes it anew.

pub(crate) fn check(path: &str, actual: &str) {
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(path, actual).unwrap();
    }
    let reviewed = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(actual, reviewed, "{path} differs; review and run with UPDATE_SNAPSHOTS=1");
}
