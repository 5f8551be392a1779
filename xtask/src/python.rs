//! The Python that tests use: clients that read channels and tables, the account of AWS of `tests/aws`, and what holds
//! the API against its document. It is a virtual environment beside the build, made anew when the list changes.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::programs;

/// Pinned, because a test that passes must pass tomorrow.
const REQUIREMENTS: &str = "deltalake==1.6.6
polars==2.1.0
pyarrow==26.0.1
duckdb==1.5.5
duckdb-extension-delta==1.5.5
duckdb-extension-httpfs==1.5.5
jsonschema==4.25.1
moto[server]==5.2.5
boto3==1.44.5
cfn-lint==1.58.0
cfn-guard-rs==0.3.3
PyYAML==6.0.3
pytest==9.2.0
schemathesis==4.32.5
";

/// The interpreter of the environment.
pub fn interpreter() -> Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| crate::root().join("target"), PathBuf::from);
    let folder = target.join("xtask-python");
    let interpreter = folder.join("bin/python");
    let stamp = folder.join("requirements.txt");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == REQUIREMENTS) {
        return Ok(interpreter);
    }
    let python = match programs::find("python3", &[]) {
        Some(python) => python,
        None => {
            programs::install_packages(&["python3", "python3-venv"]).context("the tests need Python 3 with venv")?;
            PathBuf::from("python3")
        }
    };
    programs::run_quietly("python -m venv", Command::new(python).args(["-m", "venv", "--clear"]).arg(&folder))
        .context("the tests need Python 3 with venv (Debian: python3-venv)")?;
    let mut install = Command::new(&interpreter);
    install
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(REQUIREMENTS.split_whitespace());
    programs::run("pip install of what the tests run in Python", &mut install)
        .context("the tests need these packages")?;
    std::fs::write(&stamp, REQUIREMENTS)?;
    Ok(interpreter)
}
