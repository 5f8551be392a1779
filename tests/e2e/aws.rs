//! The AWS side: the templates (`tests/aws`).

use std::process::{Command, Stdio};

/// Runs one file of `tests/aws` with pytest, in the Python of the tests.
fn pytest(file: &str) {
    let Ok(python) = std::env::var("HEADGATE_TEST_PYTHON") else {
        eprintln!("skipped: HEADGATE_TEST_PYTHON is not set");
        return;
    };
    let output = Command::new(python)
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "--show-capture=no", file])
        .current_dir(crate::tidy::root().join("tests/aws"))
        // Neither this machine's own account, if it has one, nor files beside the sources.
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| !name.to_string_lossy().starts_with("AWS_")))
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    // A file without tests ends well, too.
    assert!(output.status.success() && said.contains(" passed"), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_templates_keep_their_rules_and_name_only_the_channels_own() {
    pytest("test_templates.py");
}
