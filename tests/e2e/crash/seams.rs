//! A round in which nothing fails: channels are ordered while everybody sends as fast as it can, and the lake moves what
//! they are about to read from its log to its tables, and from file to file.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::world::World;
use crate::harness::Platform;

/// Channels of each profile.
const EACH: usize = 1;
/// Rolls and merges per element between the first order and the end, at least.
const ROLLS: usize = 3;
const MERGES: usize = 1;
/// How long they may take.
const PATIENCE: Duration = Duration::from_secs(40);

/// Orders channels one after the other, and goes on until enough was rolled and merged meanwhile.
pub async fn storm(platform: &Platform, world: &World) -> Result<()> {
    let (events, things) = world.elements()?;
    let counts = || [&events, &things].map(|element| count(platform.directory(), element));
    let before = counts();
    for _ in 0..EACH {
        for profile in ["api", "file", "stream"] {
            world.order_later(profile).await?;
        }
    }
    let start = Instant::now();
    loop {
        let now = counts();
        let enough =
            |(now, before): (&(usize, usize), &(usize, usize))| now.0 >= before.0 + ROLLS && now.1 >= before.1 + MERGES;
        if now.iter().zip(&before).all(enough) {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            bail!("rolled and merged: {before:?} before, {now:?} after");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Commits of an element's table of changes: those that took over from the log, which was cut short then, and those that
/// merged files.
fn count(directory: &Path, element: &str) -> (usize, usize) {
    let log = directory.join("data/lake/tables").join(element).join("changes/_delta_log");
    let mut counts = (0, 0);
    for entry in std::fs::read_dir(log).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if !name.to_string_lossy().ends_with(".json") {
            continue;
        }
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        if text.contains("\"OPTIMIZE\"") { counts.1 += 1 } else { counts.0 += 1 }
    }
    counts
}
