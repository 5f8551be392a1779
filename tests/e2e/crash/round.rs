//! One round: load, kills, rest, check.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::customer::{Customer, Reach};
use super::figures::Figures;
use super::receiver::Mood;
use super::shortage::{self, Shortage};
use super::source::{Shared, Source};
use super::world::World;
use super::{failpoints, rest, seams};
use crate::harness::{Options, Platform};
use crate::postgres::Postgres;
use crate::power_cut::{Disk, Loss, Recorder, folder};
use crate::short_disk::ShortDisk;

/// How long the product may take until it is ready again once its database is back.
const RECOVERY: Duration = Duration::from_secs(30);

/// Who order at once.
const CUSTOMERS: u64 = 3;
/// What a sync takes, so that others come while it is under way.
const SYNC_MICROSECONDS: &str = "1000";
/// Whatever takes longer is told.
const NOTABLE: Duration = Duration::from_secs(2);

/// What strikes the product.
pub enum Blow<'a> {
    /// SIGKILL.
    Kill,
    /// SIGKILL of it and of its database.
    KillBoth(&'a Postgres),
    /// The power goes, and with it what was not synced. Syncs of these kinds of files do nothing.
    PowerCut(&'a [&'a str]),
    /// Its disk runs short.
    Shortage(Shortage),
    /// It ends at each failpoint.
    Failpoints,
    /// Nothing does; channels are ordered while everybody sends as fast as it can.
    Seams,
}

