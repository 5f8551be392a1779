//! Finding and running other programs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// Runs a command to its end, showing what it prints and how long it took.
pub fn run(what: &str, command: &mut Command) -> Result<()> {
    eprintln!("==> {what}");
    let start = Instant::now();
    let status = command.status().with_context(|| format!("failed to start {:?}", command.get_program()))?;
    eprintln!(
        "==> {what}: {} in {:.1} s",
        if status.success() { "done" } else { "FAILED" },
        start.elapsed().as_secs_f64()
    );
    if !status.success() {
        bail!("{what} failed ({status})");
    }
    Ok(())
}

/// Runs a command to its end, silently unless it fails.
pub fn run_quietly(what: &str, command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("failed to start {:?}", command.get_program()))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!("{what} failed ({}):\n{}", output.status, text.trim());
    }
    Ok(())
}

/// The first place where a program of this name is found: the given folders, then `PATH`.
pub fn find(name: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates = folders.iter().cloned().chain(std::env::split_paths(&path));
    candidates.find_map(|folder| Some(folder.join(name)).filter(|file| file.is_file()))
}

/// Whether this process may install packages and change users.
pub fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Installs Debian packages, where that is possible.
pub fn install_packages(packages: &[&str]) -> Result<()> {
    if !is_root() || find("apt-get", &[]).is_none() {
        bail!("install these packages and run again: {}", packages.join(" "));
    }
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
        command
    };
    run_quietly("apt-get update", &mut apt(&["update", "-qq"]))?;
    let mut install = apt(&["install", "-y", "-qq", "--no-install-recommends"]);
    run_quietly("apt-get install", install.args(packages))
}

/// A command that runs as an unprivileged user when this process is root, because some servers
/// refuse to run as root.
pub fn unprivileged(user: &str, program: &Path) -> Command {
    if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", user, "--regid", user, "--init-groups", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}
