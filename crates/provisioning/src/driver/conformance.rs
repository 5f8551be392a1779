//! What every driver promises, as a suite that runs over each of them.

use std::time::Duration;

use headgate_types::channel::{Binding, Direction};
use headgate_types::limits::Limits;
use headgate_types::{ChannelId, OrderId, TenantId};

use super::{Driver, DriverError, Ensured, Observed, Released, ResourceSpec};

/// How often a pending answer is asked again before the suite gives up.
const PATIENCE: usize = 10_000;

/// Runs the suite over one profile. The driver must be empty, and is empty again afterwards.
///
/// # Errors
/// Names the first promise that does not hold.
pub async fn check(driver: &dyn Driver, direction: Direction, profile: &str) -> Result<(), String> {
    let sample = || ResourceSpec { direction, profile: profile.to_owned(), ..sample() };
    let mut spec = sample();
    let other = sample();
    let (tenant, channel) = (spec.tenant, spec.channel);

    expect("an unknown channel is absent", look(driver, &spec).await? == Observed::Absent)?;
    release(driver, &spec).await?;
    expect("releasing what never was leaves nothing", listed(driver).await?.is_empty())?;

    let binding = ensure(driver, &spec).await?;
    expect("a binding is a URL", url::Url::parse(&binding.url).is_ok())?;
    expect("an ensured channel is present", look(driver, &spec).await? == Observed::Present(binding.clone()))?;
    expect("ensure is idempotent", ensure(driver, &spec).await? == binding)?;
    expect("a present channel is listed once", listed(driver).await? == [channel])?;

    "XL".clone_into(&mut spec.size);
    spec.limits.connections += 1;
    expect("a new size keeps the binding", ensure(driver, &spec).await? == binding)?;

    let second = ensure(driver, &other).await?;
    expect("each channel has a resource of its own", second.url != binding.url)?;

    let stranger = driver.observe(TenantId::new(), channel).await.map_err(text)?;
    expect("a stranger sees nothing", stranger == Observed::Absent)?;
    let stranger = ResourceSpec { tenant: TenantId::new(), ..spec.clone() };
    expect("a stranger cannot take over a resource", driver.ensure(&stranger).await.is_err())?;
    // Whether this is refused or finds nothing to do, the resource stays.
    let _ = driver.release(stranger.tenant, channel).await;
    expect("a stranger cannot remove a resource", look(driver, &spec).await? == Observed::Present(binding))?;

    release(driver, &spec).await?;
    expect("a released channel is absent", driver.observe(tenant, channel).await.map_err(text)? == Observed::Absent)?;
    release(driver, &spec).await?;
    expect("a release touches no other channel", look(driver, &other).await? == Observed::Present(second))?;

    let again = ensure(driver, &spec).await?;
    expect("a released channel can be made again", look(driver, &spec).await? == Observed::Present(again))?;
    release(driver, &spec).await?;
    release(driver, &other).await?;
    expect("nothing is left", listed(driver).await?.is_empty())
}

/// A resource to ask for; small, of a tenant of its own.
#[must_use]
pub fn sample() -> ResourceSpec {
    ResourceSpec {
        tenant: TenantId::new(),
        channel: ChannelId::new(),
        order: OrderId::new(),
        attempt: 0,
        direction: Direction::Out,
        profile: "api".to_owned(),
        size: "S".to_owned(),
        revision: 1,
        limits: Limits {
            records_per_second: 10,
            bytes_per_second: 1_000,
            connections: 1,
            retention_bytes: 1_000_000,
            retention_seconds: 0,
            memory_bytes: 1_000_000,
            payload_bytes: 1_000,
        },
        parameters: indexmap::IndexMap::new(),
        client_principal: None,
    }
}

fn expect(promise: &str, holds: bool) -> Result<(), String> {
    if holds { Ok(()) } else { Err(promise.to_owned()) }
}

fn text(error: DriverError) -> String {
    error.to_string()
}

async fn look(driver: &dyn Driver, spec: &ResourceSpec) -> Result<Observed, String> {
    driver.observe(spec.tenant, spec.channel).await.map_err(text)
}

async fn listed(driver: &dyn Driver) -> Result<Vec<ChannelId>, String> {
    driver.list().await.map_err(text)
}

async fn ensure(driver: &dyn Driver, spec: &ResourceSpec) -> Result<Binding, String> {
    for _ in 0..PATIENCE {
        match driver.ensure(spec).await.map_err(text)? {
            Ensured::Ready(binding) => return Ok(binding),
            Ensured::Pending { after, .. } => tokio::time::sleep(after.min(Duration::from_secs(5))).await,
        }
    }
    Err("ensure ends".to_owned())
}

async fn release(driver: &dyn Driver, spec: &ResourceSpec) -> Result<(), String> {
    for _ in 0..PATIENCE {
        match driver.release(spec.tenant, spec.channel).await.map_err(text)? {
            Released::Gone => return Ok(()),
            Released::Pending { after, .. } => tokio::time::sleep(after.min(Duration::from_secs(5))).await,
        }
    }
    Err("release ends".to_owned())
}
