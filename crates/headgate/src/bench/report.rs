//! What was measured: a line each as it comes, and one JSON document.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::cli::BenchArguments;

/// The figures so far.
pub struct Report {
    json: Option<PathBuf>,
    figures: Vec<Value>,
}

impl Report {
    /// An empty report; says what it is about to measure on.
    pub fn new(arguments: &BenchArguments) -> Self {
        let build = if cfg!(debug_assertions) { "dev profile: figures mean little" } else { "release profile" };
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        say(&format!(
            "headgate bench, {build}, {cores} cores, {} rounds of {} s, load average {}",
            arguments.rounds,
            arguments.seconds,
            load_average()
        ));
        Self { json: arguments.json.clone(), figures: Vec::new() }
    }

    /// One measurement of a round.
    pub fn add(&mut self, benchmark: &str, who: &str, figures: Value) {
        let text: Vec<String> =
            figures.as_object().into_iter().flatten().map(|(name, value)| format!("{name} {}", short(value))).collect();
        say(&format!("{benchmark:<4} {who:<24} {}", text.join("  ")));
        self.figures.push(json!({"benchmark": benchmark, "who": who, "figures": figures}));
    }

    /// The median over the rounds of one figure.
    pub fn median(&self, benchmark: &str, who: &str, figure: &str) -> f64 {
        let mut values: Vec<f64> = self
            .figures
            .iter()
            .filter(|entry| entry["benchmark"] == benchmark && entry["who"] == who)
            .filter_map(|entry| entry["figures"][figure].as_f64())
            .collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// Says the ratio of the medians of two in the same run.
    pub fn ratio(&mut self, benchmark: &str, figure: &str, one: &str, other: &str) {
        let ratio = self.median(benchmark, one, figure) / self.median(benchmark, other, figure);
        say(&format!("{benchmark:<4} {figure}: {one} / {other} = {ratio:.2}"));
        self.figures
            .push(json!({"benchmark": benchmark, "ratio_of": figure, "one": one, "other": other, "ratio": ratio}));
    }

    /// Writes the JSON document.
    pub fn finish(self) -> Result<()> {
        let Some(file) = &self.json else { return Ok(()) };
        let document = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "release": !cfg!(debug_assertions),
            "load_average": load_average(),
            "figures": self.figures,
        });
        std::fs::write(file, serde_json::to_vec_pretty(&document)?)
            .with_context(|| format!("failed to write {}", file.display()))
    }
}

fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

fn short(value: &Value) -> String {
    match value.as_f64() {
        Some(number) if value.is_f64() && number.abs() >= 100.0 => format!("{number:.0}"),
        Some(number) if value.is_f64() => format!("{number:.2}"),
        _ => value.to_string(),
    }
}

#[expect(clippy::print_stdout, reason = "the benchmark talks to the person who started it")]
pub fn say(text: &str) {
    println!("{text}");
}
