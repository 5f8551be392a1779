//! `cargo xtask soak`: the property tests of filters and the crash loop of tests/e2e/crash, for as many rounds as wanted.

use anyhow::Result;

use crate::postgres::{Durability, Postgres};
use crate::{cargo, programs, python};

#[derive(clap::Args)]
pub struct Arguments {
    /// Rounds per database.
    #[arg(long, value_name = "N", default_value_t = 100)]
    rounds: u64,
    /// The seed of the first round; the next rounds count on from it. To repeat one round, name its
    /// seed and `--rounds 1`.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Which database.
    #[arg(long, value_enum, default_value_t = Databases::Both)]
    database: Databases,
    /// Only the fuzzers of the parsers, each with a thousand inputs per round, and then the OpenAPI document
    /// against the running product, with an example of each operation per round.
    #[arg(long, conflicts_with_all = ["database", "power"])]
    fuzz: bool,
    /// Only rounds that cut the power (on SQLite); otherwise they are played with its other rounds.
    #[arg(long, conflicts_with = "database")]
    power: bool,
}

/// Cases of each property in a round; a second of work.
const CASES: u64 = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Databases {
    Sqlite,
    Postgres,
    Both,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    const POWER: &str = "crash::power_cuts_lose_nothing_that_was_promised";
    if arguments.fuzz {
        return fuzz(arguments);
    }
    let tests: &[&str] = match arguments.database {
        _ if arguments.power => &[POWER],
        Databases::Sqlite => &["crash::crash_rounds_lose_nothing_on_sqlite", POWER],
        Databases::Postgres => &["crash::crash_rounds_lose_nothing_on_postgres"],
        Databases::Both => &["crash::crash_rounds", POWER],
    };
    let mut properties = cargo();
    properties
        .args(["test", "--workspace", "--lib", "--", "shape::properties"])
        .env("PROPTEST_CASES", (arguments.rounds * CASES).to_string())
        .env("PROPTEST_RNG_SEED", arguments.seed.to_string());
    programs::run("the property tests", &mut properties)?;
    // Not with nextest: it ends tests that take long, and shows what they say only at their end.
    let mut soak = cargo();
    soak.args(["test", "--workspace", "--test", "e2e", "--", "--nocapture"])
        .args(tests)
        .env("HEADGATE_SOAK_ROUNDS", arguments.rounds.to_string())
        .env("HEADGATE_SOAK_SEED", arguments.seed.to_string());
    programs::run("the crash loop", &mut soak)
}

/// Inputs for each fuzz target in a round; a few seconds of work.
const INPUTS: u64 = 1_000;

/// The fuzzers, then schemathesis, from the seed.
fn fuzz(arguments: &Arguments) -> Result<()> {
    let mut fuzzers = cargo();
    fuzzers
        .args(["test", "--workspace", "--lib", "--no-fail-fast", "--", "--nocapture", "fuzzed", "fuzz"])
        .env("HEADGATE_FUZZ_ROUNDS", (arguments.rounds * INPUTS).to_string())
        .env("HEADGATE_FUZZ_SEED", arguments.seed.to_string());
    programs::run("the fuzzers", &mut fuzzers)?;
    let postgres = Postgres::start(Durability::None)?;
    let mut document = cargo();
    document
        .args(["test", "--workspace", "--test", "e2e", "--", "--nocapture", "--include-ignored", "strangers::document"])
        .env("HEADGATE_TEST_POSTGRES", postgres.url())
        .env("HEADGATE_TEST_PYTHON", python::interpreter()?)
        .env("HEADGATE_DOCUMENT_EXAMPLES", arguments.rounds.to_string())
        .env("HEADGATE_SOAK_SEED", arguments.seed.to_string());
    programs::run("the document against the running product", &mut document)
}
