//! The servers that are measured: processes of their own, so that their CPU is told apart from the
//! load's.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// Ticks per second of `/proc/{pid}/stat`: fixed for user space on Linux.
const TICKS: f64 = 100.0;

/// A server in a process of its own; killed when dropped.
pub struct Server {
    process: Child,
    pid: u32,
}

/// What a process used since it began.
#[derive(Debug, Clone, Copy)]
pub struct Used {
    /// CPU seconds, user and system.
    pub cpu: f64,
    /// Resident memory in bytes.
    pub resident: u64,
}

impl Server {
    /// Starts this program with other arguments. The lines it prints are read until it is ready.
    pub fn start(arguments: &[&str]) -> Result<(Self, Lines<BufReader<ChildStdout>>)> {
        Self::start_program(&std::env::current_exe().context("failed to find this program")?, arguments)
    }

    /// Starts another program.
    pub fn start_program(program: &Path, arguments: &[&str]) -> Result<(Self, Lines<BufReader<ChildStdout>>)> {
        let mut process = Command::new(program)
            .args(arguments)
            .env("RUST_LOG", "error")
            // For the account of AWS that only answers (B13); nothing else looks at them.
            .envs([("AWS_ACCESS_KEY_ID", "bench"), ("AWS_SECRET_ACCESS_KEY", "bench")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("failed to start a server")?;
        let pid = process.id().context("the server ended at once")?;
        let lines = BufReader::new(process.stdout.take().context("standard output is piped")?).lines();
        Ok((Self { process, pid }, lines))
    }

    /// Its process id.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// What it used so far.
    pub fn used(&self) -> Result<Used> {
        used(&self.pid.to_string())
    }

    /// Ends it.
    pub async fn stop(mut self) -> Result<()> {
        self.process.start_kill()?;
        self.process.wait().await?;
        Ok(())
    }
}

/// What this process used so far.
pub fn own() -> Result<Used> {
    used("self")
}

/// What a process used so far (`proc(5)`).
fn used(pid: &str) -> Result<Used> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .context("CPU and memory are read from /proc: run the benchmarks on Linux")?;
    // The name in parentheses may hold anything; the fields behind it are numbers.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let number = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    let resident = number(21) * 4096.0;
    Ok(Used { cpu: (number(11) + number(12)) / TICKS, resident: resident as u64 })
}

/// A running Headgate.
pub struct Headgate {
    /// Its process.
    pub server: Server,
    /// The control API.
    pub control: String,
    /// Where its metrics are.
    pub internal: String,
    /// The admin credential.
    pub admin: (String, String),
}

impl Headgate {
    /// Starts it on an empty data directory with these profiles and further flags.
    pub async fn start(directory: &Path, profiles: &Path, further: &[&str]) -> Result<Self> {
        let data = directory.join("data");
        let (data, profiles) = (data.to_string_lossy(), profiles.to_string_lossy());
        let usual = [
            "serve",
            "--data-dir",
            &data,
            "--profiles",
            &profiles,
            "--control-listen",
            "127.0.0.1:0",
            "--data-listen",
            "127.0.0.1:0",
            "--internal-listen",
            "127.0.0.1:0",
            "--outbound-allow",
            "127.0.0.0/8",
        ];
        let (server, mut lines) = Server::start(&[&usual, further].concat())?;
        let (mut control, mut internal, mut id, mut secret) = (None, None, None, None);
        while let Some(line) = tokio::time::timeout(Duration::from_secs(60), lines.next_line()).await?? {
            match line.split_once(char::is_whitespace).map(|(name, value)| (name, value.trim().to_owned())) {
                Some(("control", value)) => control = Some(value),
                Some(("internal", value)) => internal = Some(value),
                Some(("client_id", value)) => id = Some(value),
                Some(("client_secret", value)) => secret = Some(value),
                _ if line == "ready" => {
                    let control = control.context("no control URL was printed")?;
                    let internal = internal.context("no internal URL was printed")?;
                    let admin = id.zip(secret).context("no admin credential was printed")?;
                    return Ok(Self { server, control, internal, admin });
                }
                _ => {}
            }
        }
        bail!("headgate ended before it was ready")
    }

    /// A figure of its metrics; 0 while there is none.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let text = reqwest::get(format!("{}/metrics", self.internal)).await?.error_for_status()?.text().await?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(Ok(0.0), |value| Ok(value.trim().parse()?))
    }
}
