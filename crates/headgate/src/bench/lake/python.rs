//! DuckDB and delta-rs, asked line by line.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result};
use serde_json::Value;

const SCRIPT: &str = include_str!("peers.py");

/// A Python that has both.
pub struct Python {
    process: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Python {
    /// `None` when there is none.
    pub fn start() -> Result<Option<Self>> {
        let python = std::env::var("HEADGATE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let present = Command::new(&python).args(["-c", "import duckdb, deltalake"]).stderr(Stdio::null()).status();
        if !present.is_ok_and(|status| status.success()) {
            return Ok(None);
        }
        let mut process = Command::new(python)
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start Python")?;
        let ask = process.stdin.take().context("standard input is piped")?;
        let answers = BufReader::new(process.stdout.take().context("standard output is piped")?);
        Ok(Some(Self { process, ask, answers }))
    }

    /// One piece of work, and what it took.
    pub fn ask(&mut self, what: &Value) -> Result<Value> {
        writeln!(self.ask, "{what}")?;
        self.ask.flush()?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        serde_json::from_str(&answer).context("Python did not answer")
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // It is our own child; whether it had ended already does not matter.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
