//! The few words people type: `cargo xtask test | soak | lint | generate`.

mod lint;
mod postgres;
mod programs;
mod python;
mod selections;
mod soak;
mod test;

use std::path::PathBuf;
use std::process::Command;

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
    /// Kills a product under load again and again and checks that nothing is lost.
    Soak(soak::Arguments),
    /// Formatting and clippy, as CI runs them.
    Lint,
    /// Writes the generated files again: openapi/.
    Generate,
}

fn main() -> Result<()> {
    match Arguments::parse().task {
        Task::Test(arguments) => test::run(&arguments),
        Task::Soak(arguments) => soak::run(&arguments),
        Task::Lint => lint::run(),
        Task::Generate => lint::generate(),
    }
}

/// The root of the repository: the folder above this crate's. Asked of the running cargo, because
/// a target folder that clones share may hold a binary that another clone built.
fn root() -> PathBuf {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default();
    own.parent().map(PathBuf::from).unwrap_or_default()
}

/// The cargo that runs this task, without what it told this process about xtask's own package: some
/// build scripts watch those variables, and half of the dependencies would be built again.
fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].iter().any(|of| name.starts_with(of)) {
            command.env_remove(&*name);
        }
    }
    command
}
