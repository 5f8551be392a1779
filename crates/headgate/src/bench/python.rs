//! A peer that lives in the Python of the tests, asked line by line.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result};

/// A script that answers each line with a line.
pub struct Python {
    process: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Python {
    /// `None` when no Python here has these modules.
    pub fn start(modules: &str, script: &str, arguments: &[&Path]) -> Result<Option<Self>> {
        let python = std::env::var("HEADGATE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let present = Command::new(&python).args(["-c", &format!("import {modules}")]).stderr(Stdio::null()).status();
        if !present.is_ok_and(|status| status.success()) {
            return Ok(None);
        }
        let mut process = Command::new(python)
            .args(["-c", script])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start Python")?;
        let ask = process.stdin.take().context("standard input is piped")?;
        let answers = BufReader::new(process.stdout.take().context("standard output is piped")?);
        Ok(Some(Self { process, ask, answers }))
    }

    /// The answer to one line.
    pub fn ask(&mut self, line: &str) -> Result<String> {
        writeln!(self.ask, "{line}")?;
        self.ask.flush()?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // It is our own child; whether it had ended already does not matter.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
