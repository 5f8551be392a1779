//! The AWS side: the templates, and the account of AWS that they are tried in (`tests/aws`).

use std::process::{Command, Stdio};

/// Runs one file of `tests/aws` with pytest, in the Python that has moto.
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

#[test]
fn stacks_are_made_changed_and_removed_and_fail_as_asked() {
    pytest("test_stacks.py");
}

#[test]
fn credentials_of_a_channel_open_that_channel_only() {
    pytest("test_access.py");
}

#[test]
fn the_account_for_tests_refuses_what_it_does_not_understand() {
    pytest("test_shim.py");
}
