//! One running Headgate.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::ApiClient;

/// Which database a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    Sqlite,
    Postgres,
}

/// A running Headgate on a data directory of its own; killed when dropped.
pub struct Platform {
    process: Child,
    directory: tempfile::TempDir,
    database_url: Option<String>,
    /// `http://127.0.0.1:port` of the control API.
    pub control: String,
    /// The same for the data listener.
    pub data: String,
    /// The same for the internal listener.
    pub internal: String,
    /// The admin credential printed at the first start.
    pub admin: (String, String),
}

impl Platform {
    /// Starts on an empty data directory.
    pub async fn start(database: Database) -> Result<Self> {
        Self::start_with(database, |command| command).await
    }

    /// The same by another command made out of the usual one; restarts use the usual one.
    pub async fn start_with(database: Database, change: impl FnOnce(Command) -> Command) -> Result<Self> {
        let database_url = match database {
            Database::Sqlite => None,
            Database::Postgres => Some(fresh_database().await?),
        };
        let directory = tempfile::tempdir()?;
        let log = log_file(directory.path());
        let command = command(directory.path(), database_url.as_deref(), [ANY_PORT; 3]);
        let mut process = started(change(command), &log)?;
        let ready = ready(&mut process, directory.path())?;
        let admin = ready.admin.context("a first start prints an admin credential")?;
        Ok(Self {
            process,
            directory,
            database_url,
            control: ready.control,
            data: ready.data,
            internal: ready.internal,
            admin,
        })
    }

    /// Kills the process (SIGKILL) and starts it again on the same data directory and ports.
    pub fn kill_and_restart(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        let ports = [&self.control, &self.data, &self.internal].map(|url| url.trim_start_matches("http://"));
        let command = command(self.directory.path(), self.database_url.as_deref(), ports);
        self.process = started(command, &log_file(self.directory.path()))?;
        let ready = ready(&mut self.process, self.directory.path())?;
        if ready.admin.is_some() {
            bail!("a second start printed an admin credential again");
        }
        (self.control, self.data, self.internal) = (ready.control, ready.data, ready.internal);
        Ok(())
    }

    /// Asks the process to stop (SIGTERM) and waits for its end.
    pub fn stop(&mut self) -> Result<std::process::ExitStatus> {
        let pid = self.process.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        let start = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status);
            }
            if start.elapsed() > Duration::from_secs(30) {
                bail!("the process did not stop within 30 s");
            }
            std::thread::yield_now();
        }
    }

    /// A client with the admin credential.
    pub async fn admin(&self) -> Result<ApiClient> {
        ApiClient::sign_in(&self.control, &self.admin.0, &self.admin.1).await
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The data directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The PostgreSQL database in use.
    pub fn database_url(&self) -> Option<&str> {
        self.database_url.as_deref()
    }

    /// Runs another command of the binary on the data directory of a stopped platform; returns what
    /// it prints and fails when it does.
    pub fn command(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_headgate"));
        command.args(arguments).arg("--data-dir").arg(self.directory.path().join("data"));
        if let Some(url) = &self.database_url {
            command.env("HEADGATE_DATABASE_URL", url);
        }
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    /// The most memory that the process has had so far (VmHWM), in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// What the process wrote to its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(log_file(self.directory.path())).unwrap_or_default()
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            eprintln!("---- the end of Headgate's log ----");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

struct Ready {
    control: String,
    data: String,
    internal: String,
    admin: Option<(String, String)>,
}

fn log_file(directory: &Path) -> PathBuf {
    directory.join("headgate.log")
}

/// Leaves the choice of a port to the system.
const ANY_PORT: &str = "127.0.0.1:0";

/// The command of a server; `listen`: the addresses of the control, data and internal listeners.
fn command(directory: &Path, database_url: Option<&str>, listen: [&str; 3]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headgate"));
    command
        .arg("serve")
        .arg("--data-dir")
        .arg(directory.join("data"))
        .args(["--control-listen", listen[0], "--data-listen", listen[1], "--internal-listen", listen[2]])
        .args(["--outbound-allow", "127.0.0.0/8"]);
    if let Some(url) = database_url {
        command.env("HEADGATE_DATABASE_URL", url);
    }
    command
}

fn started(mut command: Command, log: &Path) -> Result<Child> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
    command.env("RUST_LOG", "info,deltalake=warn,delta_kernel=warn,sqlx=warn");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    command.spawn().context("failed to start headgate")
}

/// Reads what `headgate serve` prints until it says that it is ready.
fn ready(process: &mut Child, directory: &Path) -> Result<Ready> {
    let stdout = process.stdout.take().context("standard output is piped")?;
    let mut reader = BufReader::new(stdout);
    let (mut control, mut data, mut internal) = (None, None, None);
    let (mut client_id, mut client_secret) = (None, None);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            let log = std::fs::read_to_string(log_file(directory)).unwrap_or_default();
            bail!("headgate ended before it was ready:\n{log}");
        }
        let mut words = line.split_whitespace();
        let (name, value) = (words.next().unwrap_or_default(), words.next().map(str::to_owned));
        match name {
            "control" => control = value,
            "data" => data = value,
            "internal" => internal = value,
            "client_id" => client_id = value,
            "client_secret" => client_secret = value,
            "ready" => break,
            _ => {}
        }
    }
    // A full pipe would stop the process; nobody reads the rest.
    std::thread::spawn(move || {
        let mut rest = Vec::new();
        let _ = reader.read_to_end(&mut rest);
    });
    Ok(Ready {
        control: control.context("no control URL was printed")?,
        data: data.context("no data URL was printed")?,
        internal: internal.context("no internal URL was printed")?,
        admin: client_id.zip(client_secret),
    })
}

/// A new, empty database on the PostgreSQL that `cargo xtask test` started.
pub async fn fresh_database() -> Result<String> {
    use sqlx::{AssertSqlSafe, Connection, Executor};
    let maintenance = std::env::var("HEADGATE_TEST_POSTGRES")
        .context("HEADGATE_TEST_POSTGRES is not set: run the tests by `cargo xtask test`")?;
    let name = format!("e2e_{}", uuid::Uuid::now_v7().simple());
    let mut connection = sqlx::PgConnection::connect(&maintenance).await?;
    connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
    connection.close().await?;
    let mut url = url::Url::parse(&maintenance)?;
    url.set_path(&name);
    Ok(url.into())
}
