//! A round in which the process ends at each failpoint in turn, right behind something it did to the world.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use headgate_types::Failpoint;
use headgate_types::failpoint::VARIABLE;
use serde_json::json;

use super::figures::Figures;
use super::world::World;
use crate::harness::Platform;

/// How long the load may take until it brings the process to a place.
const PATIENCE: Duration = Duration::from_secs(60);
/// Names the places that are played, by commas, instead of all.
const CHOSEN: &str = "HEADGATE_FAILPOINTS";

/// Places that this world does not come to, with the test that plays them instead.
const ELSEWHERE: [(Failpoint, &str); 1] = [(
    Failpoint::AppClientMade,
    "it has no pool: cognito::a_process_that_dies_behind_a_new_app_client_leaves_it_to_the_sweep",
)];

/// So that rolling, merging, checkpoints, truncation and the removal of what is not needed happen all the time.
pub const ALL_THE_TIME: [&str; 8] =
    ["--lake-roll-bytes", "1", "--lake-compact-files", "2", "--lake-checkpoint-every", "2", "--lake-vacuum-age", "0"];

/// Ends the process at every place there is. One that is never reached is an error.
pub async fn storm(platform: &mut Platform, world: &World, figures: &mut Figures) -> Result<()> {
    // Somebody must want the events.
    let endpoint = json!({"url": world.receiver.url, "description": "failpoints"});
    world.consumer.api.post("/v1/event-endpoints", &endpoint).await?;
    let chosen = std::env::var(CHOSEN).unwrap_or_default();
    platform.kill()?;
    let chosen = |place: &Failpoint| chosen.is_empty() || chosen.split(',').any(|name| name == place.name());
    // No channel of this world is held by a cloud: those places are played in `tests/e2e/aws/crash.rs`.
    let elsewhere = |place: &Failpoint| ELSEWHERE.iter().any(|(elsewhere, _)| elsewhere == place);
    let here = |place: &Failpoint| !Failpoint::OF_CLOUD.contains(place) && !elsewhere(place) && chosen(place);
    for place in Failpoint::ALL.iter().filter(|place| here(place)) {
        let start = Instant::now();
        platform.set_variable(VARIABLE, place.name());
        // It may come there while it starts, and finishes what the crash before left.
        let started = tokio::task::block_in_place(|| platform.start_again());
        while started.is_ok() && platform.is_running() {
            if start.elapsed() > PATIENCE {
                bail!("{} was not reached within {PATIENCE:?}", place.name());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let last = format!("ended at the failpoint {}", place.name());
        if !platform.log().lines().any(|line| line == last) {
            bail!("the process ended before it came to {}: {:?}", place.name(), started.err());
        }
        figures.kills += 1;
        eprintln!("{}: {:.1} s", place.name(), start.elapsed().as_secs_f64());
    }
    platform.set_variable(VARIABLE, "");
    tokio::task::block_in_place(|| platform.start_again())?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    Ok(())
}
