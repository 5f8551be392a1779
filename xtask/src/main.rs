//! The few words people type: `cargo xtask test | lint | generate`.

mod lint;
mod postgres;
mod programs;
mod python;
mod test;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tasks of the Headgate repository")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Runs all tests, with a private PostgreSQL and the Python clients they need.
    Test(test::Arguments),
    /// Formatting and clippy, as CI runs them.
    Lint,
    /// Writes the generated files again: openapi/.
    Generate,
}

fn main() -> Result<()> {
    match Arguments::parse().task {
        Task::Test(arguments) => test::run(&arguments),
        Task::Lint => lint::run(),
        Task::Generate => lint::generate(),
    }
}

/// The root of the repository: the folder above this crate's.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().map(PathBuf::from).unwrap_or_default()
}
