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
    options: Options,
    /// `http://127.0.0.1:port` of the control API; empty where it is not served.
    pub control: String,
    /// The same for the data listener.
    pub data: String,
    /// The same for the internal listener.
    pub internal: String,
    /// The admin credential printed at the first start; empty where another process printed it.
    pub admin: (String, String),
}

/// How a process is started.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// PostgreSQL instead of SQLite.
    pub database_url: Option<String>,
    /// Control, data, internal; 0 for any free one. Tokens name the control API's address, so they
    /// survive a restart only where the ports stay.
    pub ports: [u16; 3],
    /// Further arguments of `headgate serve`.
    pub arguments: Vec<String>,
    /// Further variables of its environment.
    pub environment: Vec<(String, String)>,
    /// The soft limit of open files it starts with, where that matters; `true`: it is the hard one, too.
    pub open_files: Option<(u32, bool)>,
}

impl Options {
    /// Nothing but further arguments, on SQLite.
    pub fn arguments(arguments: &[&str]) -> Self {
        Self { arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(), ..Self::default() }
    }
}

impl Platform {
    /// Starts on an empty data directory.
    pub async fn start(database: Database) -> Result<Self> {
        let database_url = match database {
            Database::Sqlite => None,
            Database::Postgres => Some(fresh_database().await?),
        };
        Self::start_with(Options { database_url, ..Options::default() })
    }

    /// Starts on an empty data directory.
    pub fn start_with(options: Options) -> Result<Self> {
        let platform = Self::join(options)?;
        if platform.admin.0.is_empty() {
            bail!("a first start prints an admin credential");
        }
        Ok(platform)
    }

    /// Starts on an empty data directory and a database that may have been used before.
    pub fn join(options: Options) -> Result<Self> {
        Self::start_in(tempfile::Builder::new().prefix("headgate-e2e-").tempdir()?, options)
    }

    /// Starts in a directory that holds nothing yet; `data` below it becomes the data directory.
    pub fn start_in(directory: tempfile::TempDir, options: Options) -> Result<Self> {
        let mut process = spawn(directory.path(), &options)?;
        let ready = ready(&mut process, directory.path())?;
        let admin = ready.admin.unwrap_or_default();
        // Restarts keep the ports, as a service's would: tokens and addresses stay good.
        let port = |url: &str| url.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(0);
        let ports = [port(&ready.control), port(&ready.data), port(&ready.internal)];
        Ok(Self {
            process,
            directory,
            options: Options { ports, ..options },
            control: ready.control,
            data: ready.data,
            internal: ready.internal,
            admin,
        })
    }

    /// Kills the process (SIGKILL) and starts it again on the same data directory.
    pub fn kill_and_restart(&mut self) -> Result<()> {
        self.kill()?;
        self.start_again()
    }

    /// Kills the process (SIGKILL).
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Starts a process that was killed again and does not wait until it is ready; the next is
    /// [`Platform::kill`].
    pub fn begin_start(&mut self) -> Result<()> {
        self.process = spawn(self.directory.path(), &self.options)?;
        Ok(())
    }

    /// Starts a process that ended again, on the same data directory.
    pub fn start_again(&mut self) -> Result<()> {
        self.process = spawn(self.directory.path(), &self.options)?;
        let ready = ready(&mut self.process, self.directory.path())?;
        if ready.admin.is_some() {
            bail!("a second start printed an admin credential again");
        }
        (self.control, self.data, self.internal) = (ready.control, ready.data, ready.internal);
        Ok(())
    }

    /// Gives the next start further arguments.
    pub fn add_arguments(&mut self, arguments: &[&str]) {
        self.options.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    }

    /// Sets a variable of the next start's environment.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.options.environment.retain(|(set, _)| set != name);
        self.options.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// Runs another command of the binary on the data directory, which must not be in use. Returns
    /// what it printed.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_headgate"));
        command.args(arguments).arg("--data-dir").arg(self.directory.path().join("data"));
        if let Some(url) = &self.options.database_url {
            command.env("HEADGATE_DATABASE_URL", url);
        }
        let output = command.output()?;
        if !output.status.success() {
            bail!("{arguments:?} failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Leaves the data directory where it is, for a person to look at.
    pub fn keep(&mut self) -> PathBuf {
        self.directory.disable_cleanup(true);
        self.directory.path().to_owned()
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

    /// The most memory that the process has had so far (VmHWM), in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// The data directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The PostgreSQL database in use.
    pub fn database_url(&self) -> Option<&str> {
        self.options.database_url.as_deref()
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

fn spawn(directory: &Path, options: &Options) -> Result<Child> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(log_file(directory))?;
    let program = env!("CARGO_BIN_EXE_headgate");
    let mut command = match options.open_files {
        None => Command::new(program),
        Some((files, is_hard)) => {
            let mut limited = Command::new("bash");
            let kind = if is_hard { "" } else { "S" };
            limited.args(["-c", &format!("ulimit -{kind}n {files}; exec \"$0\" \"$@\""), program]);
            limited
        }
    };
    command
        .arg("serve")
        .arg("--data-dir")
        .arg(directory.join("data"))
        .args(&options.arguments)
        .args(["--outbound-allow", "127.0.0.0/8"])
        .env("RUST_LOG", "info,deltalake=warn,buoyant_kernel=warn,sqlx=warn")
        .envs(options.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log);
    for (flag, port) in ["--control-listen", "--data-listen", "--internal-listen"].into_iter().zip(options.ports) {
        command.arg(flag).arg(format!("127.0.0.1:{port}"));
    }
    if let Some(url) = &options.database_url {
        command.env("HEADGATE_DATABASE_URL", url);
    }
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
        control: control.unwrap_or_default(),
        data: data.unwrap_or_default(),
        internal: internal.context("no internal URL was printed")?,
        admin: client_id.zip(client_secret),
    })
}

/// A new, empty database on the PostgreSQL that `cargo xtask test` started.
pub async fn fresh_database() -> Result<String> {
    let maintenance = std::env::var("HEADGATE_TEST_POSTGRES")
        .context("HEADGATE_TEST_POSTGRES is not set: run the tests by `cargo xtask test`")?;
    fresh_database_on(&maintenance).await
}

/// A new, empty database beside the maintenance database of a server.
pub async fn fresh_database_on(maintenance: &str) -> Result<String> {
    use sqlx::{AssertSqlSafe, Connection, Executor};
    let name = format!("e2e_{}", uuid::Uuid::now_v7().simple());
    let mut connection = sqlx::PgConnection::connect(maintenance).await?;
    connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
    connection.close().await?;
    let mut url = url::Url::parse(maintenance)?;
    url.set_path(&name);
    Ok(url.into())
}
