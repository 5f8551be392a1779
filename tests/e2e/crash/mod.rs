//! The crash loop: a Headgate under load is killed at random moments, and a checker that knows only
//! what was sent and answered looks at what clients can read afterwards.
//!
//! The plain suite plays five rounds per database from a fixed seed; `cargo xtask soak` plays as many
//! as it is asked for. A seed fixes what is sent, ordered and killed, and after which delays; how the
//! machine interleaves them is not fixed, so a round that failed is worth repeating a few times.

mod check;
mod customer;
mod figures;
mod ledger;
mod receiver;
mod rest;
mod round;
mod source;
mod world;

use std::time::Instant;

use crate::harness::Database;
use crate::postgres::{Durability, Postgres};
use figures::Figures;

/// Rounds of the plain suite.
const ROUNDS: u64 = 5;
/// The seed of its first round.
const SEED: u64 = 20_260_101;

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn crash_rounds_lose_nothing_on_sqlite() {
    rounds(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn crash_rounds_lose_nothing_on_postgres() {
    rounds(Database::Postgres).await;
}

async fn rounds(database: Database) {
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
    };
    let (count, seed) = (number("HEADGATE_SOAK_ROUNDS", ROUNDS), number("HEADGATE_SOAK_SEED", SEED));
    let server = match database {
        Database::Sqlite => None,
        // One of its own: it is killed, too, and what it committed must then still be there.
        Database::Postgres => Some(tokio::task::block_in_place(|| Postgres::start(Durability::Full)).unwrap()),
    };
    let mut total = Figures::default();
    for seed in seed..seed + count {
        let start = Instant::now();
        match round::play(seed, server.as_ref()).await {
            Ok(figures) => {
                eprintln!("{database:?} seed {seed}: {figures} in {:.1} s", start.elapsed().as_secs_f64());
                total.add(&figures);
            }
            Err(error) => {
                eprintln!("{database:?} seed {seed}: FAILED in {:.1} s: {error:#}", start.elapsed().as_secs_f64());
                total.failed.push(seed);
            }
        }
    }
    eprintln!("{database:?} total: {total}");
    assert!(total.failed.is_empty(), "{database:?}: rounds with these seeds failed: {:?}", total.failed);
}
