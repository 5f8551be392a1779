//! What CI checks beside the tests, and what is generated.

use anyhow::Result;

use crate::{cargo, programs};

/// Formatting and clippy over everything. The tidy checks are tests (`tests/e2e/tidy`).
pub fn run() -> Result<()> {
    programs::run("cargo fmt --check", cargo().args(["fmt", "--all", "--check"]))?;
    let mut clippy = cargo();
    clippy.args(["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]);
    programs::run("cargo clippy", &mut clippy)
}

/// Writes the generated files.
pub fn generate() -> Result<()> {
    let mut openapi = cargo();
    openapi.args(["run", "--quiet", "--package", "headgate", "--", "openapi", "--output", "openapi/openapi.json"]);
    programs::run("headgate openapi", &mut openapi)
}
