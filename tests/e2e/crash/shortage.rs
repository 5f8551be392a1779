//! Rounds in which nothing is killed: the disk runs short, and everybody has to live with it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio_util::sync::CancellationToken;

use super::figures::Figures;
use super::source::Shared;
use super::world::World;
use crate::harness::{ApiClient, Platform};
use crate::short_disk::ShortDisk;

/// How long the product may take until it says so, ends, or goes on.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a read of the control API may take while the disk is short: wide, because others share the machine.
const RESPONSIVE: Duration = Duration::from_secs(5);
/// What a slow disk's syncs take.
const SLOW_SYNC: Duration = Duration::from_millis(250);
/// Bytes that are left when the disk begins to be full; each time fewer.
const LEFT: [i64; 3] = [2_000_000, 60_000, 0];
/// How long it stays short once somebody has heard of it.
const STAYS: Duration = Duration::from_millis(1_200);

/// Of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// Room, some times.
    Full,
    /// Speed, for some seconds.
    Slow,
    /// Syncs: each fails until the process has ended.
    Failing,
}

/// Makes the disk run short, and looks whether the product bears it.
pub async fn storm(
    platform: &mut Platform,
    world: &World,
    shortage: Shortage,
    disk: &ShortDisk,
    shared: &Shared,
    figures: &mut Figures,
) -> Result<()> {
    acknowledged(shared, 20).await?;
    match shortage {
        Shortage::Full => {
            for left in LEFT {
                let refused = shared.no_room.load(Ordering::Relaxed);
                disk.leave(Some(left));
                let watch = watch(&world.consumer.api, &world.outputs[0].path);
                wait_for("a source hears 507", platform, || shared.no_room.load(Ordering::Relaxed) > refused + 10)
                    .await?;
                tokio::time::sleep(STAYS).await;
                disk.leave(None);
                watch.end().await?;
                // It goes on by itself.
                acknowledged(shared, 20).await?;
            }
            if !platform.is_running() {
                bail!("the product ended");
            }
            // And nothing that was left half done comes to light at the next start.
            tokio::task::block_in_place(|| platform.kill_and_restart())?;
            figures.kills += 1;
        }
        Shortage::Slow => {
            disk.slow_down(SLOW_SYNC);
            let watch = watch(&world.consumer.api, &world.outputs[0].path);
            acknowledged(shared, 40).await?;
            disk.slow_down(Duration::ZERO);
            watch.end().await?;
        }
        Shortage::Failing => {
            disk.fail_syncs(true);
            let start = Instant::now();
            while platform.is_running() {
                if start.elapsed() > PATIENCE {
                    bail!("a process whose syncs fail still runs after {PATIENCE:?}");
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            disk.fail_syncs(false);
            figures.kills += 1;
            tokio::task::block_in_place(|| platform.start_again())?;
            return acknowledged(shared, 20).await;
        }
    }
    if !platform.is_running() {
        bail!("the product ended");
    }
    Ok(())
}

/// Waits until so many payloads more were acknowledged.
async fn acknowledged(shared: &Shared, more: u64) -> Result<()> {
    let count = || shared.ledger.lock().fates().0;
    let before = count();
    let start = Instant::now();
    while count() < before + more {
        if start.elapsed() > PATIENCE {
            bail!("{} payloads were acknowledged in {PATIENCE:?}, not {more}", count() - before);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn wait_for(what: &str, platform: &mut Platform, mut there: impl FnMut() -> bool) -> Result<()> {
    let start = Instant::now();
    while !there() {
        if !platform.is_running() {
            bail!("the product ended before {what}");
        }
        if start.elapsed() > PATIENCE {
            bail!("not within {PATIENCE:?}: {what}");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Reads of the control API, one after the other.
struct Watch {
    stop: CancellationToken,
    reads: tokio::task::JoinHandle<Result<Duration>>,
}

fn watch(api: &ApiClient, channel: &str) -> Watch {
    let (api, stop) = (api.clone(), CancellationToken::new());
    let paths = [channel.to_owned(), format!("{channel}/statistics"), "/v1/orders".to_owned()];
    let ended = stop.clone();
    let reads = tokio::spawn(async move {
        let mut slowest = Duration::ZERO;
        for path in paths.iter().cycle() {
            if ended.is_cancelled() {
                break;
            }
            let start = Instant::now();
            api.get(path).await.with_context(|| format!("reading {path} while the disk is short"))?;
            slowest = slowest.max(start.elapsed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(slowest)
    });
    Watch { stop, reads }
}

impl Watch {
    async fn end(self) -> Result<()> {
        self.stop.cancel();
        let slowest = self.reads.await??;
        eprintln!("the slowest read of the control API took {slowest:?}");
        if slowest > RESPONSIVE {
            bail!("a read of the control API took {slowest:?}");
        }
        Ok(())
    }
}
