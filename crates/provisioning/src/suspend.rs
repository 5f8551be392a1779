//! What a tenant's suspension does to its channels: they stop with it and go on with it.

use headgate_catalog::channels::{self, Channel, ChannelFilter};
use headgate_database::Tx;
use headgate_types::channel::{ChannelState, ConditionStatus, ConditionType};
use headgate_types::{SharedClock, TenantId};

use crate::error::OrderError;
use crate::{announce, desired};

const REASON: &str = "the platform suspended the tenant";
const PAGE: u32 = 500;

/// Stops every channel of `tenant` that runs, each with the event `channel.suspended`. Paused ones
/// stand still already and stay paused; one that is being made stays unannounced until the tenant is released.
/// Returns how many were stopped.
///
/// # Errors
/// When a channel moved at the same moment, or the database fails.
pub async fn suspend_channels(tx: &mut Tx, clock: &SharedClock, tenant: TenantId) -> Result<usize, OrderError> {
    let running = of_tenant(tx, tenant, &[ChannelState::Active, ChannelState::Updating]).await?;
    for channel in &running {
        move_to(tx, clock, channel, ChannelState::Suspended, Some(REASON)).await?;
        let words = ("Suspended", REASON);
        desired::condition(tx, clock, channel, ConditionType::Ready, ConditionStatus::False, words).await?;
        announce::channel_suspended(tx, clock, channel, REASON).await?;
    }
    Ok(running.len())
}

/// Lets the channels go on that [`suspend_channels`] stopped. Returns how many.
///
/// # Errors
/// When a channel moved at the same moment, or the database fails.
pub async fn release_channels(tx: &mut Tx, clock: &SharedClock, tenant: TenantId) -> Result<usize, OrderError> {
    let stopped = of_tenant(tx, tenant, &[ChannelState::Suspended]).await?;
    for channel in &stopped {
        move_to(tx, clock, channel, ChannelState::Active, None).await?;
        let words = ("Ready", "the channel is in use");
        desired::condition(tx, clock, channel, ConditionType::Ready, ConditionStatus::True, words).await?;
        announce::channel_released(tx, clock, channel).await?;
    }
    Ok(stopped.len())
}

async fn move_to(
    tx: &mut Tx,
    clock: &SharedClock,
    channel: &Channel,
    to: ChannelState,
    reason: Option<&str>,
) -> Result<(), OrderError> {
    channels::transition(tx, channel.tenant, channel.id, &[channel.state], to, reason, clock.now()).await?;
    Ok(())
}

async fn of_tenant(tx: &mut Tx, tenant: TenantId, states: &[ChannelState]) -> Result<Vec<Channel>, OrderError> {
    let (mut found, mut before) = (Vec::new(), None);
    loop {
        let wanted = ChannelFilter { tenant: Some(tenant), before, limit: PAGE, ..ChannelFilter::default() };
        let page = channels::list(tx, &wanted).await?;
        before = page.last().map(|channel| channel.id);
        found.extend(page.into_iter().filter(|channel| states.contains(&channel.state)));
        if before.is_none() {
            return Ok(found);
        }
    }
}
