//! `cargo xtask test`: brings up what the tests need, runs them, takes it down again.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::postgres::{Durability, Postgres};
use crate::{cargo, programs, python, selections};

/// Tests under this module need the files of `--data`.
const REAL_DATA: &str = "test(/^real_data::/)";

/// Programs that tests run, the Debian packages that bring them, and what for.
const PROGRAMS: &[(&str, &[&str], &str)] = &[
    ("curl", &["curl"], "a test runs the README's quick start with curl"),
    ("jq", &["jq"], "a test runs the README's quick start with jq"),
    ("chromedriver", &["chromium", "chromium-driver"], "a test uses Swagger UI in Chromium"),
];

#[derive(clap::Args)]
pub struct Arguments {
    /// Runs the suite on real data instead: a folder with weather/ and northwind/.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Only the tests whose name contains this; `aws`: all that show what Headgate does with AWS.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    if programs::find("cargo-nextest", &[]).is_none() {
        eprintln!("==> cargo-nextest is not installed; installing it");
        let mut install = cargo();
        programs::run("cargo install cargo-nextest", install.args(["install", "--locked", "cargo-nextest"]))
            .context("the tests run with cargo-nextest")?;
    }
    for (program, packages, why) in PROGRAMS {
        if programs::find(program, &[]).is_none() {
            eprintln!("==> {program} is not installed; installing it");
            programs::install_packages(packages).context(*why)?;
        }
    }
    let postgres = Postgres::start(Durability::None)?;
    let mut nextest = cargo();
    nextest
        .args(["nextest", "run", "--workspace", "--no-fail-fast"])
        .env("HEADGATE_TEST_POSTGRES", postgres.url())
        .env("HEADGATE_TEST_PYTHON", python::interpreter()?);
    let suite = match &arguments.data {
        Some(data) => {
            let data = data.canonicalize().with_context(|| format!("--data {} is not there", data.display()))?;
            if !data.join("weather/weather.csv").is_file() {
                bail!("--data {} holds no weather/weather.csv", data.display());
            }
            nextest.env("HEADGATE_TEST_DATA", data).args(["--test", "e2e", "-E", REAL_DATA]);
            "the suite on real data"
        }
        None => {
            let of_the_name = arguments.only.as_deref().and_then(selections::filter);
            let named = of_the_name.as_deref().unwrap_or("all()");
            nextest.args(["-E", &format!("({named}) & not {REAL_DATA}")]);
            "the tests"
        }
    };
    nextest.args(arguments.only.iter().filter(|only| selections::filter(only).is_none()));
    programs::run(suite, &mut nextest)
}
