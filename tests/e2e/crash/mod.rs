//! The crash loop: a Headgate under load is killed at random moments, and a checker that knows only
//! what was sent and answered looks at what clients can read afterwards.
//!
//! The plain suite plays five rounds per database from a fixed seed; `cargo xtask soak` plays as many
//! as it is asked for. A seed fixes what is sent, ordered and killed, and after which delays; how the
//! machine interleaves them is not fixed, so a round that failed is worth repeating a few times.

mod check;
mod customer;
mod failpoints;
mod figures;
mod labour;
mod ledger;
mod receiver;
mod rest;
mod round;
mod seams;
mod shortage;
mod source;
mod world;

use std::time::Instant;

use crate::postgres::{Durability, Postgres};
use figures::Figures;
use round::Blow;
use shortage::Shortage;

/// Rounds of the plain suite.
const ROUNDS: u64 = 5;
/// Its rounds with power cuts.
const POWER_ROUNDS: u64 = 2;
/// Its rounds with each shortage of the disk.
const SHORTAGE_ROUNDS: u64 = 1;
/// The seed of its first round.
const SEED: u64 = 20_260_101;

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn crash_rounds_lose_nothing_on_sqlite() {
    rounds("SQLite", ROUNDS, &Blow::Kill).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn crash_rounds_lose_nothing_on_postgres() {
    // One of its own: it is killed, too, and what it committed must then still be there.
    let server = tokio::task::block_in_place(|| Postgres::start(Durability::Full)).unwrap();
    rounds("PostgreSQL", ROUNDS, &Blow::KillBoth(&server)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn power_cuts_lose_nothing_that_was_promised() {
    let ignored = std::env::var("HEADGATE_POWER_IGNORE").unwrap_or_default();
    let ignored: Vec<&str> = ignored.split(',').filter(|class| !class.is_empty()).collect();
    rounds("power", POWER_ROUNDS, &Blow::PowerCut(&ignored)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_full_disk_loses_nothing_and_ends_without_a_restart() {
    rounds("full disk", SHORTAGE_ROUNDS, &Blow::Shortage(Shortage::Full)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_slow_disk_makes_nobody_wait_who_does_not_write() {
    rounds("slow disk", SHORTAGE_ROUNDS, &Blow::Shortage(Shortage::Slow)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_disk_that_fails_to_sync_ends_the_process_and_loses_nothing() {
    rounds("failing disk", SHORTAGE_ROUNDS, &Blow::Shortage(Shortage::Failing)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_crash_behind_any_effect_on_the_world_loses_nothing() {
    rounds("failpoints", 1, &Blow::Failpoints).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn channels_ordered_at_full_speed_see_history_and_live_once_while_the_lake_rolls_merges_and_truncates() {
    rounds("seams", 1, &Blow::Seams).await;
}

async fn rounds(what: &str, rounds: u64, blow: &Blow<'_>) {
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
    };
    let (count, seed) = (number("HEADGATE_SOAK_ROUNDS", rounds), number("HEADGATE_SOAK_SEED", SEED));
    let mut total = Figures::default();
    for seed in seed..seed + count {
        let start = Instant::now();
        match round::play(seed, blow).await {
            Ok(figures) => {
                eprintln!("{what} seed {seed}: {figures} in {:.1} s", start.elapsed().as_secs_f64());
                total.add(&figures);
            }
            Err(error) => {
                eprintln!("{what} seed {seed}: FAILED in {:.1} s: {error:#}", start.elapsed().as_secs_f64());
                total.failed.push(seed);
            }
        }
    }
    eprintln!("{what} total: {total}");
    total.syncs.iter().for_each(|(class, count)| eprintln!("{what} total: {count} syncs of {class}"));
    assert!(total.failed.is_empty(), "{what}: rounds with these seeds failed: {:?}", total.failed);
}
