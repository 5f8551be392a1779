//! `cargo xtask soak`: the property tests of filters and the crash loop of tests/e2e/crash, for as many rounds as wanted.

use anyhow::Result;

use crate::{cargo, programs};

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