/// What a round strikes with.
enum Means<'a> {
    Kill(Option<&'a Postgres>),
    Power(&'a mut Power),
    Disk(Shortage, &'a ShortDisk),
    Failpoints,
    Seams,
}

/// The disk of a product whose power is cut.
pub struct Power {
    recorder: Recorder,
    disk: Disk,
}

/// Plays the round of `seed` on a fresh data directory and a fresh database.
pub async fn play(seed: u64, blow: &Blow<'_>) -> Result<Figures> {
    let server = match blow {
        Blow::KillBoth(server) => Some(*server),
        Blow::Kill | Blow::PowerCut(_) | Blow::Shortage(_) | Blow::Failpoints | Blow::Seams => None,
    };
    let database_url = match server {
        None => None,
        Some(server) => Some(crate::harness::platform::fresh_database_on(&server.url()).await?),
    };
    let directory = match blow {
        // What is synced there is in memory; that it was asked for is what counts.
        Blow::PowerCut(_) => folder(),
        _ => tempfile::Builder::new().prefix("headgate-e2e-").tempdir()?,
    };
    let mut power = match blow {
        Blow::PowerCut(ignored) => {
            Some(Power { recorder: Recorder::new(), disk: Disk::of(directory.path()).ignoring(ignored) })
        }
        _ => None,
    };
    let short = match blow {
        Blow::Shortage(shortage) => Some((*shortage, ShortDisk::new())),
        _ => None,
    };
    let environment = match (&power, &short) {
        (Some(power), _) => power.environment(directory.path()),
        (None, Some((_, disk))) => disk.environment(directory.path()),
        (None, None) => Vec::new(),
    };
    // Power is cut where files are plain; elsewhere what is in the log comes and goes between it and the tables.
    let rolling = match blow {
        Blow::PowerCut(_) => &[][..],
        Blow::Failpoints | Blow::Seams => &failpoints::ALL_THE_TIME[..],
        _ => &["--lake-roll-bytes", "200000", "--lake-compact-files", "4"][..],
    };
    // Channels that rest as soon as they can, after a second, and hardly ever.
    let rest_after = ["0", "1", "60"][usize::try_from(seed % 3)?];
    let options = Options {
        database_url,
        environment,
        ports: free_ports()?,
        // Usage is cut all the time, so that kills fall between cuts.
        ..Options::arguments(&[&["--usage-span", "1s", "--rest-after", rest_after][..], rolling].concat())
    };
    let mut platform = tokio::task::block_in_place(|| Platform::start_in(directory, options))?;
    let mut figures = Figures::default();
    let means = match (&mut power, &short) {
        (Some(power), _) => Means::Power(power),
        (None, Some((shortage, disk))) => Means::Disk(*shortage, disk),
        (None, None) if matches!(blow, Blow::Failpoints) => Means::Failpoints,
        (None, None) if matches!(blow, Blow::Seams) => Means::Seams,
        (None, None) => Means::Kill(server),
    };
    let played = load_and_check(&mut platform, seed, means, &mut figures).await;
    if let Some(power) = &mut power {
        power.disk.follow(&power.recorder.take());
        figures.syncs = power.disk.syncs.clone();
    }
    if let Err(error) = played {
        let kept = platform.keep();
        return Err(error.context(format!("what is left is in {}", kept.display())));
    }
    figures.rounds = 1;
    Ok(figures)
}

async fn load_and_check(platform: &mut Platform, seed: u64, mut means: Means<'_>, figures: &mut Figures) -> Result<()> {
    let world = World::make(platform, seed).await.context("failed to set the round up")?;
    let shared =
        Shared { short: matches!(means, Means::Disk(..)), fast: matches!(means, Means::Seams), ..Shared::default() };
    let mut sources = tokio::task::JoinSet::new();
    for (number, (name, input, feed)) in
        [("p", 0, "events"), ("q", 0, "events"), ("r", 1, "events"), ("t", 0, "things"), ("u", 1, "things")]
            .into_iter()
            .enumerate()
    {
        let own = seed.wrapping_mul(31).wrapping_add(number as u64);
        let source = Source::new(name, (input, &world.inputs[input]), feed, own, &shared);
        sources.spawn(source.run());
    }
    let reach = Reach {
        consumer: world.consumer.api.clone(),
        provider: world.provider.api.clone(),
        events: world.elements()?.0,
        mains: world.outputs.iter().map(|channel| channel.path.clone()).collect(),
        input: world.inputs[1].path.clone(),
        // A place behind a channel that somebody paused is not reached.
        only_comes_and_goes: matches!(means, Means::Failpoints),
    };
    // At full speed the round orders by itself.
    let customers = if shared.fast { 0 } else { CUSTOMERS };
    let customers = (0..customers).map(|number| {
        let own = seed.wrapping_mul(37).wrapping_add(number);
        let customer = Customer::new(reach.clone(), own, shared.ledger.clone());
        tokio::spawn(customer.run(Arc::clone(&shared.stop)))
    });
    let customers: Vec<_> = customers.collect();
    let follower = tokio::spawn(rest::follow(world.outputs[2].clone(), Arc::clone(&shared.stop)));

    let storm = match &mut means {
        Means::Kill(server) => storm(platform, &world, seed, *server, None, figures).await,
        Means::Power(power) => storm(platform, &world, seed, None, Some(power), figures).await,
        Means::Failpoints => failpoints::storm(platform, &world, figures).await,
        Means::Seams => seams::storm(platform, &world).await,
        Means::Disk(shortage, disk) => shortage::storm(platform, &world, *shortage, disk, &shared, figures).await,
    };
    shared.stop.store(true, Ordering::Relaxed);
    storm?;
    world.receiver.set(Mood::Well);
    // Whatever the storm left paused would keep sources that insist on an answer waiting.
    rest::resume(&world).await?;
    let ended = tokio::time::timeout(Duration::from_secs(60), async {
        while let Some(source) = sources.join_next().await {
            source?;
        }
        anyhow::Ok((futures::future::try_join_all(customers).await?, follower.await?))
    });
    let (mut customers, followed) = ended.await.context("a source or a customer had no answer for a minute")??;
    rest::check(platform, &world, &shared.ledger, &mut customers, &followed, figures).await
}

/// Kills, and brings back what was killed.
async fn storm(
    platform: &mut Platform,
    world: &World,
    seed: u64,
    server: Option<&Postgres>,
    mut power: Option<&mut Power>,
    figures: &mut Figures,
) -> Result<()> {
    let mut rng = StdRng::seed_from_u64(seed);
    let pause = async |rng: &mut StdRng, range: std::ops::Range<u64>| {
        tokio::time::sleep(Duration::from_millis(rng.gen_range(range))).await;
    };
    for _ in 0..rng.gen_range(2..=3) {
        world.receiver.set([Mood::Well, Mood::Slow, Mood::Failing][rng.gen_range(0..3)]);
        pause(&mut rng, 50..1_800).await;
        match server {
            Some(server) if rng.gen_bool(0.4) => {
                server.kill()?;
                figures.database_kills += 1;
                pause(&mut rng, 0..800).await;
                if rng.gen_bool(0.2) {
                    platform.kill()?;
                    figures.kills += 1;
                    bring_back(server).await?;
                    tokio::task::block_in_place(|| platform.start_again())?;
                } else {
                    bring_back(server).await?;
                    recovers(platform).await?;
                }
            }
            _ => {
                strike(platform, power.as_deref_mut(), &mut rng, figures)?;
                if rng.gen_bool(0.3) {
                    platform.begin_start()?;
                    pause(&mut rng, 0..700).await;
                    strike(platform, power.as_deref_mut(), &mut rng, figures)?;
                }
                tokio::task::block_in_place(|| platform.start_again())?;
            }
        }
    }
    pause(&mut rng, 100..800).await;
    Ok(())
}

/// Kills the product, and in most cases cuts its power where that can be done: what a kill left half
/// done may lie on the disk for long before the power goes.
fn strike(platform: &mut Platform, power: Option<&mut Power>, rng: &mut StdRng, figures: &mut Figures) -> Result<()> {
    platform.kill()?;
    let Some(power) = power else {
        figures.kills += 1;
        return Ok(());
    };
    let loss = match rng.gen_range(0..6) {
        0 => None,
        1 | 2 => Some(Loss::Everything),
        3 => Some(Loss::Bytes),
        _ => Some(Loss::by_chance(rng.r#gen())),
    };
    match loss {
        None => figures.kills += 1,
        Some(_) => figures.power_cuts += 1,
    }
    power.strike(platform.directory(), loss)
}

impl Power {
    fn environment(&self, root: &Path) -> Vec<(String, String)> {
        let mut environment = self.recorder.environment(root);
        environment.push(("HEADGATE_POWER_SYNC_US".to_owned(), SYNC_MICROSECONDS.to_owned()));
        environment
    }

    /// The product was killed; when the power is cut as well, puts what is left in its directory.
    fn strike(&mut self, root: &Path, loss: Option<Loss>) -> Result<()> {
        self.disk.follow(&self.recorder.take());
        let different = self.disk.compare(root);
        // The kill may have come between a change and its record; a move is two names.
        if different.len() > 2 || !self.disk.unknown.is_empty() {
            bail!("the recorder missed something: {different:?} {:?}", self.disk.unknown);
        }
        if let Some(mut loss) = loss {
            self.disk.cut(root, &mut loss);
            self.disk.again(root);
        }
        Ok(())
    }
}

/// Starts a killed server; the kernel may still hold what its processes shared.
async fn bring_back(server: &Postgres) -> Result<()> {
    let start = Instant::now();
    loop {
        match tokio::task::block_in_place(|| server.start_again()) {
            Ok(()) => {
                if start.elapsed() > NOTABLE {
                    eprintln!("PostgreSQL took {:.1} s to start", start.elapsed().as_secs_f64());
                }
                return Ok(());
            }
            Err(error) if start.elapsed() > RECOVERY => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Waits until a product whose database was away is ready, without a restart.
async fn recovers(platform: &mut Platform) -> Result<()> {
    let start = Instant::now();
    let url = format!("{}/readyz", platform.control);
    loop {
        if !platform.is_running() {
            bail!("the product ended because its database was away");
        }
        let answer = reqwest::get(&url).await;
        if answer.is_ok_and(|answer| answer.status().is_success()) {
            if start.elapsed() > NOTABLE {
                eprintln!("ready {:.1} s after the database was back", start.elapsed().as_secs_f64());
            }
            return Ok(());
        }
        if start.elapsed() > RECOVERY {
            bail!("the product was not ready {RECOVERY:?} after its database was back");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Three ports that stay the product's over restarts: below the range that outgoing connections take.
fn free_ports() -> Result<[u16; 3]> {
    let mut held = Vec::new();
    let first = 12_000 + u16::try_from(std::process::id() % 1_500)? * 12;
    let mut candidates = (first..32_000).chain(12_000..first);
    while held.len() < 3 {
        let port = candidates.next().context("no port is free")?;
        held.extend(std::net::TcpListener::bind(("127.0.0.1", port)));
    }
    let ports: Result<Vec<u16>> = held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect();
    ports?.try_into().ok().context("three were taken")
}
