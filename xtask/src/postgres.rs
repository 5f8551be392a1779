//! A private PostgreSQL for one test run: its own data folder, a free port, gone afterwards.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::programs;

/// The packages that bring a server, on Debian.
const PACKAGES: &[&str] = &["postgresql"];
/// Servers refuse to run as root; this user comes with Debian's package.
const USER: &str = "postgres";

/// Whether what is committed survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The data is thrown away with the run, so nothing is synced.
    None,
    /// As in production.
    Full,
}

/// A running server; stopped and removed when dropped.
pub struct Postgres {
    bin: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    durability: Durability,
}

impl Postgres {
    /// Starts a server, installing it first where it is missing and can be installed.
    pub fn start(durability: Durability) -> Result<Self> {
        let bin = match binaries() {
            Some(bin) => bin,
            None => {
                eprintln!("==> PostgreSQL is not installed; installing it");
                programs::install_packages(PACKAGES).context("the tests need a PostgreSQL server (13 or newer)")?;
                binaries().context("PostgreSQL was installed, but its programs were not found")?
            }
        };
        let folder = tempfile::Builder::new().prefix("headgate-postgres-").tempdir()?;
        if programs::is_root() {
            programs::run_quietly("chown", Command::new("chown").arg(USER).arg(folder.path()))?;
        }
        let data = folder.path().join("data");
        let mut initdb = programs::unprivileged(USER, &bin.join("initdb"));
        initdb.args(["--username=headgate", "--auth=trust", "--encoding=UTF8", "--no-sync", "--pgdata"]).arg(&data);
        programs::run_quietly("initdb", initdb.current_dir(folder.path()))?;
        let port = free_port()?;
        let postgres = Self { bin, folder, port, durability };
        postgres.start_again()?;
        Ok(postgres)
    }

    /// Starts a server that was killed again, on the same data and port, and waits until it takes
    /// connections.
    pub fn start_again(&self) -> Result<()> {
        let fsync = if self.durability == Durability::Full { "on" } else { "off" };
        // Recovery would sync every file by itself, for seconds; what a kill leaves is in the page cache.
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync={fsync} -c max_connections=400 \
             -c recovery_init_sync_method=syncfs",
            self.port
        );
        let mut start = self.pg_ctl("start");
        start.args(["-w", "-t", "60", "-o", &options, "-l"]).arg(self.folder.path().join("log"));
        programs::run_quietly("pg_ctl start", &mut start)
    }

    /// Kills the server and every process it has, at once (SIGKILL).
    #[allow(dead_code, reason = "the crash tests share this file and kill; xtask does not")]
    pub fn kill(&self) -> Result<()> {
        let pid_file = self.folder.path().join("data/postmaster.pid");
        let text = std::fs::read_to_string(&pid_file).context("the server is not running")?;
        let pid = text.lines().next().unwrap_or_default().trim().to_owned();
        let children = Command::new("ps").args(["-o", "pid=", "--ppid", &pid]).output()?;
        let children = String::from_utf8_lossy(&children.stdout).into_owned();
        let mut kill = Command::new("kill");
        kill.arg("-KILL").arg(&pid).args(children.split_whitespace());
        // A child may have ended in between, which `kill` reports as a failure.
        kill.stderr(Stdio::null()).status()?;
        Ok(())
    }

    /// The maintenance database, where tests create databases of their own.
    pub fn url(&self) -> String {
        format!("postgres://headgate@127.0.0.1:{}/postgres", self.port)
    }

    fn pg_ctl(&self, action: &str) -> Command {
        let mut command = programs::unprivileged(USER, &self.bin.join("pg_ctl"));
        command.current_dir(self.folder.path()).arg(action).arg("-D").arg(self.folder.path().join("data"));
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let mut stop = self.pg_ctl("stop");
        if let Err(error) = programs::run_quietly("pg_ctl stop", stop.args(["-m", "immediate"])) {
            eprintln!("==> {error}");
        }
    }
}

/// The folder with `initdb` and `pg_ctl`, which Debian keeps out of `PATH`.
fn binaries() -> Option<PathBuf> {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    // The newest first; versions are plain numbers of two digits.
    versions.sort();
    versions.reverse();
    let initdb = programs::find("initdb", &versions)?;
    initdb.parent().map(PathBuf::from)
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
